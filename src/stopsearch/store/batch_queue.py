"""
The batches that a server was asked for over HTTP: queued in the ledger, so that any process may go on with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.types.json import Jsonb

from stopsearch.domain.errors import RunAlreadyActive
from stopsearch.domain.months import Month
from stopsearch.domain.states import RunStatus
from stopsearch.store.ledger import HTTP_TRIGGER
from stopsearch.store.locks import BATCH_IS_ALIVE, try_lock_batch

# So many may wait at once: whoever asks for more has lost sight of them.
MOST_QUEUED = 100

# How a run ended that its batch need not repeat when it is gone on with; `failed` and `busy` are not among them.
SETTLED = (RunStatus.REVISED, RunStatus.UNCHANGED, RunStatus.HISTORIC, RunStatus.EMPTY, RunStatus.REFUSED)


@dataclass(frozen=True, kw_only=True)
class QueuedEntry:
    """
    One queued batch's ledger entry: for whom it runs, and what was asked for.
    """

    id: int
    requested_by: str
    asked_for: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class SettledRun:
    """
    One run of a batch that need not be repeated. `origin` is None where nothing was fetched or read.
    """

    force: str
    month: Month
    origin: str | None
    status: RunStatus


def queue_entry(
    connection: Connection,
    *,
    requested_by: str,
    asked_for: dict[str, Any],
    at: datetime,
    trigger: str = HTTP_TRIGGER,
    is_distributed: bool = False,
) -> int:
    """
    Write a batch down as queued, and give its number. Batches are run in the order of their numbers.

    Args:
        is_distributed: Whether workers run it; else a server does, the next one after a restart.

    Raises:
        RunAlreadyActive: As many wait already as may.
    """
    with connection.transaction():
        connection.execute("LOCK TABLE ingest_batch IN SHARE ROW EXCLUSIVE MODE")  # so that the count stays true
        waiting = connection.execute("SELECT count(*) FROM ingest_batch WHERE status = 'queued'").fetchone()
        if waiting is not None and waiting[0] >= MOST_QUEUED:
            raise RunAlreadyActive(
                f"{waiting[0]} batches wait to be run already.", remedy="Ask again once some of them have ended."
            )
        row = connection.execute(
            """
            INSERT INTO ingest_batch (trigger, requested_by, asked_for, status, started_at, is_distributed)
            VALUES (%s, %s, %s, 'queued', %s, %s) RETURNING id
            """,
            [trigger, requested_by, Jsonb({**asked_for, "asked_at": at.isoformat()}), at, is_distributed],
        ).fetchone()
    assert row is not None  # RETURNING gives the row
    return int(row[0])


def unfinished_batches(connection: Connection) -> list[QueuedEntry]:
    """
    Give the batches asked for over HTTP that nobody runs: queued, or cut short; in the order asked for.
    """
    rows = connection.execute(
        f"""
        SELECT id, requested_by, asked_for FROM ingest_batch AS batch
        WHERE trigger = %(trigger)s AND NOT is_distributed
            AND (status = 'queued' OR (status = 'running' AND NOT {BATCH_IS_ALIVE}))
        ORDER BY id
        """,  # nosec B608: made of our own words only
        {"trigger": HTTP_TRIGGER},
    )
    return [QueuedEntry(id=row[0], requested_by=row[1], asked_for=row[2]) for row in rows]


def claim_entry(connection: Connection, batch_id: int, *, at: datetime) -> bool:
    """
    Take a queued batch: it is running from now on, and locked for as long as this connection lives.

    Returns:
        Whether it was there to be taken: another process may have it, or may have ended it.
    """
    with connection.transaction():
        if not try_lock_batch(connection, batch_id):
            return False
        taken = connection.execute(
            """
            UPDATE ingest_batch SET status = 'running', started_at = %s, ended_at = NULL
            WHERE id = %s AND status = 'queued' RETURNING id
            """,
            [at, batch_id],
        ).fetchone()
    return taken is not None


def settled_runs(connection: Connection, batch_id: int) -> list[SettledRun]:
    """
    Give the runs of a batch that need not be repeated when it is gone on with.
    """
    rows = connection.execute(
        """
        SELECT force.id, run.month, run.origin, run.status
        FROM ingest_run AS run JOIN force ON force.code = run.force_code
        WHERE run.batch_id = %s AND run.status = ANY(%s)
            AND (run.status <> 'refused' OR run.source <> 'archive')  -- nothing tells which member it was
        ORDER BY run.id
        """,
        [batch_id, list(SETTLED)],
    )
    return [SettledRun(force=row[0], month=Month.of(row[1]), origin=row[2], status=RunStatus(row[3])) for row in rows]
