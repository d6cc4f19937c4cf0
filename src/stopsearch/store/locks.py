"""
Advisory locks: one writer per force-month, and one process per batch. They go with the connection that took them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import Connection

from stopsearch.domain.errors import RunAlreadyActive
from stopsearch.domain.months import Month

# Two 32-bit keys: the first tells what is locked, so that nothing else in the same database meets ours by chance.
_MONTH_SPACE = 0x53530000  # the force's code is added
BATCH_SPACE = 0x53538000 - 1
_INSTANT_SPACE = 0x53538000 - 2

# Whether a process holds the lock of `batch.id`, which it does for as long as it lives. The lock is looked at and not
# tried: trying it would take it for a moment, in which a batch that begins could not.
BATCH_IS_ALIVE = f"""EXISTS (
    SELECT FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND objsubid = 2
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND classid::bigint = {BATCH_SPACE} AND objid::bigint = batch.id
)"""  # nosec B608: made of our own number only

# Whether a process writes the force-month of `planned.force_code` and `planned.month`.
MONTH_IS_LOCKED = f"""EXISTS (
    SELECT FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND objsubid = 2
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND classid::bigint = {_MONTH_SPACE} + planned.force_code
        AND objid::bigint = (extract(year FROM planned.month) * 12 + extract(month FROM planned.month) - 1)::bigint
)"""  # nosec B608: made of our own number only


def try_lock_month(connection: Connection, force_code: int, month: Month) -> bool:
    """
    Try to become the one writer of a force-month, until it is unlocked or the connection ends.
    """
    row = connection.execute(
        "SELECT pg_try_advisory_lock(%s::integer, %s::integer)", [_MONTH_SPACE + force_code, month.ordinal]
    ).fetchone()
    return bool(row and row[0])


def unlock_month(connection: Connection, force_code: int, month: Month) -> None:
    """
    Let the next writer of a force-month in.
    """
    connection.execute(
        "SELECT pg_advisory_unlock(%s::integer, %s::integer)", [_MONTH_SPACE + force_code, month.ordinal]
    )


def try_lock_batch(connection: Connection, batch_id: int, *, for_transaction: bool = False) -> bool:
    """
    Try to take a batch's lock, for this connection's life or for this transaction only.
    """
    function = "pg_try_advisory_xact_lock" if for_transaction else "pg_try_advisory_lock"
    row = connection.execute(f"SELECT {function}(%s::integer, %s::integer)", [BATCH_SPACE, batch_id]).fetchone()
    return bool(row and row[0])


@contextmanager
def locked_month(connection: Connection, code: int, month: Month) -> Iterator[None]:
    """
    Be the one writer of a force-month, or leave.

    Raises:
        RunAlreadyActive: Another process is.
    """
    if not try_lock_month(connection, code, month):
        raise RunAlreadyActive(
            f"{month} of this force is being written by another process.", remedy="Try again in a minute."
        )
    try:
        yield
    finally:
        unlock_month(connection, code, month)


def hold_the_instant(connection: Connection) -> None:
    """
    Begin the moment between reading the clock for a revision and committing it, in which no reader reads the clock.

    It ends with the transaction. Writers do not wait for each other.
    """
    connection.execute("SELECT pg_advisory_xact_lock_shared(%s::integer, 0)", [_INSTANT_SPACE])


@contextmanager
def between_commits(connection: Connection) -> Iterator[None]:
    """
    Wait until no writer stands between its revision's instant and its commit, and keep them out meanwhile.

    What a transaction sees that begins to read in here, and the clock, tell the same instant: all that was served
    from before it is seen, and nothing that is served from after it.
    """
    connection.execute("SELECT pg_advisory_lock(%s::integer, 0)", [_INSTANT_SPACE])
    try:
        yield
    finally:
        connection.execute("SELECT pg_advisory_unlock(%s::integer, 0)", [_INSTANT_SPACE])
