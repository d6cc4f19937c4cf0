"""
The ledger: what each trigger asked for, and how each run of it went.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.types.json import Jsonb

from stopsearch.domain.errors import SourceShapeChanged
from stopsearch.domain.months import Month
from stopsearch.domain.states import BatchStatus, RunStatus, Source
from stopsearch.store.bodies import keep_body
from stopsearch.store.edition import KeptBody
from stopsearch.store.locks import try_lock_batch

# What starts the batches that a server is asked for over HTTP: they outlive the process that runs them.
HTTP_TRIGGER = "http"


@dataclass(frozen=True, kw_only=True)
class RunOutcome:
    """
    How one run ended: what its ledger row and its closing log line say.
    """

    status: RunStatus
    revision: int | None = None
    origin: str | None = None
    received: int | None = None
    stored: int | None = None
    rejected: int | None = None
    added: int | None = None
    withdrawn: int | None = None
    mended: dict[str, int] = field(default_factory=dict)
    rejected_by_rule: dict[str, int] = field(default_factory=dict)
    error_kind: str | None = None
    error_text: str | None = None


def begin_batch(
    connection: Connection, *, trigger: str, requested_by: str, asked_for: dict[str, Any], at: datetime
) -> int:
    """
    Begin a batch, and lock it for as long as this connection lives: a batch without its lock has been cut short.
    """
    with connection.transaction():  # nobody may see it running and not locked
        row = connection.execute(
            """
            INSERT INTO ingest_batch (trigger, requested_by, asked_for, status, started_at)
            VALUES (%s, %s, %s, 'running', %s) RETURNING id
            """,
            [trigger, requested_by, Jsonb(asked_for), at],
        ).fetchone()
        assert row is not None  # RETURNING gives the row
        try_lock_batch(connection, row[0])
    return int(row[0])


def is_batch(connection: Connection, batch_id: int) -> bool:
    """
    Tell whether there is a batch of this number.
    """
    return connection.execute("SELECT FROM ingest_batch WHERE id = %s", [batch_id]).fetchone() is not None


def note_refused(connection: Connection, batch_id: int, refused: Sequence[str]) -> None:
    """
    Note with what a batch was asked for which files were refused by name, and why: no run ever begins for them.
    """
    note_asked(connection, batch_id, {"refused": [_as_text(text) for text in refused]})


def note_asked(connection: Connection, batch_id: int, more: dict[str, Any]) -> None:
    """
    Note more beside what a batch was asked for.
    """
    connection.execute("UPDATE ingest_batch SET asked_for = asked_for || %s WHERE id = %s", [Jsonb(more), batch_id])


def end_batch(connection: Connection, batch_id: int, status: BatchStatus, *, at: datetime) -> BatchStatus:
    """
    End a batch, or put it back among those that wait (`queued`); runs of it that have not ended are cancelled.

    Returns:
        How it stands now: what is to be cancelled never waits again.
    """
    connection.execute(
        """
        UPDATE ingest_run SET status = 'cancelled', error_kind = 'cancelled',
            error_text = 'The batch ended before this run did.', ended_at = %s
        WHERE batch_id = %s AND status IN ('queued', 'running')
        """,
        [at, batch_id],
    )
    row = connection.execute(
        """
        UPDATE ingest_batch SET
            status = CASE WHEN %(waits)s AND cancel_asked_at IS NOT NULL THEN 'cancelled' ELSE %(status)s END,
            ended_at = CASE WHEN %(waits)s AND cancel_asked_at IS NULL THEN NULL ELSE %(at)s::timestamptz END
        WHERE id = %(id)s RETURNING status
        """,
        {"id": batch_id, "status": status, "waits": status is BatchStatus.QUEUED, "at": at},
    ).fetchone()
    return BatchStatus(row[0]) if row is not None else status


def end_stale_batches(connection: Connection, *, at: datetime) -> int:
    """
    End the batches whose process has ended without saying so, by a crash or a kill.

    A batch that a server was asked for goes back among those that wait: the next server goes on with it.

    Returns:
        How many there were.
    """
    running = connection.execute(
        "SELECT id FROM ingest_batch WHERE status = 'running' AND NOT is_distributed ORDER BY id"
    ).fetchall()
    stale = 0
    for (batch_id,) in running:
        with connection.transaction():
            if not try_lock_batch(connection, batch_id, for_transaction=True):
                continue
            # Between the look and the lock, its process may have ended it well.
            row = connection.execute(
                "SELECT trigger FROM ingest_batch WHERE id = %s AND status = 'running'", [batch_id]
            ).fetchone()
            if row is not None:
                status = BatchStatus.QUEUED if row[0] == HTTP_TRIGGER else BatchStatus.CANCELLED
                end_batch(connection, batch_id, status, at=at)
                stale += 1
    return stale


def begin_run(
    connection: Connection, *, batch_id: int, force_code: int, month: Month, source: Source, at: datetime
) -> int:
    """
    Begin a run: its row says "running" from now on, also when the process is killed.
    """
    row = connection.execute(
        """
        INSERT INTO ingest_run (batch_id, force_code, month, source, attempt, status, started_at)
        VALUES (
            %(batch)s, %(code)s, %(month)s, %(source)s,
            (SELECT count(*) + 1 FROM ingest_run AS earlier WHERE earlier.batch_id = %(batch)s
                AND earlier.force_code = %(code)s AND earlier.month = %(month)s AND earlier.source = %(source)s),
            'running', %(at)s
        )
        RETURNING id
        """,
        {"batch": batch_id, "code": force_code, "month": month.first_day, "source": source, "at": at},
    ).fetchone()
    assert row is not None  # RETURNING gives the row
    return int(row[0])


def keep_fetched(
    connection: Connection, run_id: int, body: KeptBody, *, fetched_at: datetime, published_at: datetime, origin: str
) -> None:
    """
    Keep what a run fetched, as it came, before anything can go wrong with it.

    The commit does not wait for the disk: should the machine lose power now, the body is fetched again.
    """
    with connection.transaction():
        connection.execute("SET LOCAL synchronous_commit = off")
        keep_body(connection, body)
        connection.execute(
            "UPDATE ingest_run SET body_digest = %s, fetched_at = %s, published_at = %s, origin = %s WHERE id = %s",
            [body.digest, fetched_at, published_at, origin, run_id],
        )


def commit_without_waiting(connection: Connection) -> None:
    """
    Let this connection's commits not wait for the disk. They stay whole: a crash of the machine loses the last ones.
    """
    connection.execute("SET synchronous_commit = off")


def unfinished_fetch(
    connection: Connection, force_code: int, month: Month, *, before_run: int, since: datetime
) -> tuple[bytes, datetime, str] | None:
    """
    Give what the last run of a force-month fetched, where it was cut short or failed before it could use it.

    A body that is itself at fault is no use to anybody: it is asked for again. A run that found the force-month busy
    has fetched nothing, and says nothing of the one before it.

    Args:
        before_run: The run that asks, and so is not the last one.
        since: Fetched earlier than this, a body is too old to be used.

    Returns:
        The body's digest, when it was fetched, and its address; None where there is nothing, or only older.
    """
    row = connection.execute(
        """
        SELECT status, body_digest, fetched_at, origin, error_kind FROM ingest_run
        WHERE force_code = %s AND month = %s AND source = 'api' AND id < %s AND status <> 'busy'
        ORDER BY id DESC LIMIT 1
        """,
        [force_code, month.first_day, before_run],
    ).fetchone()
    if row is None or row[0] not in ("running", "cancelled", "failed") or row[1] is None or row[2] < since:
        return None
    if row[4] == SourceShapeChanged.kind:
        return None
    return row[1], row[2], row[3]


def finish_run(
    connection: Connection, run_id: int, outcome: RunOutcome, *, durations_s: dict[str, float], at: datetime
) -> None:
    """
    Finish a run. In the same transaction as what it did, where it did something.
    """
    connection.execute(
        """
        UPDATE ingest_run SET status = %(status)s, error_kind = %(kind)s, error_text = %(text)s,
            revision = %(revision)s, origin = coalesce(%(origin)s, origin), received = %(received)s,
            stored = %(stored)s, rejected = %(rejected)s, added = %(added)s, withdrawn = %(withdrawn)s,
            mended = %(mended)s, rejected_by_rule = %(by_rule)s, durations_s = %(durations)s, ended_at = %(at)s
        WHERE id = %(id)s
        """,
        {
            "status": outcome.status,
            "kind": outcome.error_kind,
            "text": outcome.error_text,
            "revision": outcome.revision,
            "origin": outcome.origin,
            "received": outcome.received,
            "stored": outcome.stored,
            "rejected": outcome.rejected,
            "added": outcome.added,
            "withdrawn": outcome.withdrawn,
            "mended": Jsonb(outcome.mended),
            "by_rule": Jsonb(outcome.rejected_by_rule),
            "durations": Jsonb({stage: round(seconds, 4) for stage, seconds in durations_s.items()}),
            "at": at,
            "id": run_id,
        },
    )


def _as_text(text: str) -> str:
    return text.encode(errors="replace").decode().replace("\0", "?")  # names are anybody's
