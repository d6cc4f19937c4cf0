"""
The rows of an export, some force-months at a time, written by the server itself as lines of text.

A chunk is one statement over consecutive force-months of one force. It names the revision of each, so that it is exact
whatever is committed before, between or after the statements of an export: no transaction spans two of them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import LiteralString
from uuid import UUID

from psycopg import ClientCursor, Connection, sql

from stopsearch.domain.filters import RevisionState, StopFilter
from stopsearch.domain.stop_columns import COLUMNS_BY_NAME, STOP_COLUMNS, STREET_COLUMNS_OF_STOP, ColumnType
from stopsearch.store.as_of import ServedRevision
from stopsearch.store.row_lines import RowText, line_of
from stopsearch.store.stop_conditions import stop_conditions

COLUMNS: tuple[str, ...] = tuple(column.name for column in STOP_COLUMNS)
REVISION_COLUMNS: tuple[str, ...] = ("revision",)
STREET_COLUMNS: tuple[str, ...] = tuple(column.name for column in STREET_COLUMNS_OF_STOP)
BOOLEAN_COLUMNS: tuple[str, ...] = tuple(
    column.name for column in COLUMNS_BY_NAME.values() if column.type is ColumnType.BOOLEAN
)

# Stops of one chunk: so many take some 7 MB as CSV. A larger force-month, the largest has twice that, is one alone.
CHUNK_STOPS = 20_000

# Lines that come as one value, some 150 kB, and bytes that are passed on at once.
_PIECE_LINES = 512
_PIECE_BYTES = 1 << 17

# What a COPY in the binary format begins with, before the first row: a mark and two empty fields.
_COPY_HEAD_BYTES = 19


@dataclass(frozen=True, kw_only=True)
class MonthRows:
    """
    One force-month to be read, by its revision and the lowest and the highest id that a stop of it can have.
    """

    revision: ServedRevision
    low: UUID
    high: UUID


@dataclass(frozen=True, kw_only=True)
class ChunkRows:
    """
    What was read of a chunk: whole lines in pieces, and how many of each of its force-months.
    """

    pieces: list[bytes] = field(repr=False)
    rows: list[int]


def chunks_of(months: Iterable[MonthRows], *, stops: int = CHUNK_STOPS) -> Iterator[list[MonthRows]]:
    """
    Part force-months into chunks: consecutive ones of one force, together up to so many stops, or a single one.
    """
    chunk: list[MonthRows] = []
    held = 0
    for month in months:
        revision = month.revision
        if chunk and (chunk[0].revision.force_code != revision.force_code or held + revision.stored > stops):
            yield chunk
            chunk, held = [], 0
        chunk.append(month)
        held += revision.stored
    if chunk:
        yield chunk


class RowReader:
    """
    Reads chunks with some of the columns, as one kind of text.
    """

    def __init__(self, columns: Sequence[str], text: RowText, asked: StopFilter | None = None) -> None:
        self._line = line_of(columns, text)
        self._asked = asked or StopFilter()
        self._has_streets = any(name in STREET_COLUMNS for name in columns)

    def read(self, connection: Connection, chunk: Sequence[MonthRows]) -> ChunkRows:
        """
        Read one chunk whole, in one statement, by force-month, time and id.

        The connection is free again when this returns, whatever becomes of the rows.
        """
        statement = self.statement(connection, chunk)
        pieces: list[tuple[int, int, bytes]] = []
        rows = [0] * len(chunk)
        with connection.transaction(), connection.cursor() as cursor:
            cursor.execute(_SESSION)
            with cursor.copy(statement) as copy:
                for place, number, count, piece in _values(copy):
                    rows[place - 1] += count
                    pieces.append((place, number, piece))
        pieces.sort(key=_place_and_number)  # cheaper here than a sort of such large values by the server
        return ChunkRows(pieces=_joined([piece for _, _, piece in pieces]), rows=rows)

    def statement(self, connection: Connection, chunk: Sequence[MonthRows]) -> sql.Composed:
        """
        Give the COPY that reads one chunk: rows of a force-month's place, a piece's number, its lines, and their text.
        """
        of_month = [self._line.month_texts(month.revision) for month in chunk]
        columns: list[tuple[str, LiteralString, Sequence[object]]] = [
            ("low", "uuid", [month.low for month in chunk]),
            ("high", "uuid", [month.high for month in chunk]),
            ("number", "smallint", [month.revision.number for month in chunk]),
            ("first_number", "smallint", [month.revision.first_number for month in chunk]),
        ]
        columns += [(name, "text", [texts[place] for texts in of_month]) for place, name in enumerate(self._line.names)]
        return _COPY.format(
            line=self._line.expression,
            names=sql.SQL(", ").join(sql.Identifier(name) for name, _, _ in columns),
            arrays=sql.SQL(", ").join(
                sql.SQL("{}::{}[]").format(sql.Literal(list(values)), sql.SQL(type)) for _, type, values in columns
            ),
            streets=_STREETS if self._has_streets else sql.SQL(""),
            force_code=sql.Literal(chunk[0].revision.force_code),
            state=_STATES[self._asked.revision_state],
            conditions=self._conditions(connection),
            piece=sql.Literal(_PIECE_LINES),
        )

    def _conditions(self, connection: Connection) -> sql.Composable:
        wanted, parameters = stop_conditions(self._asked)
        if self._asked.datetime_from is not None:
            wanted.append(sql.SQL("stop.datetime >= %(datetime_from)s"))
            parameters["datetime_from"] = self._asked.datetime_from
        if self._asked.datetime_before is not None:
            wanted.append(sql.SQL("stop.datetime < %(datetime_before)s"))
            parameters["datetime_before"] = self._asked.datetime_before
        if not wanted:
            return sql.SQL("true")
        # COPY takes no bound values: the driver writes them as literals.
        written = ClientCursor(connection).mogrify(sql.SQL(" AND ").join(wanted), parameters)
        return sql.SQL(written)


_place_and_number = itemgetter(0, 1)


def _joined(pieces: list[bytes]) -> list[bytes]:
    """
    Join pieces of small force-months, which are not worth a write each.
    """
    joined: list[bytes] = []
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= _PIECE_BYTES:
            joined.append(b"".join(waiting))
            waiting, size = [], 0
    if waiting:
        joined.append(b"".join(waiting))
    return joined


def _values(copy: Iterable[bytes | bytearray | memoryview]) -> Iterator[tuple[int, int, int, bytes]]:
    """
    Take the rows of a binary COPY apart, which come one at a time: a force-month's place, a piece's number, how many
    lines it has, and the piece.
    """
    skipped = _COPY_HEAD_BYTES
    for row in copy:
        value = memoryview(row)[skipped:]
        skipped = 0
        if len(value) <= 2:
            continue  # the mark of the end
        _, _, place, _, number, _, count, length = _ROW.unpack_from(value)
        yield place, number, count, bytes(value[_ROW.size : _ROW.size + length])


# The number of fields, then the length and the value of each: three integers, and a text.
_ROW = struct.Struct(">hiiiiiqi")

# What the server or the user's role prefers must not change how values are written; the plan is not worth compiling;
# and one force-month is sorted in memory.
_SESSION = """
    SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO'; SET LOCAL extra_float_digits = 1; SET LOCAL jit = off;
    SET LOCAL work_mem = '64MB'; SET LOCAL max_parallel_workers_per_gather = 0
"""

# Ids begin with their month and force, so that each force-month is one range of their index. By force code and id the
# planner would go through all stops of the force: the code, which two forces of like ids differ by, is told so that no
# index has it.
_COPY = sql.SQL(
    """
    COPY (
        SELECT served.place::integer, part.number::integer, part.stops, part.lines
        FROM unnest({arrays}) WITH ORDINALITY AS served ({names}, place)
        CROSS JOIN LATERAL (
            SELECT (line.number - 1) / {piece} AS number, count(*) AS stops,
                string_agg(line.line, '' ORDER BY line.number) AS lines
            FROM (
                SELECT row_number() OVER (ORDER BY stop.datetime, stop.id) AS number, {line} AS line
                FROM stop {streets}
                WHERE stop.id BETWEEN served.low AND served.high
                    AND stop.force_code IS NOT DISTINCT FROM {force_code}::smallint
                    AND {state} AND {conditions}
            ) AS line
            GROUP BY 1
        ) AS part
    ) TO STDOUT (FORMAT binary)
    """
)

_STREETS = sql.SQL(
    """
    LEFT JOIN stop_street ON stop_street.id = stop.id AND stop_street.first_revision = stop.first_revision
        AND stop_street.id BETWEEN served.low AND served.high
    """
)

_SERVED = """
    stop.first_revision <= served.number
    AND (stop.withdrawn_revision IS NULL OR stop.withdrawn_revision > served.number)
"""
_STATES = {
    RevisionState.SERVED: sql.SQL(_SERVED),
    RevisionState.RESTATED: sql.SQL(f"{_SERVED} AND stop.first_revision > served.first_number"),
    # A stop may go and come back: it is withdrawn where none of its rows is served, and told by the last that was.
    RevisionState.WITHDRAWN: sql.SQL(
        """
        stop.withdrawn_revision <= served.number AND NOT EXISTS (
            SELECT FROM stop AS later WHERE later.id = stop.id
                AND later.first_revision >= stop.withdrawn_revision AND later.first_revision <= served.number
        )
        """
    ),
}
