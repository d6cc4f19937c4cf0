"""
The wish to cancel a batch: written in the ledger, where whoever runs the batch finds it.

What nobody works on ends at once. What is being stored is finished, and the batch ends as cancelled after it.
"""

from __future__ import annotations

from datetime import datetime

from psycopg import Connection

from stopsearch.domain.errors import BatchEnded, UnknownBatch
from stopsearch.domain.states import BatchStatus
from stopsearch.store.ledger import end_batch
from stopsearch.store.locks import MONTH_IS_LOCKED, try_lock_batch

_UNENDED = (BatchStatus.QUEUED, BatchStatus.RUNNING)


def ask_to_cancel(connection: Connection, batch_id: int, *, by: str, at: datetime) -> bool:
    """
    Ask for the end of a batch, and end all of it that nobody works on. Asked again, it stays as it was asked first.

    A batch of workers whose last force-month ends here is closed by `close_if_over`, which comes next.

    Returns:
        Whether it was asked for the first time.

    Raises:
        UnknownBatch: There is none of this number.
        BatchEnded: It has ended otherwise.
    """
    with connection.transaction():
        row = connection.execute(
            "SELECT status, is_distributed, cancel_asked_at, ended_at FROM ingest_batch WHERE id = %s FOR UPDATE",
            [batch_id],
        ).fetchone()
        if row is None:
            raise UnknownBatch(
                f"There is no batch {batch_id}.",
                remedy="'stopsearch batches list' and GET /v1/ingestions list them.",
            )
        status, is_distributed, asked_at, ended_at = BatchStatus(row[0]), row[1], row[2], row[3]
        if status not in _UNENDED:
            if asked_at is not None and status is BatchStatus.CANCELLED:
                return False
            when = f" at {ended_at:%Y-%m-%d %H:%M:%S} UTC" if ended_at else ""
            raise BatchEnded(
                f"Batch {batch_id} has ended{when} ({status}), so there is nothing to cancel.",
                remedy="What it brought in stays; a revision can be reverted.",
            )
        connection.execute(
            """
            UPDATE ingest_batch SET cancel_asked_at = coalesce(cancel_asked_at, %s),
                cancel_asked_by = coalesce(cancel_asked_by, %s)
            WHERE id = %s
            """,
            [at, by, batch_id],
        )
        is_left = not is_distributed and try_lock_batch(connection, batch_id, for_transaction=True)
        if status is BatchStatus.QUEUED or is_left:
            end_batch(connection, batch_id, BatchStatus.CANCELLED, at=at)
        elif is_distributed:
            drop_cancelled_months(connection, batch_id, at=at)
    return asked_at is None


def drop_cancelled_months(connection: Connection, batch_id: int, *, at: datetime) -> int:
    """
    End the force-months of a batch of workers that is to be cancelled, but for those that a worker writes just now.

    Returns:
        How many there were.
    """
    return connection.execute(
        f"""
        UPDATE batch_month AS planned SET status = 'cancelled', ended_at = %(at)s
        FROM ingest_batch AS batch
        WHERE batch.id = planned.batch_id AND batch.id = %(batch)s AND batch.cancel_asked_at IS NOT NULL
            AND planned.ended_at IS NULL AND NOT (planned.deliveries > 0 AND {MONTH_IS_LOCKED})
        """,  # nosec B608: made of our own words only
        {"batch": batch_id, "at": at},
    ).rowcount


def end_lost_runs(connection: Connection, batch_id: int, *, at: datetime) -> int:
    """
    End the runs that say they go on, of a batch of workers that has ended, and whose force-month nobody writes.

    A task may be claimed when its batch is cancelled, and begin its run after that; should its worker be killed then,
    no end of the batch comes any more to end it.

    Returns:
        How many there were.
    """
    return connection.execute(
        f"""
        UPDATE ingest_run AS planned SET status = 'cancelled', error_kind = 'cancelled',
            error_text = 'The batch had ended, and its worker was lost.', ended_at = %(at)s
        FROM ingest_batch AS batch
        WHERE batch.id = planned.batch_id AND batch.id = %(batch)s AND batch.is_distributed
            AND batch.status NOT IN ('queued', 'running') AND planned.status = 'running' AND NOT {MONTH_IS_LOCKED}
        """,  # nosec B608: made of our own words only
        {"batch": batch_id, "at": at},
    ).rowcount


def cancel_asked_by(connection: Connection, batch_id: int) -> str | None:
    """
    Tell who asked for the end of a batch; None where nobody has.
    """
    row = connection.execute(
        "SELECT cancel_asked_by FROM ingest_batch WHERE id = %s AND cancel_asked_at IS NOT NULL", [batch_id]
    ).fetchone()
    return str(row[0]) if row is not None else None
