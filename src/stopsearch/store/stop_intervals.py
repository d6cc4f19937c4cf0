"""
One stop by its id: every row that it ever had, with the revisions that brought and withdrew it, and its street.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from psycopg import Connection, sql

from stopsearch.domain.months import Month
from stopsearch.store.server_texts import text_cursor
from stopsearch.store.stop_query import READ_COLUMNS, READ_SQL
from stopsearch.store.stop_words import Row

_INTERVALS = sql.SQL(
    """
    SELECT NULL AS generation, {columns}, stop.force_code, to_char(stop.month, 'YYYY-MM'), stop.first_revision,
        brought.served_from, brought.cause, stop.withdrawn_revision, ended.served_from, ended.cause,
        stop.record_number, stop_street.street_id, stop_street.street_name
    FROM stop
    JOIN revision AS brought ON brought.force_code = stop.force_code AND brought.month = stop.month
        AND brought.number = stop.first_revision
    LEFT JOIN revision AS ended ON ended.force_code = stop.force_code AND ended.month = stop.month
        AND ended.number = stop.withdrawn_revision
    LEFT JOIN stop_street ON stop_street.id = stop.id AND stop_street.first_revision = stop.first_revision
    WHERE stop.id = %(id)s
    ORDER BY stop.first_revision
    """
).format(columns=READ_SQL)


@dataclass(frozen=True, kw_only=True)
class Street:
    """
    A street of the publisher's map, by the stop's point.
    """

    id: int
    name: str


@dataclass(frozen=True, kw_only=True)
class StopInterval:
    """
    One row of a stop: served from one revision of its force-month until, but not with, another.
    """

    row: Row = field(repr=False)  # what `StopWords` writes
    force_code: int
    month: Month
    first_revision: int
    served_from: datetime
    cause: str  # of the first revision
    withdrawn_revision: int | None  # None: it is served still
    served_until: datetime | None
    withdrawn_cause: str | None
    record_number: int  # in the body that the first revision rests on
    street: Street | None


def find_intervals(connection: Connection, stop_id: UUID) -> list[StopInterval]:
    """
    Find the rows of a stop, the first served first; none where no stop has this id.
    """
    with text_cursor(connection) as cursor:
        rows = cursor.execute(_INTERVALS, {"id": stop_id}).fetchall()
    width = len(READ_COLUMNS) + 1
    found = []
    for row in rows:
        code, month, first, served_from, cause, withdrawn, until, until_cause, number, street_id, street = row[width:]
        found.append(
            StopInterval(
                row=row[:width],
                force_code=code,
                month=Month.parse(month),
                first_revision=first,
                served_from=served_from,
                cause=cause,
                withdrawn_revision=withdrawn,
                served_until=until,
                withdrawn_cause=until_cause,
                record_number=number,
                street=Street(id=street_id, name=street) if street_id is not None else None,
            )
        )
    return found
