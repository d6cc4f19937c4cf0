"""
How far a batch is, force-month by force-month, for whoever follows it: from the ledger alone, whoever runs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row

from stopsearch.domain.months import Month
from stopsearch.domain.states import RunStatus, Source
from stopsearch.store.ledger import RunOutcome
from stopsearch.store.locks import MONTH_IS_LOCKED


@dataclass(frozen=True, kw_only=True)
class MonthProgress:
    """
    One force-month of a batch: its last run, and whether it is done with. `outcome` is how it stands or ended.
    """

    force: str
    month: Month
    source: Source
    run_id: int | None  # None where no run of it has begun
    reason: str  # why it was planned; empty where that is not written down
    outcome: RunOutcome
    has_ended: bool
    next_at: datetime | None  # when it is tried again, where its last try was in vain


@dataclass(frozen=True, kw_only=True)
class QueueProgress:
    """
    How the force-months of a batch stand that went to one queue.
    """

    queue: str
    waiting: int  # that no worker has taken yet
    on_the_way: int
    again: int  # that are tried again later
    next_at: datetime | None  # when the first of these is
    ended: int
    failed: int  # of those that ended


def months_of_batch(connection: Connection, batch_id: int, *, is_distributed: bool) -> list[MonthProgress]:
    """
    Give the force-months of a batch, those of workers in the order of the plan, else in that of their runs.

    Of a batch that no worker runs only those are known that were begun. A run that was in vain, and followed by
    another of the same batch, does not count.
    """
    query = _OF_WORKERS if is_distributed else _OF_PROCESS
    with connection.cursor(row_factory=dict_row) as cursor:
        return [_month_progress(row) for row in cursor.execute(query, {"batch": batch_id})]


def queues_of_batch(connection: Connection, batch_id: int) -> list[QueueProgress]:
    """
    Give how a batch of workers stands in each queue that it went to.
    """
    query = f"""
        SELECT queue,
            count(*) FILTER (WHERE ended_at IS NULL AND deliveries = 0 AND status IS NULL) AS waiting,
            count(*) FILTER (WHERE ended_at IS NULL AND deliveries > 0) AS on_the_way,
            count(*) FILTER (WHERE ended_at IS NULL AND deliveries = 0 AND status IS NOT NULL) AS again,
            min(next_at) FILTER (WHERE ended_at IS NULL AND deliveries = 0 AND status IS NOT NULL) AS next_at,
            count(*) FILTER (WHERE ended_at IS NOT NULL) AS ended,
            count(*) FILTER (WHERE ended_at IS NOT NULL AND status IN ({_WRONG})) AS failed
        FROM batch_month WHERE batch_id = %(batch)s GROUP BY queue ORDER BY min(ordinal)
    """  # nosec B608: made of our own words only
    with connection.cursor(row_factory=dict_row) as cursor:
        return [QueueProgress(**row) for row in cursor.execute(query, {"batch": batch_id})]


_WRONG = "'failed', 'refused', 'busy'"
_RUN = """
    run.revision, run.origin, run.received, run.stored, run.rejected, run.added, run.withdrawn, run.mended,
    run.rejected_by_rule, run.error_kind, run.error_text
"""
# Planned, a force-month has one row; it may have had no run, or several. It runs while its worker has its lock.
_OF_WORKERS = f"""
    SELECT force.id AS force, planned.month, run.id AS run_id, planned.reason, {_RUN},
        coalesce(run.source, CASE WHEN planned.queue = 'replay' THEN 'kept' ELSE 'api' END) AS source,
        CASE
            WHEN planned.ended_at IS NOT NULL THEN planned.status
            WHEN run.status = 'running' AND planned.deliveries > 0 AND {MONTH_IS_LOCKED} THEN 'running'
            ELSE coalesce(planned.status, 'queued')
        END AS status,
        planned.ended_at IS NOT NULL AS has_ended,
        CASE WHEN planned.ended_at IS NULL AND planned.deliveries = 0 AND planned.status IS NOT NULL
            THEN planned.next_at END AS next_at
    FROM batch_month AS planned JOIN force ON force.code = planned.force_code
    LEFT JOIN LATERAL (
        SELECT * FROM ingest_run AS run
        WHERE run.batch_id = planned.batch_id AND run.force_code = planned.force_code AND run.month = planned.month
        ORDER BY run.id DESC LIMIT 1
    ) AS run ON true
    WHERE planned.batch_id = %(batch)s ORDER BY planned.ordinal
"""  # nosec B608: made of our own words only
_OF_PROCESS = f"""
    SELECT force.id AS force, run.month, run.id AS run_id, '' AS reason, {_RUN}, run.source, run.status,
        run.status NOT IN ('queued', 'running') AS has_ended, NULL AS next_at
    FROM ingest_run AS run JOIN force ON force.code = run.force_code
    WHERE run.batch_id = %(batch)s AND NOT (
        run.status IN ('busy', 'failed', 'cancelled') AND EXISTS (
            SELECT FROM ingest_run AS later
            WHERE later.batch_id = run.batch_id AND later.force_code = run.force_code AND later.month = run.month
                AND later.source = run.source AND later.id > run.id
        )
    )
    ORDER BY run.id
"""  # nosec B608: made of our own words only


def _month_progress(row: dict[str, Any]) -> MonthProgress:
    status = RunStatus(row["status"])
    is_told = row["has_ended"] or row["next_at"] is not None
    return MonthProgress(
        force=row["force"],
        month=Month.of(row["month"]),
        source=Source(row["source"]),
        run_id=row["run_id"],
        reason=row["reason"],
        outcome=RunOutcome(
            status=status,
            revision=row["revision"],
            origin=row["origin"],
            received=row["received"],
            stored=row["stored"],
            rejected=row["rejected"],
            added=row["added"],
            withdrawn=row["withdrawn"],
            mended=row["mended"] or {},
            rejected_by_rule=row["rejected_by_rule"] or {},
            error_kind=row["error_kind"] if is_told else None,
            error_text=row["error_text"] if is_told else None,
        ),
        has_ended=row["has_ended"],
        next_at=row["next_at"],
    )
