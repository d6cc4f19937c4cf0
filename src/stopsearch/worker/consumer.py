"""
Celery's consumer, less its step that sets native delayed delivery up.

With quorum queues Celery 5.5 and later declare 28 more queues, for tasks that are to run later. We send none: what is
tried again later waits in the ledger (docs/decisions). Remove this once the step has a setting of its own.
"""

from __future__ import annotations

from celery.worker.consumer.consumer import Consumer

_LEFT_OUT = "celery.worker.consumer.delayed_delivery:DelayedDelivery"


class PlainConsumer(Consumer):  # type: ignore[misc]  # Celery has no types
    """
    A consumer that declares our own queues alone.
    """

    class Blueprint(Consumer.Blueprint):  # type: ignore[misc]  # Celery has no types
        """
        The steps that it takes when it connects.
        """

        default_steps: tuple[str, ...] = tuple(step for step in Consumer.Blueprint.default_steps if step != _LEFT_OUT)
