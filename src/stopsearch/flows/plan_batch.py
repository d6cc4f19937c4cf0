"""
Plan a batch of workers: what is due of what was asked for, written down and sent, one task a force-month.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import structlog

from stopsearch.domain.errors import BrokerUnavailable, StopSearchError, StoreUnavailable, Transient
from stopsearch.domain.months import Month
from stopsearch.domain.published import Availability
from stopsearch.flows.asked_batches import AskedBatch, AskedReplay, checked, read_asked
from stopsearch.flows.dispatch import Dispatch
from stopsearch.flows.ingest_from_api import plan_from_api
from stopsearch.flows.plan import DueMonth, Reason
from stopsearch.flows.rebuild import letters_to_replay
from stopsearch.settings import Settings
from stopsearch.store.batch_months import (
    PlannedMonth,
    WorkersBatch,
    fail_batch,
    find_queued,
    mark_batch_sent,
    mark_months_sent,
    plan_months,
)
from stopsearch.store.batch_queue import queue_entry
from stopsearch.store.database import Database
from stopsearch.store.snapshots import keep_current
from stopsearch.store.troubles import is_store_gone, known_trouble, store_gone
from stopsearch.telemetry.events import Event
from stopsearch.telemetry.faults import describe_fault, format_frames

log = structlog.get_logger()

DAILY, BACKFILL, REPLAY = "daily", "backfill", "replay"

# So many of the newest listed months are "today's data", which no backfill may keep waiting.
NEWEST_MONTHS = 2


def queue_for_workers(
    database: Database, settings: Settings, asked: AskedBatch, *, trigger: str, requested_by: str
) -> int:
    """
    Check what was asked for, and write it down as a batch that workers run. Send it next: `send_batch`.

    Returns:
        The batch's number.

    Raises:
        RequestError: What was asked for can't be meant. Nothing is written.
        RunAlreadyActive: Too many batches wait already.
    """
    asked = checked(database, settings, asked)
    with database.connect(autocommit=True) as connection:
        return queue_entry(
            connection,
            requested_by=requested_by,
            asked_for=asked.as_json(),
            at=_now(),
            trigger=trigger,
            is_distributed=True,
        )


def send_batch(database: Database, dispatch: Dispatch, batch_id: int) -> bool:
    """
    Tell workers to plan a batch that is queued in the ledger.

    Returns:
        Whether they could be told. If not, the ledger remembers it, and it is sent once the broker is back.
    """
    try:
        dispatch.plan(batch_id)
    except BrokerUnavailable as error:
        log.warning(Event.BROKER_AWAY, fault=describe_fault(error))
        return False
    with database.connect(autocommit=True) as connection:
        mark_batch_sent(connection, batch_id, at=_now())
    log.info(Event.BATCH_SENT, batch_id=batch_id)
    return True


def plan_batch(database: Database, settings: Settings, dispatch: Dispatch, batch_id: int) -> int:
    """
    Plan a queued batch, and send its tasks. Done twice, the second finds it planned.

    While the publisher is down the batch stays queued; it is planned again in a while, and given up after
    `month_retry_hours`. So is one that nobody here understands: a worker of a newer version may.

    Returns:
        How many force-months it is about.

    Raises:
        StoreUnavailable: The database went away.
    """
    with database.connect(autocommit=True) as connection:
        batch = find_queued(connection, batch_id)
    if batch is None:
        return 0
    try:
        months = _what_is_due(database, settings, batch)
        with database.connect(autocommit=True) as connection:
            if not plan_months(connection, batch_id, months, at=_now()):
                return 0
    except StoreUnavailable:
        raise
    except Exception as error:  # whatever is wrong with a batch, it must not wait for ever
        if is_store_gone(error):
            raise store_gone(error) from error
        _note_unplanned(database, settings, batch, error)
        return 0
    if not months:
        with database.connect(autocommit=True) as connection:
            keep_current(connection)
    queues = Counter(month.queue for month in months)
    log.info(Event.BATCH_PLANNED, batch_id=batch_id, force_months=len(months), queues=dict(queues))
    send_months(database, dispatch, batch_id, months)
    return len(months)


def send_months(database: Database, dispatch: Dispatch, batch_id: int, months: Sequence[PlannedMonth]) -> bool:
    """
    Send the tasks of force-months that are in the ledger.

    Returns:
        Whether all were sent; those that were not are sent later.
    """
    if not months:
        return True
    keys = [(month.force, month.month) for month in months]
    with database.connect(autocommit=True) as connection:
        # Before they are sent: a task may have come, and been left for later, before we are back from sending.
        mark_months_sent(connection, batch_id, keys, at=_now())
        try:
            dispatch.months(batch_id, months)
        except BrokerUnavailable as error:
            log.warning(Event.BROKER_AWAY, fault=describe_fault(error))
            mark_months_sent(connection, batch_id, keys, at=None)
            return False
    return True


def queue_of(due: DueMonth, newest: frozenset[Month]) -> str:
    """
    Choose the queue of a due force-month: the newest months go before all others.

    A recheck of what is held is never urgent.
    """
    return DAILY if due.month in newest and due.reason != Reason.RECHECK else BACKFILL


def _what_is_due(database: Database, settings: Settings, batch: WorkersBatch) -> list[PlannedMonth]:
    asked = read_asked(batch.asked_for)
    if isinstance(asked, AskedReplay):
        chosen = letters_to_replay(
            database, force=asked.force, month=asked.month, rule=asked.rule, ids=_listed(asked.ids)
        ).editions
        return [PlannedMonth(force=e.force, month=e.month, queue=REPLAY, reason="dead letters") for e in chosen]
    availability, due = asyncio.run(plan_from_api(database, settings, asked.wanted))
    newest = newest_months(availability)
    # As planned: the newest month of every force, then the one before, so that no force waits for another's years.
    return [
        PlannedMonth(force=month.force, month=month.month, queue=queue_of(month, newest), reason=str(month.reason))
        for month in due
    ]


def newest_months(availability: Availability) -> frozenset[Month]:
    """
    Give the months that count as today's data.
    """
    return frozenset(availability.months[-NEWEST_MONTHS:])


def _listed(ids: tuple[int, ...] | None) -> list[int] | None:
    return list(ids) if ids is not None else None


def _note_unplanned(database: Database, settings: Settings, batch: WorkersBatch, error: Exception) -> None:
    may_pass = not isinstance(error, StopSearchError) or isinstance(error, Transient)
    is_tried_again = may_pass and _now() - batch.asked_at < timedelta(hours=settings.month_retry_hours)
    understood = _understood(error)
    log.warning(
        Event.BATCH_BROKE,
        batch_id=batch.id,
        fault=describe_fault(error),
        is_tried_again=is_tried_again,
        exception=None if isinstance(error, StopSearchError) else format_frames(error),
    )
    if not is_tried_again:
        with database.connect(autocommit=True) as connection:
            fail_batch(connection, batch.id, kind=understood.kind, text=str(understood), at=_now())
            keep_current(connection)


def _understood(error: Exception) -> StopSearchError:
    if isinstance(error, StopSearchError):
        return error
    return known_trouble(error) or StopSearchError(
        f"Something that should not happen: {describe_fault(error)}.",
        remedy="Nothing was planned, and all stays due. Please report it.",
    )


def _now() -> datetime:
    return datetime.now(UTC)
