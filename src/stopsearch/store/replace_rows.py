"""
How a revision's rows take the place of those of the revision before: only what differs is written.

An id holds the ordinal among exact repeats, so that the difference of two sets of ids is that of two multisets.
"""

from __future__ import annotations

from collections.abc import Iterable

from psycopg import Connection, sql

from stopsearch.store.edition import Edition
from stopsearch.store.releases import Held
from stopsearch.store.stop_rows import COUNT_COLUMNS, STOP_COLUMNS, StopRows

_VALUES = tuple(c.name for c in STOP_COLUMNS if c.name not in ("id", "first_revision", "record_number"))
_COUNTED = tuple(c.name for c in COUNT_COLUMNS if c.name != "first_revision")

_CLOSE_STOPS = sql.SQL(
    """
    UPDATE stop SET withdrawn_revision = %(number)s
    WHERE id BETWEEN %(low)s AND %(high)s AND force_code = %(code)s AND month = %(month)s
        AND withdrawn_revision IS NULL
        AND NOT EXISTS (SELECT FROM staged_stop AS staged WHERE staged.id = stop.id {same_value})
    """
)
_SAME_VALUE = sql.SQL("AND ({old}) IS NOT DISTINCT FROM ({new})")
_ADD_STOPS = sql.SQL(
    """
    INSERT INTO stop ({columns})
    SELECT {columns} FROM staged_stop AS staged
    WHERE NOT EXISTS (SELECT FROM stop WHERE stop.id = staged.id AND stop.withdrawn_revision IS NULL)
    ORDER BY staged.datetime, staged.id
    """
)
_CLOSE_COUNTS = sql.SQL(
    """
    UPDATE stop_count SET withdrawn_revision = %(number)s
    WHERE force_code = %(code)s AND month = %(month)s AND withdrawn_revision IS NULL
        AND NOT EXISTS (SELECT FROM staged_count AS staged WHERE ({old}) = ({new}))
    """
)
_ADD_COUNTS = sql.SQL(
    """
    INSERT INTO stop_count ({columns})
    SELECT {columns} FROM staged_count AS staged
    WHERE NOT EXISTS (
        SELECT FROM stop_count
        WHERE force_code = %(code)s AND month = %(month)s AND withdrawn_revision IS NULL AND ({old}) = ({new})
    )
    """
)


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
    low, high = edition.id_range
    same_value = _SAME_VALUE.format(old=_columns(_VALUES, "stop"), new=_columns(_VALUES, "staged"))
    withdrawn = connection.execute(
        _CLOSE_STOPS.format(same_value=same_value if by_value else sql.SQL("")),
        {
            "number": held.next_number,
            "low": low,
            "high": high,
            "code": held.force_code,
            "month": edition.month.first_day,
        },
    ).rowcount
    added = connection.execute(_ADD_STOPS.format(columns=_columns(c.name for c in STOP_COLUMNS))).rowcount
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
    old, new = _columns(_COUNTED, "stop_count"), _columns(_COUNTED, "staged")
    connection.execute(_CLOSE_COUNTS.format(old=old, new=new), parameters)
    columns = _columns(c.name for c in COUNT_COLUMNS)
    connection.execute(_ADD_COUNTS.format(columns=columns, old=old, new=new), parameters)


def _columns(names: Iterable[str], table: str | None = None) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(table, name) if table else sql.Identifier(name) for name in names)
