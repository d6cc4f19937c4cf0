"""
The ticks of schedules that were taken, each once: a row a tick, and whoever inserts it starts what is due.
"""

from __future__ import annotations

from datetime import datetime

from psycopg import Connection


def store_clock(connection: Connection) -> datetime:
    """
    Give the instant by the database's own clock, the one that all machines share.
    """
    row = connection.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None  # a SELECT without FROM gives a row
    at: datetime = row[0]
    return at


def is_taken(connection: Connection, schedule: str, due_at: datetime, *, at: datetime) -> bool:
    """
    Tell whether a tick was taken, or a later one that has come: then this one is over, whoever moved its hour.

    Args:
        at: Ticks after this instant do not count: a clock may once have been wrong.
    """
    row = connection.execute(
        """
        SELECT EXISTS (
            SELECT FROM schedule_slot
            WHERE schedule = %(schedule)s AND due_at >= %(due)s AND (due_at = %(due)s OR due_at <= %(at)s)
        )
        """,
        {"schedule": schedule, "due": due_at, "at": at},
    ).fetchone()
    return bool(row and row[0])


def take_tick(connection: Connection, schedule: str, due_at: datetime, *, at: datetime) -> bool:
    """
    Take a tick. In one transaction with what it starts, so that neither is there without the other.

    Returns:
        Whether it was free: of all who try at once, one takes it, and the others wait for how that ends.
    """
    taken = connection.execute(
        """
        INSERT INTO schedule_slot (schedule, due_at, taken_at) VALUES (%s, %s, %s)
        ON CONFLICT (schedule, due_at) DO NOTHING
        """,
        [schedule, due_at, at],
    )
    return taken.rowcount == 1


def note_batch(connection: Connection, schedule: str, due_at: datetime, batch_id: int) -> None:
    """
    Note which batch a tick started.
    """
    connection.execute(
        "UPDATE schedule_slot SET batch_id = %s WHERE schedule = %s AND due_at = %s", [batch_id, schedule, due_at]
    )


def unfinished_since(connection: Connection, schedule: str, *, taken_after: datetime) -> int | None:
    """
    Give the batch that a tick of a schedule started after an instant and that has not ended; None where all have.
    """
    row = connection.execute(
        """
        SELECT batch.id
        FROM schedule_slot AS slot JOIN ingest_batch AS batch ON batch.id = slot.batch_id
        WHERE slot.schedule = %s AND slot.taken_at > %s AND batch.status IN ('queued', 'running')
        ORDER BY batch.id DESC LIMIT 1
        """,
        [schedule, taken_after],
    ).fetchone()
    return int(row[0]) if row else None


def first_asked_at(connection: Connection) -> datetime | None:
    """
    Give when the first batch of all was asked for; None where there is none.
    """
    row = connection.execute(
        """
        SELECT coalesce((asked_for ->> 'asked_at')::timestamptz, started_at) FROM ingest_batch ORDER BY id LIMIT 1
        """
    ).fetchone()
    return row[0] if row else None


def drop_ticks(connection: Connection, *, due_before: datetime) -> int:
    """
    Forget the ticks before an instant.

    Returns:
        How many there were.
    """
    return connection.execute("DELETE FROM schedule_slot WHERE due_at < %s", [due_before]).rowcount
