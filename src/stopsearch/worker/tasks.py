"""
The tasks: each carries ids and ISO strings, and calls one flow.

Flows are imported inside, since the process that forks the others must not load Polars: its threads do not live
through a fork.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import structlog
from celery.exceptions import Reject, SoftTimeLimitExceeded

from stopsearch.domain.months import Month
from stopsearch.settings import Settings
from stopsearch.telemetry.events import Event
from stopsearch.telemetry.faults import describe_fault, format_frames

if TYPE_CHECKING:
    from celery import Celery

    from stopsearch.worker.workshop import Workshop

log = structlog.get_logger()

PLAN_BATCH = "stopsearch.plan_batch"
BRING_IN_MONTH = "stopsearch.bring_in_month"
REPLAY_MONTH = "stopsearch.replay_month"
TEND_BATCHES = "stopsearch.tend_batches"
START_DUE = "stopsearch.start_due"
KEEP_HOUSE = "stopsearch.keep_house"


def register(app: Celery, settings: Settings) -> None:
    """
    Give the app its tasks.
    """

    def task(name: str, work: Callable[..., object], **options: Any) -> None:
        def guarded(*args: Any) -> None:
            try:
                end = work(_workshop(app, settings), *args)
            except SoftTimeLimitExceeded:
                log.warning(Event.TASK_CUT, task=name, reason="it took longer than STOPSEARCH_TASK_SOFT_LIMIT_S")
            except Exception as error:  # Celery would log what it says, which may quote a record
                log.error(Event.TASK_BROKE, task=name, fault=describe_fault(error), exception=format_frames(error))
            else:
                if getattr(end, "is_spent", False):
                    raise Reject("It has ended its worker too often.", requeue=False)  # to the dead queue

        app.task(name=name, **options)(guarded)

    task(PLAN_BATCH, lambda shop, batch_id: shop.plan(batch_id))
    task(BRING_IN_MONTH, lambda shop, batch_id, force, month: shop.bring_in(batch_id, force, Month.parse(month)))
    task(REPLAY_MONTH, lambda shop, batch_id, force, month: shop.replay(batch_id, force, Month.parse(month)))
    task(TEND_BATCHES, lambda shop: shop.tend())
    task(START_DUE, lambda shop: shop.start_due())
    task(KEEP_HOUSE, lambda shop: shop.keep_house())


def _workshop(app: Celery, settings: Settings) -> Workshop:
    from stopsearch.worker.workshop import workshop

    return workshop(app, settings)
