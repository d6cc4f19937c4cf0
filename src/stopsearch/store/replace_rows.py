"""
How a revision's rows take the place of those of the revision before: only what differs is written.

An id holds the ordinal among exact repeats, so that the difference of two sets of ids is that of two multisets.
"""

from __future__ import annotations

from collections.abc import Iterable

from psycopg import Connection, sql

from stopsearch.store.copy_rows import Column, CopyRows
from stopsearch.store.edition import Edition
from stopsearch.store.releases import Held
from stopsearch.store.stop_rows import COUNT_COLUMNS, STOP_COLUMNS, TOTAL_COLUMNS, StopRows

_VALUES = tuple(c.name for c in STOP_COLUMNS if c.name not in ("id", "first_revision", "record_number"))

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
_CLOSE_ROLLUP = sql.SQL(
    """
    UPDATE {table} SET withdrawn_revision = %(number)s
    WHERE force_code = %(code)s AND month = %(month)s AND withdrawn_revision IS NULL
        AND NOT EXISTS (SELECT FROM {staged} AS staged WHERE ({old}) = ({new}))
    """
)
_ADD_ROLLUP = sql.SQL(
    """
    INSERT INTO {table} ({columns})
    SELECT {columns} FROM {staged} AS staged
    WHERE NOT EXISTS (
        SELECT FROM {table}
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
    Close and add the counts of both rollups that differ, in the same transaction as the rows.
    """
    _replace_rollup(connection, edition, held, table="stop_count", rows=rows.counts, columns=COUNT_COLUMNS)
    _replace_rollup(connection, edition, held, table="stop_total", rows=rows.totals, columns=TOTAL_COLUMNS)


def _replace_rollup(
    connection: Connection, edition: Edition, held: Held, *, table: str, rows: CopyRows, columns: tuple[Column, ...]
) -> None:
    staged = f"staged_{table}"
    names: dict[str, sql.Composable] = {"table": sql.Identifier(table), "staged": sql.Identifier(staged)}
    connection.execute(
        sql.SQL(
            "CREATE TEMP TABLE IF NOT EXISTS {staged} (LIKE {table} INCLUDING DEFAULTS) ON COMMIT DELETE ROWS"
        ).format(**names)
    )
    rows.copy_into(connection, staged)
    parameters = {"code": held.force_code, "month": edition.month.first_day, "number": held.next_number}
    compared = [column.name for column in columns if column.name != "first_revision"]
    names |= {"old": _columns(compared, table), "new": _columns(compared, "staged")}
    names["columns"] = _columns(column.name for column in columns)
    connection.execute(_CLOSE_ROLLUP.format(**names), parameters)
    connection.execute(_ADD_ROLLUP.format(**names), parameters)


def _columns(names: Iterable[str], table: str | None = None) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(table, name) if table else sql.Identifier(name) for name in names)
