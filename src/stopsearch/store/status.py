"""
Figures on the whole database at a glance, from the ledger: none of them counts the stops themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg import Connection

from stopsearch.domain.states import BatchStatus, Cause, RunStatus
from stopsearch.store.locks import BATCH_IS_ALIVE


@dataclass(frozen=True, kw_only=True)
class BatchFigures:
    """
    One batch, and how many runs of it ended in which way. `is_alive` tells whether its process, or the workers, run it.
    """

    id: int
    trigger: str
    requested_by: str
    status: BatchStatus
    is_alive: bool
    is_distributed: bool  # whether workers run it
    started_at: datetime
    ended_at: datetime | None
    runs: dict[RunStatus, int]


@dataclass(frozen=True, kw_only=True)
class CallBudgetFigures:
    """
    One upstream's call budget: slots are given out up to `next_at`, which lies `ahead_s` seconds from now.
    """

    upstream: str
    next_at: datetime
    ahead_s: float  # 0: the budget is whole


@dataclass(frozen=True, kw_only=True)
class StopFigures:
    """
    How many stops are served now, and how many rows the table holds with those that were withdrawn.
    """

    current: int
    total: int


def database_bytes(connection: Connection) -> int:
    """
    Give the size of the database on the server's disk.
    """
    return _int(connection, "SELECT pg_database_size(current_database())")


def stop_figures(connection: Connection) -> StopFigures:
    """
    Count the stops by what their revisions say: `doctor` sees to it that it is true.
    """
    row = connection.execute(
        """
        SELECT coalesce(sum(stored) FILTER (WHERE served_until IS NULL), 0)::bigint, coalesce(sum(added), 0)::bigint
        FROM revision WHERE standing = 'served'
        """
    ).fetchone()
    current, total = row or (0, 0)
    return StopFigures(current=current, total=total)


def open_letters_by_rule(connection: Connection) -> dict[str, int]:
    """
    Count the open dead letters by rule, the most first; a letter that broke several counts under each.
    """
    rows = connection.execute(
        """
        SELECT rejection ->> 'rule', count(DISTINCT letter.id)
        FROM dead_letter AS letter CROSS JOIN jsonb_array_elements(letter.rejections) AS rejection
        WHERE letter.state = 'open' GROUP BY 1 ORDER BY 2 DESC, 1
        """
    )
    return {str(rule): int(count) for rule, count in rows}


def open_letters(connection: Connection) -> int:
    """
    Count the open dead letters.
    """
    return _int(connection, "SELECT count(*) FROM dead_letter WHERE state = 'open'")


def revisions_by_cause(connection: Connection, *, within: timedelta) -> dict[Cause, int]:
    """
    Count the revisions that readers began to see within a time before now, by cause; every cause is among them.
    """
    rows = connection.execute(
        "SELECT cause, count(*) FROM revision WHERE served_from >= now() - %s GROUP BY cause", [within]
    ).fetchall()
    counts = {Cause(cause): int(count) for cause, count in rows}
    return {cause: counts.get(cause, 0) for cause in Cause}


def last_batch(connection: Connection) -> BatchFigures | None:
    """
    Give the batch that began last; None where there was none.
    """
    found = _batches(connection, "TRUE ORDER BY id DESC LIMIT 1")
    return found[0] if found else None


def running_batches(connection: Connection) -> list[BatchFigures]:
    """
    Give the batches that have not ended, the oldest first; one that is not alive was cut short.
    """
    return _batches(connection, "status = 'running' ORDER BY id")


def call_budgets(connection: Connection) -> list[CallBudgetFigures]:
    """
    Give the call budget of each upstream that was ever asked.
    """
    rows = connection.execute(
        """
        SELECT upstream, next_at, greatest(0, extract(epoch FROM next_at - clock_timestamp()))::float8
        FROM call_budget ORDER BY upstream
        """
    )
    return [CallBudgetFigures(upstream=row[0], next_at=row[1], ahead_s=round(row[2], 3)) for row in rows]


def _batches(connection: Connection, which: str) -> list[BatchFigures]:
    rows = connection.execute(
        f"""
        SELECT batch.id, batch.trigger, batch.requested_by, batch.status, batch.started_at, batch.ended_at,
            batch.is_distributed OR {BATCH_IS_ALIVE}, batch.is_distributed,
            (
                SELECT coalesce(jsonb_object_agg(status, runs), '{{}}')
                FROM (SELECT status, count(*) AS runs FROM ingest_run WHERE batch_id = batch.id GROUP BY status) AS run
            )
        FROM (SELECT * FROM ingest_batch WHERE {which}) AS batch ORDER BY batch.id
        """  # nosec B608: made of our own words only
    )
    return [
        BatchFigures(
            id=row[0],
            trigger=row[1],
            requested_by=row[2],
            status=BatchStatus(row[3]),
            started_at=row[4],
            ended_at=row[5],
            is_alive=row[6],
            is_distributed=row[7],
            runs={status: row[8][status] for status in RunStatus if status in row[8]},
        )
        for row in rows
    ]


def _int(connection: Connection, query: str) -> int:
    row = connection.execute(query).fetchone()
    assert row is not None  # an aggregate without GROUP BY gives one row
    return int(row[0])
