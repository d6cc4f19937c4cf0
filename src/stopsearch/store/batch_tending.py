"""
What is to be done about batches of workers that nobody does anything about: to be planned, sent, given up or closed.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg import Connection

from stopsearch.domain.months import Month
from stopsearch.domain.states import RunStatus
from stopsearch.store.batch_months import PlannedMonth
from stopsearch.store.batch_queue import SETTLED
from stopsearch.store.ledger import RunOutcome, finish_run
from stopsearch.store.locks import MONTH_IS_LOCKED


@dataclass(frozen=True, kw_only=True)
class AbandonedMonth:
    """
    One force-month that ended its worker each time it was delivered.
    """

    force: str
    month: Month
    deliveries: int


def unplanned_batches(connection: Connection, *, sent_before: datetime) -> list[int]:
    """
    Give the batches of workers that wait to be planned, and that nobody was told of since an instant.
    """
    rows = connection.execute(
        """
        SELECT id FROM ingest_batch
        WHERE is_distributed AND status = 'queued' AND cancel_asked_at IS NULL
            AND (sent_at IS NULL OR sent_at < %s)
        ORDER BY id
        """,
        [sent_before],
    )
    return [row[0] for row in rows]


def running_batches(connection: Connection) -> list[int]:
    """
    Give the batches that workers run.
    """
    rows = connection.execute("SELECT id FROM ingest_batch WHERE is_distributed AND status = 'running' ORDER BY id")
    return [row[0] for row in rows]


def months_to_send(
    connection: Connection, batch_id: int, *, empty_queues: Collection[str], at: datetime, lost_after: timedelta
) -> list[PlannedMonth]:
    """
    Give the outstanding force-months of a batch whose tasks are to be sent, in the order of the plan.

    Those are the ones never sent, or whose wait is over; and those whose task must have been lost: sent a while ago,
    nothing is left in the queue, and nobody writes the force-month.

    Args:
        empty_queues: Queues that hold no task that waits.
    """
    rows = connection.execute(
        f"""
        SELECT force.id, planned.month, planned.queue, planned.reason
        FROM batch_month AS planned JOIN force ON force.code = planned.force_code
        WHERE planned.batch_id = %(batch)s AND planned.ended_at IS NULL AND planned.next_at <= %(at)s
            AND (
                planned.sent_at IS NULL
                OR (planned.sent_at < %(lost)s AND planned.queue = ANY(%(empty)s) AND NOT {MONTH_IS_LOCKED})
            )
        ORDER BY planned.ordinal
        """,  # nosec B608: made of our own words only
        {"batch": batch_id, "at": at, "lost": at - lost_after, "empty": sorted(empty_queues)},
    )
    return [PlannedMonth(force=row[0], month=Month.of(row[1]), queue=row[2], reason=row[3]) for row in rows]


def abandon_months(connection: Connection, batch_id: int, *, limit: int, at: datetime) -> list[AbandonedMonth]:
    """
    End the force-months that were delivered more often than the broker delivers a task, and that nobody writes.

    Each has ended its worker every time. Its last run says so, and its task lies in the dead queue. One of which a run
    has ended for good is not given up: it only has to be settled.
    """
    rows = connection.execute(
        f"""
        UPDATE batch_month AS planned SET status = 'failed', ended_at = %(at)s
        FROM force
        WHERE force.code = planned.force_code AND planned.batch_id = %(batch)s AND planned.ended_at IS NULL
            AND planned.deliveries > %(limit)s AND NOT {MONTH_IS_LOCKED}
            AND NOT EXISTS (
                SELECT FROM ingest_run AS run
                WHERE run.batch_id = planned.batch_id AND run.force_code = planned.force_code
                    AND run.month = planned.month AND run.status = ANY(%(settled)s)
            )
        RETURNING force.id, planned.month, planned.deliveries
        """,  # nosec B608: made of our own words only
        {"batch": batch_id, "limit": limit, "at": at, "settled": list(SETTLED)},
    ).fetchall()
    for force, first_day, deliveries in rows:
        month = Month.of(first_day)
        text = (
            f"{force} {month} ended its worker {deliveries} times. Look at the memory that workers have, and at "
            "'stopsearch dead-tasks list'; the last revision stays."
        )
        fail_unended_run(connection, batch_id, force, month, kind="worker_lost", text=text, at=at)
    return [AbandonedMonth(force=row[0], month=Month.of(row[1]), deliveries=row[2]) for row in rows]


def reopen_month(connection: Connection, batch_id: int, force: str, month: Month, *, at: datetime) -> bool:
    """
    Take a force-month up again that was abandoned: its batch runs on until it has ended anew.

    Returns:
        Whether it was there, and had ended in failure.
    """
    with connection.transaction():
        row = connection.execute(
            """
            UPDATE batch_month AS planned SET ended_at = NULL, deliveries = 0, tries = 0, next_at = %(at)s,
                sent_at = %(at)s, planned_at = %(at)s
            FROM force
            WHERE force.code = planned.force_code AND planned.batch_id = %(batch)s AND force.id = %(force)s
                AND planned.month = %(month)s AND planned.status = 'failed' AND planned.ended_at IS NOT NULL
            RETURNING planned.batch_id
            """,
            {"batch": batch_id, "force": force, "month": month.first_day, "at": at},
        ).fetchone()
        if row is None:
            return False
        connection.execute(
            """
            UPDATE ingest_batch SET status = 'running', ended_at = NULL, cancel_asked_at = NULL, cancel_asked_by = NULL
            WHERE id = %s
            """,
            [batch_id],
        )
    return True


def fail_unended_run(
    connection: Connection, batch_id: int, force: str, month: Month, *, kind: str, text: str, at: datetime
) -> None:
    """
    End the last run of a force-month in a batch as failed, where it says that it goes on: its task was lost, or cut.
    """
    row = connection.execute(
        """
        SELECT run.id FROM ingest_run AS run JOIN force ON force.code = run.force_code
        WHERE run.batch_id = %s AND force.id = %s AND run.month = %s AND run.status = 'running'
        ORDER BY run.id DESC LIMIT 1
        """,
        [batch_id, force, month.first_day],
    ).fetchone()
    if row is not None:
        outcome = RunOutcome(status=RunStatus.FAILED, error_kind=kind, error_text=text)
        finish_run(connection, row[0], outcome, durations_s={}, at=at)
