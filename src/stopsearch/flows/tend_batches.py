"""
Tend the batches of workers: what waits long enough is sent, what was lost is sent again, what is over is closed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from stopsearch.domain.errors import BrokerUnavailable
from stopsearch.flows.dispatch import REDELIVERIES, Dispatch
from stopsearch.flows.plan_batch import send_batch, send_months
from stopsearch.flows.run_month import close_batch
from stopsearch.settings import Settings
from stopsearch.store.batch_tending import abandon_months, months_to_send, running_batches, unplanned_batches
from stopsearch.store.database import Database
from stopsearch.telemetry.events import Event
from stopsearch.telemetry.faults import describe_fault

log = structlog.get_logger()

# A task that was sent this long ago, and is neither in its queue nor worked on, is lost. The least: it may lie in the
# reserve of a worker.
_LOST_AFTER = timedelta(seconds=60)
# A batch that could not be planned is planned again after this long.
_PLAN_AGAIN_AFTER = timedelta(seconds=60)


@dataclass(frozen=True, kw_only=True)
class Tended:
    """
    What one look came to.
    """

    planned_again: int = 0
    months_sent: int = 0
    abandoned: int = 0
    closed: int = 0


def tend_batches(database: Database, settings: Settings, dispatch: Dispatch) -> Tended:
    """
    Look after every batch of workers once. Two that do so at once do no harm.

    Raises:
        StoreUnavailable: The database went away.
    """
    patience = timedelta(seconds=max(_LOST_AFTER.total_seconds(), 2 * settings.tend_every_s))
    now = datetime.now(UTC)
    planned_again = sent = abandoned = closed = 0
    is_away = False  # a broker that hangs takes its time over each try, so that one has to do
    with database.connect(autocommit=True) as connection:
        for batch_id in unplanned_batches(connection, sent_before=now - _PLAN_AGAIN_AFTER):
            is_away = not send_batch(database, dispatch, batch_id)
            if is_away:
                break
            planned_again += 1
        batches = running_batches(connection)
        empty = _empty_queues(dispatch) if batches and not is_away else frozenset()
        for batch_id in batches:
            for month in abandon_months(connection, batch_id, limit=REDELIVERIES, at=now):
                abandoned += 1
                log.error(
                    Event.MONTH_ABANDONED,
                    batch_id=batch_id,
                    force=month.force,
                    month=str(month.month),
                    deliveries=month.deliveries,
                )
            due = months_to_send(connection, batch_id, empty_queues=empty, at=now, lost_after=patience)
            if due and not is_away:
                is_away = not send_months(database, dispatch, batch_id, due)
                if not is_away:
                    sent += len(due)
                    log.info(Event.MONTHS_SENT_AGAIN, batch_id=batch_id, months=len(due))
            closed += close_batch(connection, batch_id) is not None
    return Tended(planned_again=planned_again, months_sent=sent, abandoned=abandoned, closed=closed)


def send_outstanding(database: Database, dispatch: Dispatch, batch_id: int) -> int:
    """
    Send the force-months of a batch that are to be sent now: those that a worker leaves at its end, above all.

    Returns:
        How many were sent.
    """
    now = datetime.now(UTC)
    with database.connect(autocommit=True) as connection:
        due = months_to_send(connection, batch_id, empty_queues=(), at=now, lost_after=_LOST_AFTER)
    return len(due) if send_months(database, dispatch, batch_id, due) else 0


def _empty_queues(dispatch: Dispatch) -> frozenset[str]:
    try:
        return dispatch.empty_queues()
    except BrokerUnavailable as error:  # then nothing can be called lost, and nothing can be sent either
        log.warning(Event.BROKER_AWAY, fault=describe_fault(error))
        return frozenset()
