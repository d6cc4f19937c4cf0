"""
How a revision's rows take the place of those of the revision before: only what differs is written.

An id holds the ordinal among exact repeats, so that the difference of two sets of ids is that of two multisets.
"""

from __future__ import annotations

from psycopg import Connection

from stopsearch.store.edition import Edition
from stopsearch.store.releases import Held
from stopsearch.store.stop_rows import COUNT_COLUMNS, STOP_COLUMNS, StopRows

_VALUES = tuple(c.name for c in STOP_COLUMNS if c.name not in ("id", "first_revision", "record_number"))
_DIMENSIONS = tuple(c.name for c in COUNT_COLUMNS if c.name not in ("first_revision", "stops"))


def replace_rows(
    connection: Connection, edition: Edition, rows: StopRows, held: Held, *, by_value: bool
) -> tuple[int, int]:
    """
    Close and add the stops that differ by identity, and where asked for those that differ by value only.

    Returns:
        How many were added, and how many withdrawn.
    """
    connection.execute(
        "CREATE TEMP TABLE IF NOT EXISTS staged_stop (LIKE stop INCLUDING DEFAULTS) ON COMMIT DELETE ROWS"
    )
    rows.stops.copy_into(connection, "staged_stop")
    same = "staged.id = stop.id"
    if by_value:
        old, new = (", ".join(f"{table}.{name}" for name in _VALUES) for table in ("stop", "staged"))
        same += f" AND ({old}) IS NOT DISTINCT FROM ({new})"
    parameters = {
        "code": held.force_code,
        "month": edition.month.first_day,
        "number": held.next_number,
        "low": edition.id_range[0],
        "high": edition.id_range[1],
    }
    withdrawn = connection.execute(
        f"""
        UPDATE stop SET withdrawn_revision = %(number)s
        WHERE id BETWEEN %(low)s AND %(high)s AND withdrawn_revision IS NULL
            AND NOT EXISTS (SELECT FROM staged_stop AS staged WHERE {same})
        """,  # made of our own column names only
        parameters,
    ).rowcount
    names = ", ".join(column.name for column in STOP_COLUMNS)
    added = connection.execute(
        f"""
        INSERT INTO stop ({names})
        SELECT {names} FROM staged_stop AS staged
        WHERE NOT EXISTS (
            SELECT FROM stop
            WHERE stop.id = staged.id AND stop.withdrawn_revision IS NULL
        )
        ORDER BY staged.datetime, staged.id
        """,
        parameters,
    ).rowcount
    return added, withdrawn


def replace_counts(connection: Connection, edition: Edition, rows: StopRows, held: Held) -> None:
    """
    Close and add the counts that differ, in the same transaction as the rows.
    """
    connection.execute(
        "CREATE TEMP TABLE IF NOT EXISTS staged_count (LIKE stop_count INCLUDING DEFAULTS) ON COMMIT DELETE ROWS"
    )
    rows.counts.copy_into(connection, "staged_count")
    parameters = {"code": held.force_code, "month": edition.month.first_day, "number": held.next_number}
    columns = (*_DIMENSIONS, "stops")
    same = " AND ".join(f"staged.{name} = stop_count.{name}" for name in columns)
    connection.execute(
        f"""
        UPDATE stop_count SET withdrawn_revision = %(number)s
        WHERE force_code = %(code)s AND month = %(month)s AND withdrawn_revision IS NULL
            AND NOT EXISTS (SELECT FROM staged_count AS staged WHERE {same})
        """,
        parameters,
    )
    names = ", ".join(column.name for column in COUNT_COLUMNS)
    connection.execute(
        f"""
        INSERT INTO stop_count ({names})
        SELECT {names} FROM staged_count AS staged
        WHERE NOT EXISTS (
            SELECT FROM stop_count
            WHERE force_code = %(code)s AND month = %(month)s AND withdrawn_revision IS NULL AND {same}
        )
        """,
        parameters,
    )
