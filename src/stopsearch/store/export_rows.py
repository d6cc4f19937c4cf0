"""
The rows of an export, one force-month at a time, written by the server itself as CSV or as JSON lines.

Each force-month is one COPY of one range of the ids' index, sorted on its own: the memory of an export does not grow
with its length, neither here nor on the server.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from uuid import UUID

from psycopg import Connection, sql

from stopsearch.domain.stops import BOOLEAN_FIELDS
from stopsearch.domain.vocabulary import VOCABULARY, Label
from stopsearch.store.as_of import ServedRevision

# Written out at once: COPY gives row by row, and a call for each cost more than the row.
_CHUNK_BYTES = 1 << 18

# Cells that begin so are run by spreadsheets (CSV injection, as OWASP lists it).
_FORMULA = r"^[=+\-@\t\r]"

# The publisher's names and words, ids, broad groups, and flags. Nothing in it depends on the machine or on the order
# in which editions arrived, so that one snapshot gives the same bytes anywhere.
COLUMNS: tuple[str, ...] = (
    "id",
    "force",
    "month",
    "type",
    "datetime",
    "local_date",
    "operation",
    "operation_name",
    "latitude",
    "longitude",
    "gender",
    "age_range",
    "self_defined_ethnicity",
    "self_defined_ethnic_group",
    "officer_defined_ethnicity",
    "officer_defined_ethnic_group",
    "legislation",
    "object_of_search",
    "outcome",
    "outcome_group",
    "outcome_linked_to_object_of_search",
    "removal_of_more_than_outer_clothing",
    "is_far_from_force",
    "is_month_doubled",
    "is_month_date_only",
)
REVISION_COLUMNS: tuple[str, ...] = ("revision",)
STREET_COLUMNS: tuple[str, ...] = ("street_id", "street_name")

BOOLEAN_COLUMNS: tuple[str, ...] = (*BOOLEAN_FIELDS, "is_far_from_force", "is_month_doubled", "is_month_date_only")

_GROUPS = {
    "self_defined_ethnic_group": "self_defined_ethnicity",
    "officer_defined_ethnic_group": "officer_defined_ethnicity",
    "outcome_group": "outcome",
}


class RowText(StrEnum):
    """
    How rows are written.
    """

    CSV = "csv"  # for people: a cell that a spreadsheet would run as a formula is defused by an apostrophe
    PLAIN_CSV = "plain_csv"  # for another step of ours: cells as they are
    NDJSON = "ndjson"  # one JSON object a line


def copy_month(
    connection: Connection,
    served: ServedRevision,
    ids: tuple[UUID, UUID],
    *,
    columns: tuple[str, ...],
    text: RowText,
    write: Callable[[bytes], object],
) -> int:
    """
    Write the stops that one revision of one force-month serves, by time and id.

    Args:
        ids: The lowest and the highest id of the force-month.
        columns: Names of `COLUMNS`, `REVISION_COLUMNS` and `STREET_COLUMNS`.

    Returns:
        How many rows were written.
    """
    select = _select(served, ids, columns, text)
    if text is RowText.NDJSON:
        # A JSON text holds no control character, so that with these as delimiter and quote it is written as it is.
        statement = sql.SQL(
            "COPY (SELECT row_to_json(line) FROM ({}) AS line) "
            "TO STDOUT (FORMAT csv, DELIMITER E'\\x01', QUOTE E'\\x02')"
        ).format(select)
    else:
        statement = sql.SQL("COPY ({}) TO STDOUT (FORMAT csv)").format(select)
    waiting = bytearray()
    with connection.cursor() as cursor:
        with cursor.copy(statement) as copy:
            for row in copy:
                waiting += row
                if len(waiting) >= _CHUNK_BYTES:
                    write(bytes(waiting))
                    waiting.clear()
        if waiting:
            write(bytes(waiting))
        return cursor.rowcount


def _select(served: ServedRevision, ids: tuple[UUID, UUID], columns: tuple[str, ...], text: RowText) -> sql.Composed:
    return sql.SQL(
        """
        SELECT {columns} FROM stop {streets}
        WHERE stop.id BETWEEN {low} AND {high} AND stop.force_code = {code}
            AND stop.first_revision <= {number}
            AND (stop.withdrawn_revision IS NULL OR stop.withdrawn_revision > {number})
        ORDER BY stop.datetime, stop.id
        """
    ).format(
        columns=sql.SQL(", ").join(
            sql.SQL("{} AS {}").format(_expression(name, served, text), sql.Identifier(name)) for name in columns
        ),
        streets=_streets(ids) if "street_id" in columns or "street_name" in columns else sql.SQL(""),
        low=sql.Literal(ids[0]),
        high=sql.Literal(ids[1]),
        code=sql.Literal(served.force_code),
        number=sql.Literal(served.number),
    )


def _streets(ids: tuple[UUID, UUID]) -> sql.Composed:
    return sql.SQL(
        """
        LEFT JOIN stop_street ON stop_street.id = stop.id AND stop_street.first_revision = stop.first_revision
            AND stop_street.id BETWEEN {} AND {}
        """
    ).format(sql.Literal(ids[0]), sql.Literal(ids[1]))


def _expression(name: str, served: ServedRevision, text: RowText) -> sql.Composable:
    constants: dict[str, object] = {
        "force": served.force,
        "month": str(served.month),
        "revision": served.number,
        "is_month_doubled": served.is_doubled,
        "is_month_date_only": served.is_date_only,
    }
    if name in constants:
        expression: sql.Composable = sql.Literal(constants[name])
    elif name in VOCABULARY:
        expression = _word(name, lambda label: label.text)
    elif name in _GROUPS:
        expression = _word(_GROUPS[name], lambda label: label.group)
    elif name == "operation_name":
        expression = _operation_name(text)
    elif name == "datetime":
        expression = sql.SQL(_INSTANT)
    elif name in ("latitude", "longitude") and text is not RowText.NDJSON:
        # As the publisher writes them: always with six decimals.
        expression = sql.SQL("round(stop.{}::numeric, 6)").format(sql.Identifier(name))
    elif name in STREET_COLUMNS:
        expression = sql.Identifier("stop_street", name)
    else:
        expression = sql.Identifier("stop", name)
    if name in BOOLEAN_COLUMNS and text is not RowText.NDJSON:
        return sql.SQL("({})::text").format(expression)
    return expression


# As the publisher writes instants: whole seconds, or microseconds where there are any.
_INSTANT = """
    to_char(stop.datetime AT TIME ZONE 'UTC', CASE
        WHEN date_trunc('second', stop.datetime) = stop.datetime THEN 'YYYY-MM-DD"T"HH24:MI:SS"+00:00"'
        ELSE 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'
    END)
"""


def _word(field: str, word: Callable[[Label], str | None]) -> sql.Composed:
    # An array of all words, taken by the code: nine joins to `vocabulary` took twice as long.
    by_code = {label.code: word(label) for label in VOCABULARY[field]}
    words = [by_code.get(code) for code in range(1, max(by_code) + 1)]
    return sql.SQL("({}::text[])[stop.{}]").format(sql.Literal(words), sql.Identifier(f"{field}_code"))


def _operation_name(text: RowText) -> sql.Composable:
    name = sql.SQL(
        """
        CASE WHEN stop.operation_name_code IS NOT NULL THEN (
            SELECT {} FROM operation_name WHERE operation_name.code = stop.operation_name_code
        ) END
        """
    )
    if text is not RowText.CSV:
        return name.format(sql.SQL("operation_name.name"))
    return name.format(
        sql.SQL("CASE WHEN operation_name.name ~ {} THEN '''' ELSE '' END || operation_name.name").format(
            sql.Literal(_FORMULA)
        )
    )
