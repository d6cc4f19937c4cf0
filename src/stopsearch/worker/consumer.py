"""
Celery's consumer, but for two things: how it takes a broker that refuses it, and a step that we have no use for.

With quorum queues Celery 5.5 and later declare 28 more queues, for tasks that are to run later. We send none: what is
tried again later waits in the ledger (docs/decisions). Remove that once the step has a setting of its own.
"""

from __future__ import annotations

import time
from typing import Any

import structlog
from celery.worker.consumer.consumer import Consumer
from celery.worker.state import maybe_shutdown

from stopsearch.telemetry.events import Event
from stopsearch.telemetry.faults import describe_fault
from stopsearch.worker.access import REFUSALS
from stopsearch.worker.app import declare_queues

log = structlog.get_logger()

_LEFT_OUT = "celery.worker.consumer.delayed_delivery:DelayedDelivery"

_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 10.0
_LOOK_EVERY_S = 0.2


class PlainConsumer(Consumer):  # type: ignore[misc]  # Celery has no types
    """
    A consumer that declares our own queues alone, and waits for a broker that refuses it as for one that is away.
    """

    class Blueprint(Consumer.Blueprint):  # type: ignore[misc]  # Celery has no types
        """
        The steps that it takes when it connects.
        """

        default_steps: tuple[str, ...] = tuple(step for step in Consumer.Blueprint.default_steps if step != _LEFT_OUT)

    def connect(self) -> Any:
        """
        Give the connection, with every queue declared anew: the broker may have lost that of dead tasks.
        """
        connection = super().connect()
        declare_queues(self.app)
        return connection

    def ensure_connected(self, conn: Any) -> Any:
        """
        Give the connection once it stands.

        A broker that has lost its users or virtual hosts gets them back from whoever runs it. Left to Celery, a worker
        whose login is refused would do nothing any more, and not end either; one whose virtual host is not there would
        ask many times a second.
        """
        wait_s = _FIRST_WAIT_S
        while True:
            try:
                return super().ensure_connected(conn)
            except REFUSALS as refusal:
                log.warning(Event.BROKER_AWAY, fault=describe_fault(refusal), wait_s=wait_s)
            until = time.monotonic() + wait_s
            while time.monotonic() < until:
                maybe_shutdown()
                time.sleep(_LOOK_EVERY_S)
            wait_s = min(_LONGEST_WAIT_S, 2 * wait_s)
