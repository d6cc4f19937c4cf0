"""
The force-months that a batch of workers is about: planned, sent, claimed, and how each ended. The ledger of the tasks.

Whether a batch is over is told from here alone. Every function is one step that may be repeated: a task that is
delivered twice, or lost, changes nothing that is not put right by the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.types.json import Jsonb

from stopsearch.domain.months import Month
from stopsearch.domain.states import BatchStatus, RunStatus
from stopsearch.store.batch_queue import SETTLED
from stopsearch.store.forces import force_code
from stopsearch.store.ledger import end_batch

# How a force-month ended that makes its batch one with failures.
_WENT_WRONG = (RunStatus.FAILED, RunStatus.REFUSED, RunStatus.BUSY)


@dataclass(frozen=True, kw_only=True)
class PlannedMonth:
    """
    One force-month that a batch is to bring in or to replay, and the queue that its task goes to.
    """

    force: str
    month: Month
    queue: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class ClaimedMonth:
    """
    One force-month that a task may work on now.
    """

    batch_id: int
    force: str
    month: Month
    queue: str
    reason: str
    asked_for: dict[str, Any]
    requested_by: str
    planned_at: datetime
    tries: int  # that failed in passing before


@dataclass(frozen=True, kw_only=True)
class WorkersBatch:
    """
    One batch of workers that waits to be planned: what was asked for, and since when.
    """

    id: int
    asked_for: dict[str, Any]
    requested_by: str
    trigger: str
    asked_at: datetime


def find_queued(connection: Connection, batch_id: int) -> WorkersBatch | None:
    """
    Give a batch of workers that has not been planned; None where it has been, or has ended.
    """
    row = connection.execute(
        """
        SELECT id, asked_for, requested_by, trigger, coalesce((asked_for ->> 'asked_at')::timestamptz, started_at)
        FROM ingest_batch WHERE id = %s AND is_distributed AND status = 'queued' AND cancel_asked_at IS NULL
        """,
        [batch_id],
    ).fetchone()
    if row is None:
        return None
    return WorkersBatch(id=row[0], asked_for=row[1], requested_by=row[2], trigger=row[3], asked_at=row[4])


def plan_months(connection: Connection, batch_id: int, months: Sequence[PlannedMonth], *, at: datetime) -> bool:
    """
    Write down what a batch is about, and so begin it; with nothing to do it is over at once.

    Returns:
        Whether it was there to be planned: another task may have done so, or it was cancelled.
    """
    with connection.transaction():
        status = BatchStatus.RUNNING if months else BatchStatus.FINISHED
        begun = connection.execute(
            """
            UPDATE ingest_batch SET status = %(status)s, started_at = %(at)s,
                ended_at = CASE WHEN %(status)s = 'running' THEN NULL ELSE %(at)s::timestamptz END,
                asked_for = asked_for || %(more)s
            WHERE id = %(id)s AND is_distributed AND status = 'queued' AND cancel_asked_at IS NULL
            RETURNING id
            """,
            {"id": batch_id, "status": status, "at": at, "more": Jsonb({"force_months": len(months)})},
        ).fetchone()
        if begun is None:
            return False
        codes = {force: force_code(connection, force) for force in sorted({month.force for month in months})}
        with connection.cursor() as cursor:
            cursor.executemany(
                """
                INSERT INTO batch_month
                    (batch_id, force_code, month, ordinal, queue, reason, planned_at, next_at)
                VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
                """,
                [
                    (batch_id, codes[m.force], m.month.first_day, ordinal, m.queue, m.reason, at, at)
                    for ordinal, m in enumerate(months)
                ],
            )
    return True


def claim_month(
    connection: Connection,
    batch_id: int,
    force: str,
    month: Month,
    *,
    is_delivery: bool = True,
    most_deliveries: int | None = None,
) -> ClaimedMonth | None:
    """
    Begin to work on a force-month, and count the delivery before anything can go wrong.

    Args:
        is_delivery: False where the same delivery is worked on again, after the database was away.
        most_deliveries: Deliveries after which nobody works on it any more; None: any number.

    Returns:
        None where there is nothing to do: it has ended, or its batch has, or was cancelled, or it is spent.
    """
    row = connection.execute(
        """
        UPDATE batch_month AS planned SET deliveries = planned.deliveries + %(delivery)s, sent_at = clock_timestamp()
        FROM ingest_batch AS batch, force
        WHERE batch.id = planned.batch_id AND force.code = planned.force_code
            AND planned.batch_id = %(batch)s AND force.id = %(force)s AND planned.month = %(month)s
            AND planned.ended_at IS NULL AND batch.status = 'running' AND batch.cancel_asked_at IS NULL
            AND planned.deliveries + %(delivery)s <= coalesce(%(most)s::integer, planned.deliveries + 1)
        RETURNING planned.queue, planned.reason, batch.asked_for, batch.requested_by, planned.planned_at, planned.tries
        """,
        {
            "batch": batch_id,
            "force": force,
            "month": month.first_day,
            "delivery": int(is_delivery),
            "most": most_deliveries,
        },
    ).fetchone()
    if row is None:
        return None
    return ClaimedMonth(
        batch_id=batch_id,
        force=force,
        month=month,
        queue=row[0],
        reason=row[1],
        asked_for=row[2],
        requested_by=row[3],
        planned_at=row[4],
        tries=row[5],
    )


def ended_as(connection: Connection, claimed: ClaimedMonth) -> RunStatus | None:
    """
    Tell how a run of a claimed force-month ended in this batch for good; None where none has.

    Its worker was lost between that end and the one of the force-month: nothing is left to do but to settle it.
    """
    row = connection.execute(
        """
        SELECT run.status FROM ingest_run AS run JOIN force ON force.code = run.force_code
        WHERE run.batch_id = %(batch)s AND force.id = %(force)s AND run.month = %(month)s
            AND run.status = ANY(%(settled)s)
        ORDER BY run.id DESC LIMIT 1
        """,
        {**_key(claimed), "settled": list(SETTLED)},
    ).fetchone()
    return RunStatus(row[0]) if row is not None else None


def is_spent(connection: Connection, batch_id: int, force: str, month: Month, *, most_deliveries: int) -> bool:
    """
    Tell whether a force-month was delivered as often as it may be, and has not come to a good end.
    """
    row = connection.execute(
        """
        SELECT FROM batch_month AS planned JOIN force ON force.code = planned.force_code
        WHERE planned.batch_id = %(batch)s AND force.id = %(force)s AND planned.month = %(month)s
            AND planned.deliveries >= %(most)s AND (planned.ended_at IS NULL OR planned.status = 'failed')
        """,
        {"batch": batch_id, "force": force, "month": month.first_day, "most": most_deliveries},
    ).fetchone()
    return row is not None


def settle_month(connection: Connection, claimed: ClaimedMonth, status: RunStatus, *, at: datetime) -> None:
    """
    End a force-month of a batch; one that another task has ended stays as it is.
    """
    connection.execute(
        f"UPDATE batch_month SET status = %(status)s, ended_at = %(at)s WHERE {_THIS_ONE}",  # nosec B608: our words
        {**_key(claimed), "status": status, "at": at},
    )


def leave_month(
    connection: Connection, claimed: ClaimedMonth, status: RunStatus, *, next_at: datetime, is_try: bool
) -> None:
    """
    Leave a force-month to be tried again: it is sent anew once `next_at` has come.

    Args:
        is_try: Whether it counts as a try; being stopped, or kept from asking at all, is none.
    """
    connection.execute(
        f"""
        UPDATE batch_month SET status = %(status)s, next_at = %(next)s, sent_at = NULL, deliveries = 0,
            tries = tries + %(tries)s
        WHERE {_THIS_ONE}
        """,  # nosec B608: made of our own words only
        {**_key(claimed), "status": status, "next": next_at, "tries": int(is_try)},
    )


def close_if_over(connection: Connection, batch_id: int, *, at: datetime) -> BatchStatus | None:
    """
    End a batch none of whose force-months is outstanding. Call it after the end of each was committed.

    Returns:
        How it ended, to the one caller that ended it; None to all others.
    """
    values = {"id": batch_id, "wrong": list(_WENT_WRONG)}
    with connection.transaction():
        if connection.execute(f"{_IF_OVER} FOR UPDATE", values).fetchone() is None:
            return None
        # Looked at once more, now that it is locked: while that was waited for, a force-month may have been taken up
        # again, and of that the first statement sees the batch alone.
        row = connection.execute(_IF_OVER, values).fetchone()
        if row is None:
            return None
        is_cancelled, has_error, went_wrong = row
        status = BatchStatus.FINISHED_WITH_FAILURES if has_error or went_wrong else BatchStatus.FINISHED
        if is_cancelled:
            status = BatchStatus.CANCELLED
        end_batch(connection, batch_id, status, at=at)
    return status


def fail_batch(connection: Connection, batch_id: int, *, kind: str, text: str, at: datetime) -> None:
    """
    End a batch that could not be planned, and note why.
    """
    with connection.transaction():
        connection.execute(
            """
            UPDATE ingest_batch SET asked_for = asked_for || %(more)s
            WHERE id = %(id)s AND is_distributed AND status = 'queued'
            """,
            {"id": batch_id, "more": Jsonb({"error": {"kind": kind, "text": text}})},
        )
        connection.execute(
            """
            UPDATE ingest_batch SET status = 'finished_with_failures', ended_at = %(at)s
            WHERE id = %(id)s AND is_distributed AND status = 'queued'
            """,
            {"id": batch_id, "at": at},
        )


def mark_batch_sent(connection: Connection, batch_id: int, *, at: datetime) -> None:
    """
    Note that workers were told to plan a batch.
    """
    connection.execute("UPDATE ingest_batch SET sent_at = %s WHERE id = %s", [at, batch_id])


def mark_months_sent(
    connection: Connection, batch_id: int, months: Sequence[tuple[str, Month]], *, at: datetime | None
) -> None:
    """
    Note that the tasks of force-months are sent; with None, that they could not be.
    """
    connection.execute(
        """
        UPDATE batch_month AS planned SET sent_at = %(at)s::timestamptz
        FROM force, unnest(%(forces)s::text[], %(months)s::date[]) AS sent (force, month)
        WHERE planned.batch_id = %(batch)s AND force.id = sent.force
            AND planned.force_code = force.code AND planned.month = sent.month AND planned.ended_at IS NULL
        """,
        {
            "batch": batch_id,
            "at": at,
            "forces": [force for force, _ in months],
            "months": [month.first_day for _, month in months],
        },
    )


_IF_OVER = """
    SELECT cancel_asked_at IS NOT NULL, asked_for ? 'error',
        EXISTS (SELECT FROM batch_month WHERE batch_id = %(id)s AND status = ANY(%(wrong)s))
    FROM ingest_batch
    WHERE id = %(id)s AND is_distributed AND status = 'running'
        AND NOT EXISTS (SELECT FROM batch_month WHERE batch_id = %(id)s AND ended_at IS NULL)
"""
_THIS_ONE = """
    batch_id = %(batch)s AND month = %(month)s AND ended_at IS NULL
    AND force_code = (SELECT code FROM force WHERE id = %(force)s)
"""


def _key(claimed: ClaimedMonth) -> dict[str, Any]:
    return {"batch": claimed.batch_id, "force": claimed.force, "month": claimed.month.first_day}
