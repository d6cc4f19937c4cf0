"""
One row of an export as a line of text, composed by the server: CSV, JSON or GeoJSON, from one list of columns.

A line is the concatenation of parts, most of them taken from small arrays by a label's code with all that stands around
the word in them. The server then aggregates some hundreds of lines into one value. Against a COPY of single cells
that halves the work of the whole way: the reading side has a handful of values to take instead of every row.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from psycopg import sql

from stopsearch.domain.dimensions import GROUPED_FIELDS
from stopsearch.domain.stop_columns import COLUMNS_BY_NAME, ColumnType
from stopsearch.domain.vocabulary import VOCABULARY
from stopsearch.store.as_of import ServedRevision

# Cells that begin so are run by spreadsheets (CSV injection, as OWASP lists it).
_FORMULA = r"^[=+\-@\t\r]"

# Cells of CSV that have to stand in quotes.
_NEEDS_QUOTES = '[",\\r\\n]'


class RowText(StrEnum):
    """
    How rows are written.
    """

    CSV = "csv"  # for people: a cell that a spreadsheet would run as a formula is defused by an apostrophe
    PLAIN_CSV = "plain_csv"  # for another step of ours: cells as they are
    NDJSON = "ndjson"  # one JSON object a line
    GEOJSON = "geojson"  # one Feature a line, after a comma and a line feed

    @property
    def is_csv(self) -> bool:
        """
        Tell whether it is CSV of some kind.
        """
        return self in (RowText.CSV, RowText.PLAIN_CSV)


@dataclass(frozen=True, kw_only=True)
class Line:
    """
    The line of a row as an expression, and the names of the texts in it that differ by force-month.

    `month_texts` gives these texts for one revision, in the order of `names`; the expression takes them as columns of
    `served`.
    """

    expression: sql.Composed
    names: tuple[str, ...]
    month_texts: Callable[[ServedRevision], tuple[str, ...]]


@dataclass(frozen=True)
class _OfMonth:
    text: Callable[[ServedRevision], str]


@dataclass(frozen=True)
class _Words:
    """
    Texts by the code of a label; the first is for no label.
    """

    field: str
    texts: tuple[str, ...]

    def after(self, text: str) -> _Words:
        return _Words(self.field, tuple(text + word for word in self.texts))

    def before(self, text: str) -> _Words:
        return _Words(self.field, tuple(word + text for word in self.texts))

    def beside(self, other: _Words) -> _Words:
        return _Words(self.field, tuple(map("".join, zip(self.texts, other.texts, strict=True))))


_Part = str | _OfMonth | _Words | sql.Composable


def line_of(columns: Sequence[str], text: RowText) -> Line:
    """
    Give a row as one line of text.

    Args:
        columns: Names of `COLUMNS_BY_NAME`.
    """
    parts = list(_merged(_parts(columns, text)))
    expressions: list[sql.Composable] = []
    of_month: list[list[str | _OfMonth]] = []
    for part in parts:
        if isinstance(part, list):
            expressions.append(sql.Identifier("served", f"text_{len(of_month)}"))
            of_month.append(part)
        elif isinstance(part, str):
            expressions.append(sql.Literal(part))
        elif isinstance(part, _Words):
            expressions.append(_taken_by_code(part))
        else:
            expressions.append(part)

    def month_texts(revision: ServedRevision) -> tuple[str, ...]:
        return tuple(
            "".join(part if isinstance(part, str) else part.text(revision) for part in run) for run in of_month
        )

    return Line(
        expression=sql.SQL("concat({})").format(sql.SQL(", ").join(expressions)),
        names=tuple(f"text_{number}" for number in range(len(of_month))),
        month_texts=month_texts,
    )


def _merged(parts: Iterator[_Part]) -> Iterator[str | _Words | sql.Composable | list[str | _OfMonth]]:
    """
    Join neighbours that are one text: constants, those of a force-month, a label and its group, what stands before it.
    """
    waiting: list[str | _OfMonth] = []
    words: _Words | None = None
    for part in parts:
        if isinstance(part, str) and words is not None and not waiting:
            words = words.before(part)
        elif isinstance(part, str | _OfMonth):
            waiting.append(part)
        elif isinstance(part, _Words) and words is not None and not waiting and words.field == part.field:
            words = words.beside(part)
        else:
            if words is not None:
                yield words
                words = None
            before = "".join(each for each in waiting if isinstance(each, str))
            if isinstance(part, _Words) and all(isinstance(each, str) for each in waiting):
                words = part.after(before)
            else:
                yield from _flushed(waiting)
                if isinstance(part, _Words):
                    words = part
                else:
                    yield part
            waiting = []
    if words is not None:
        yield words
    yield from _flushed(waiting)


def _flushed(waiting: list[str | _OfMonth]) -> Iterator[str | list[str | _OfMonth]]:
    if any(isinstance(each, _OfMonth) for each in waiting):
        yield waiting
    elif waiting:
        yield "".join(each for each in waiting if isinstance(each, str))


def _parts(columns: Sequence[str], text: RowText) -> Iterator[_Part]:
    if text is RowText.GEOJSON:
        yield ',\n{"type":"Feature","id":"'
        yield sql.SQL("stop.id")
        yield '","geometry":'
        yield sql.SQL(_GEOMETRY)
        yield ',"properties":'
    for place, name in enumerate(columns):
        if text.is_csv:
            yield "," if place else ""
        else:
            yield f'{"," if place else "{"}"{name}":'
        yield from _value(name, text)
    yield {RowText.NDJSON: "}\n", RowText.GEOJSON: "}}"}.get(text, "\n")


def _value(name: str, text: RowText) -> Iterator[_Part]:
    type = COLUMNS_BY_NAME[name].type
    if name in _OF_MONTH:
        yield _OfMonth(lambda revision: _written(_OF_MONTH[name](revision), text))
    elif name in VOCABULARY or name in GROUPED_FIELDS:
        field = GROUPED_FIELDS.get(name, name)
        labels = {label.code: label.group if name in GROUPED_FIELDS else label.text for label in VOCABULARY[field]}
        yield _Words(field, tuple(_written(labels.get(code), text) for code in range(max(labels) + 1)))
    elif type is ColumnType.BOOLEAN:
        yield sql.SQL("CASE WHEN stop.{column} THEN 'true' WHEN NOT stop.{column} THEN 'false' ELSE {none} END").format(
            column=sql.Identifier(name), none=sql.Literal(_written(None, text))
        )
    elif name in ("operation_name", "street_name"):
        yield _free_text(name, text)
    elif name in ("latitude", "longitude") and text.is_csv:
        # As the publisher writes them: always with six decimals.
        yield sql.SQL("round(stop.{}::numeric, 6)").format(sql.Identifier(name))
    elif name in ("latitude", "longitude", "street_id"):
        column = sql.Identifier("stop_street" if name == "street_id" else "stop", name)
        yield sql.SQL("coalesce({}::text, {})").format(column, sql.Literal(_written(None, text)))
    else:
        quote = "" if text.is_csv else '"'
        yield quote
        if name == "datetime":
            yield sql.SQL("stop.datetime::date")
            yield "T"
            yield sql.SQL(_TIME_OF_DAY)
            yield "+00:00"
        else:
            yield sql.Identifier("stop", name)
        yield quote


def _written(value: str | int | bool | None, text: RowText) -> str:
    """
    Write a value that is known beforehand. None of those is a formula.
    """
    if not text.is_csv:
        return json.dumps(value, ensure_ascii=False)
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    cell = str(value)
    return '"' + cell.replace('"', '""') + '"' if any(mark in cell for mark in ',"\r\n') else cell


_OF_MONTH: dict[str, Callable[[ServedRevision], str | int | bool]] = {
    "force": lambda revision: revision.force,
    "month": lambda revision: str(revision.month),
    "revision": lambda revision: revision.number,
    "is_month_doubled": lambda revision: revision.is_doubled,
    "is_month_date_only": lambda revision: revision.is_date_only,
}

# As the publisher writes instants: whole seconds, or microseconds where there are any. The session's zone is UTC. For
# whole seconds, which nearly all are, the two casts take a quarter of the time of `to_char`.
_TIME_OF_DAY = """
    CASE WHEN stop.datetime::timestamptz(0) = stop.datetime THEN stop.datetime::time::text
        ELSE to_char(stop.datetime, 'HH24:MI:SS.US') END
"""

_GEOMETRY = """
    CASE WHEN stop.latitude IS NULL THEN 'null'
        ELSE concat('{"type":"Point","coordinates":[', stop.longitude, ',', stop.latitude, ']}') END
"""


def _taken_by_code(words: _Words) -> sql.Composed:
    # An array of all words, taken by the code: nine joins to `vocabulary` took twice as long.
    return sql.SQL("({}::text[])[coalesce(stop.{}, 0) + 1]").format(
        sql.Literal(list(words.texts)), sql.Identifier(f"{words.field}_code")
    )


def _free_text(name: str, text: RowText) -> sql.Composable:
    """
    Give a text that is not known beforehand, in quotes where it needs them.
    """
    column = sql.Identifier("operation_name" if name == "operation_name" else "stop_street", _TEXT_OF[name])
    if text.is_csv:
        cell: sql.Composable = column
        if text is RowText.CSV:
            cell = sql.SQL("CASE WHEN {0} ~ {1} THEN '''' ELSE '' END || {0}").format(column, sql.Literal(_FORMULA))
        written = sql.SQL(
            "CASE WHEN {0} ~ {1} OR {0} = '' THEN '\"' || replace({2}, '\"', '\"\"') || '\"' ELSE {2} END"
        ).format(column, sql.Literal(_NEEDS_QUOTES), cell)
    else:
        written = sql.SQL("to_json({})::text").format(column)
    if name == "operation_name":
        written = sql.SQL(
            """
            CASE WHEN stop.operation_name_code IS NOT NULL THEN (
                SELECT {} FROM operation_name WHERE operation_name.code = stop.operation_name_code
            ) END
            """
        ).format(written)
    return sql.SQL("coalesce({}, {})").format(written, sql.Literal(_written(None, text)))


_TEXT_OF = {"operation_name": "name", "street_name": "street_name"}
