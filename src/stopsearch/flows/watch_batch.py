"""
Follow a batch from its ledger, whichever process or worker runs it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import psycopg
from psycopg import Connection

from stopsearch.domain.errors import SourceError, StoreUnavailable
from stopsearch.domain.months import Month
from stopsearch.domain.states import BatchStatus, RunStatus
from stopsearch.flows.batches import BatchReport
from stopsearch.flows.plan import DueMonth
from stopsearch.flows.runs import RunReport
from stopsearch.store.batch_progress import MonthProgress, months_of_batch
from stopsearch.store.batch_reports import BatchEntry, find_batch
from stopsearch.store.database import Database
from stopsearch.store.troubles import is_store_gone, store_gone

POLL_S = 0.5
# A database that is away for longer ends the following, and not the batch.
_PATIENCE_S = 60.0
_UNENDED = (BatchStatus.QUEUED, BatchStatus.RUNNING)

_Key = tuple[str, Month] | int


@dataclass(frozen=True, kw_only=True)
class Look:
    """
    How a batch stands at one look, and what has changed since the look before.
    """

    batch: BatchEntry
    begun: list[MonthProgress] = field(default_factory=list)
    left: list[MonthProgress] = field(default_factory=list)  # to be tried again later
    ended: list[RunReport] = field(default_factory=list)

    @property
    def is_last(self) -> bool:
        """
        Tell whether the batch has ended.
        """
        return self.batch.status not in _UNENDED


def watch_batch(
    database: Database, batch_id: int, *, poll_s: float = POLL_S, sleep: Callable[[float], None] = time.sleep
) -> Iterator[Look]:
    """
    Look at a batch again and again until it has ended; the last look sees all of it.

    Each force-month's end is told once. A database that goes away is waited for, for a minute.

    Raises:
        UnknownBatch: There is none of this number.
        StoreUnavailable: The database stays away.
    """
    told: dict[_Key, str] = {}
    away_since: float | None = None
    while True:
        try:
            with database.connect(autocommit=True) as connection:
                while True:
                    look = _look(connection, batch_id, told)
                    away_since = None
                    yield look
                    if look.is_last:
                        return
                    sleep(poll_s)
        except (StoreUnavailable, psycopg.Error) as error:
            if isinstance(error, psycopg.Error) and not is_store_gone(error):
                raise
            away_since = away_since if away_since is not None else time.monotonic()
            if time.monotonic() - away_since > _PATIENCE_S:
                raise (error if isinstance(error, StoreUnavailable) else store_gone(error)) from error
            sleep(poll_s)


def report_batch(database: Database, batch: BatchEntry) -> BatchReport:
    """
    Report a batch that has ended, as whoever ran it would.
    """
    with database.connect(autocommit=True) as connection:
        months = months_of_batch(connection, batch.id, is_distributed=batch.is_distributed)
    # What was never begun is not a run of it; what is left is told by the sum.
    runs = [_report(month) for month in months if month.has_ended and not _was_dropped(month)]
    due = [DueMonth(force=month.force, month=month.month, reason=month.reason) for month in months]
    duration_s = 0.0
    if batch.started_at is not None and batch.ended_at is not None:
        duration_s = (batch.ended_at - batch.started_at).total_seconds()
    return BatchReport(
        batch_id=batch.id,
        status=batch.status,
        due=due,
        runs=runs,
        refusals=[SourceError(text) for text in batch.refused],
        duration_s=duration_s,
        cancelled_by=batch.cancel_asked_by if batch.status is BatchStatus.CANCELLED else None,
        force_months=batch.force_months,
    )


def _look(connection: Connection, batch_id: int, told: dict[_Key, str]) -> Look:
    # The batch first: once it has ended, no force-month of it begins or ends any more.
    batch = find_batch(connection, batch_id)
    look = Look(batch=batch)
    if batch.status is BatchStatus.QUEUED:
        return look
    for month in months_of_batch(connection, batch_id, is_distributed=batch.is_distributed):
        stands = _stands(month)
        key: _Key = (month.force, month.month) if batch.is_distributed or month.run_id is None else month.run_id
        if told.get(key) == stands:
            continue
        told[key] = stands
        if stands == "ended":
            look.ended.append(_report(month))
        elif stands == "left":
            look.left.append(month)
        elif stands == "begun":
            look.begun.append(month)
    return look


def _stands(month: MonthProgress) -> str:
    if month.has_ended:
        return "ended"
    if month.next_at is not None:
        return "left"
    return "begun" if month.outcome.status is RunStatus.RUNNING else "waits"


def _was_dropped(month: MonthProgress) -> bool:
    return month.run_id is None and month.outcome.status is RunStatus.CANCELLED


def _report(month: MonthProgress) -> RunReport:
    return RunReport(force=month.force, month=month.month, source=month.source, outcome=month.outcome)
