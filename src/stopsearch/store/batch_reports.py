"""
Batches and their runs as the ledger has them, for whoever watches how they go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row

from stopsearch.domain.errors import UnknownBatch
from stopsearch.domain.states import BatchStatus, RunStatus, Source
from stopsearch.store.batch_queue import SETTLED
from stopsearch.store.locks import BATCH_IS_ALIVE

# Archives may refuse thousands of files by name; so many of them are told, and how many there are.
_REFUSALS_TOLD = 20


@dataclass(frozen=True, kw_only=True)
class BatchEntry:
    """
    One batch: what was asked for, how it stands, and how many of its runs ended in which way.
    """

    id: int
    trigger: str
    requested_by: str
    status: BatchStatus
    is_alive: bool  # whether a process, or the workers, run it now
    is_distributed: bool  # whether workers run it
    sent_at: datetime | None  # when workers were told of it
    cancel_asked_at: datetime | None
    cancel_asked_by: str | None
    asked_for: dict[str, Any]
    asked_at: datetime
    started_at: datetime | None  # None while it is queued, and where it ended without having begun
    ended_at: datetime | None
    force_months: int | None  # that it is about; None while that is not known
    ended: int  # force-months of these that are done with
    runs: dict[RunStatus, int]
    error: dict[str, str] | None  # `kind` and `text` of what ended it as a whole
    refused: list[str]  # the first archives and members that were refused by name
    refused_count: int


@dataclass(frozen=True, kw_only=True)
class RunEntry:
    """
    One run of a batch; its counts are None where it came to none.
    """

    id: int
    force: str
    month: str  # YYYY-MM
    source: Source
    attempt: int
    status: RunStatus
    revision: int | None
    received: int | None
    stored: int | None
    rejected: int | None
    added: int | None
    withdrawn: int | None
    origin: str | None
    error_kind: str | None
    error_text: str | None
    started_at: datetime
    ended_at: datetime | None


def list_batches(connection: Connection, *, limit: int, before: int | None = None) -> list[BatchEntry]:
    """
    Give batches of every trigger, the newest first.

    Args:
        before: Only those older than this one.
    """
    return _batches(connection, "%(before)s::integer IS NULL OR id < %(before)s", before=before, limit=limit)


def find_batch(connection: Connection, batch_id: int) -> BatchEntry:
    """
    Give one batch.

    Raises:
        UnknownBatch: There is none of this number.
    """
    found = _batches(connection, "id = %(id)s", id=batch_id, limit=1)
    if not found:
        raise UnknownBatch(
            f"There is no batch {batch_id}.", remedy="'stopsearch batches list' and GET /v1/ingestions list them."
        )
    return found[0]


def runs_of_batch(connection: Connection, batch_id: int, *, after: int, limit: int) -> list[RunEntry]:
    """
    Give the runs of a batch in the order in which they began, those after a run's number.
    """
    return _runs(connection, "run.id > %(after)s", batch_id=batch_id, after=after, limit=limit)


def runs_since(
    connection: Connection, batch_id: int, *, newest: int, unended: Sequence[int], limit: int
) -> list[RunEntry]:
    """
    Give the runs of a batch that began after a run, and those of some older ones that have ended now.
    """
    which = "run.id > %(newest)s OR (run.id = ANY(%(unended)s) AND run.status NOT IN ('queued', 'running'))"
    return _runs(connection, which, batch_id=batch_id, newest=newest, unended=list(unended), limit=limit)


def _batches(connection: Connection, which: str, **parameters: Any) -> list[BatchEntry]:
    query = f"""
        SELECT batch.id, batch.trigger, batch.requested_by, batch.status,
            batch.status = 'running' AND (batch.is_distributed OR {BATCH_IS_ALIVE}) AS is_alive,
            batch.is_distributed, batch.sent_at, batch.cancel_asked_at, batch.cancel_asked_by,
            batch.asked_for - ARRAY['asked_at', 'force_months', 'error', 'refused'] AS asked_for,
            coalesce((batch.asked_for ->> 'asked_at')::timestamptz, batch.started_at) AS asked_at,
            -- Until a batch that waits begins, both instants are one.
            CASE WHEN batch.status <> 'queued' AND
                batch.started_at IS DISTINCT FROM (batch.asked_for ->> 'asked_at')::timestamptz
            THEN batch.started_at END AS started_at, batch.ended_at,
            (batch.asked_for ->> 'force_months')::integer AS force_months,
            CASE WHEN batch.is_distributed THEN (
                SELECT count(*) FROM batch_month WHERE batch_id = batch.id AND ended_at IS NOT NULL
            ) ELSE (
                SELECT count(*) FROM ingest_run AS run WHERE run.batch_id = batch.id AND (
                    run.status = ANY(%(settled)s)
                    -- What failed before a batch was cut short is tried again.
                    OR (run.status = 'failed' AND run.started_at >= batch.started_at)
                )
            ) END AS ended,
            (
                SELECT coalesce(jsonb_object_agg(status, runs), '{{}}')
                FROM (SELECT status, count(*) AS runs FROM ingest_run WHERE batch_id = batch.id GROUP BY status) AS run
            ) AS runs,
            batch.asked_for -> 'error' AS error,
            jsonb_path_query_array(batch.asked_for, %(told)s::jsonpath) AS refused,
            coalesce(jsonb_array_length(batch.asked_for -> 'refused'), 0) AS refused_count
        FROM (SELECT * FROM ingest_batch WHERE {which} ORDER BY id DESC LIMIT %(limit)s) AS batch
        ORDER BY batch.id DESC
    """  # nosec B608: made of our own words only
    told = f"$.refused[0 to {_REFUSALS_TOLD - 1}]"
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(query, {**parameters, "settled": list(SETTLED), "told": told}).fetchall()
    return [
        BatchEntry(
            **{
                **row,
                "status": BatchStatus(row["status"]),
                "runs": {status: row["runs"][status] for status in RunStatus if status in row["runs"]},
            }
        )
        for row in rows
    ]


def _runs(connection: Connection, which: str, **parameters: Any) -> list[RunEntry]:
    query = f"""
        SELECT run.id, force.id AS force, to_char(run.month, 'YYYY-MM') AS month, run.source, run.attempt, run.status,
            run.revision, run.received, run.stored, run.rejected, run.added, run.withdrawn, run.origin,
            run.error_kind, run.error_text, run.started_at, run.ended_at
        FROM ingest_run AS run JOIN force ON force.code = run.force_code
        WHERE run.batch_id = %(batch_id)s AND ({which})
        ORDER BY run.id LIMIT %(limit)s
    """  # nosec B608: made of our own words only
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(query, parameters).fetchall()
    return [RunEntry(**{**row, "source": Source(row["source"]), "status": RunStatus(row["status"])}) for row in rows]
