"""
Rows as frames: the type of each column is told by its name, so that an empty column has it too.

Polars and pandas are imported only where a frame is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas  # type: ignore[import-untyped]  # it brings no types
    import polars

Row = Mapping[str, Any]


class Kind(Enum):
    """
    What the values of a column are.
    """

    TEXT = "text"
    BOOLEAN = "boolean"
    WHOLE = "whole"
    NUMBER = "number"
    INSTANT = "instant"  # in UTC
    DATE = "date"


# The columns of a stop, in the server's order.
STOP_COLUMNS: dict[str, Kind] = {
    "id": Kind.TEXT,
    "force": Kind.TEXT,
    "month": Kind.TEXT,
    "type": Kind.TEXT,
    "datetime": Kind.INSTANT,
    "local_date": Kind.DATE,
    "operation": Kind.BOOLEAN,
    "operation_name": Kind.TEXT,
    "latitude": Kind.NUMBER,
    "longitude": Kind.NUMBER,
    "gender": Kind.TEXT,
    "age_range": Kind.TEXT,
    "self_defined_ethnicity": Kind.TEXT,
    "self_defined_ethnic_group": Kind.TEXT,
    "officer_defined_ethnicity": Kind.TEXT,
    "officer_defined_ethnic_group": Kind.TEXT,
    "legislation": Kind.TEXT,
    "object_of_search": Kind.TEXT,
    "outcome": Kind.TEXT,
    "outcome_group": Kind.TEXT,
    "outcome_linked_to_object_of_search": Kind.BOOLEAN,
    "removal_of_more_than_outer_clothing": Kind.BOOLEAN,
    "is_far_from_force": Kind.BOOLEAN,
    "is_month_doubled": Kind.BOOLEAN,
    "is_month_date_only": Kind.BOOLEAN,
}


def polars_frame(rows: Sequence[Row], columns: Iterable[str] = ()) -> polars.DataFrame:
    """
    Give rows as a Polars frame: of rates, one row a group. What else holds further values is a struct or a list.

    Args:
        columns: Those that it has where there is no row.
    """
    import polars

    types: dict[Kind, Any] = {
        Kind.TEXT: polars.String(),
        Kind.BOOLEAN: polars.Boolean(),
        Kind.WHOLE: polars.Int64(),
        Kind.NUMBER: polars.Float64(),
        Kind.INSTANT: polars.Datetime("us", "UTC"),
        Kind.DATE: polars.Date(),
    }
    read = {}
    for name, kind, values in _columns(rows, columns):
        read[name] = polars.Series(name, values, dtype=types[kind] if kind else None, strict=kind is not Kind.NUMBER)
    return polars.DataFrame(read)


def pandas_frame(rows: Sequence[Row], columns: Iterable[str] = ()) -> pandas.DataFrame:
    """
    Give rows as a pandas frame: booleans and whole numbers of the types that can be missing, instants in UTC, dates as
    instants without a zone.

    Args:
        columns: Those that it has where there is no row.
    """
    import pandas

    types = {
        Kind.TEXT: "str",
        Kind.BOOLEAN: "boolean",
        Kind.WHOLE: "Int64",
        Kind.NUMBER: "float64",
        Kind.INSTANT: "datetime64[us, UTC]",
        Kind.DATE: "datetime64[s]",
    }
    read = {}
    for name, kind, values in _columns(rows, columns):
        read[name] = pandas.Series(values, dtype=types[kind] if kind else "object", name=name)
    return pandas.DataFrame(read)


def _columns(rows: Sequence[Row], columns: Iterable[str]) -> Iterator[tuple[str, Kind | None, list[Any]]]:
    """
    Give each column: its name, its kind (None: its values hold further ones), and its values.
    """
    rows = [tidy for row in rows for tidy in _tidy(row)]
    names = dict.fromkeys(name for row in rows for name in row) if rows else dict.fromkeys(columns)
    for name in names:
        values = [row.get(name) for row in rows]
        kind = _kind_of(name, values)
        yield name, kind, [_READ[kind](value) for value in values] if kind in _READ else values


def _tidy(row: Row) -> list[Row]:
    """
    Give an answer's row as rows of a frame: what is nested in a known way becomes rows and columns.
    """
    if isinstance(row.get("stop"), dict):
        # A change says what became of a stop, and the stop.
        return [{name: value for name, value in row.items() if name != "stop"} | row["stop"]]
    if "group" not in row and isinstance(row.get("groups"), list) and "months_asked" in row:
        # Rates have one object a force; a frame has one row a group, and what is said of the force in each.
        unknown = [row["unknown"]] if isinstance(row.get("unknown"), dict) else []
        shared = {name: row[name] for name in ("force", "months_asked", "months_held", "reference") if name in row}
        return [_interval_columns(shared | group) for group in [*row["groups"], *unknown]]
    return [row]


def _interval_columns(row: Row) -> Row:
    columns: dict[str, Any] = {}
    for name, value in row.items():
        if name in _INTERVALS:
            told = value or {}
            columns |= {name: told.get("value"), f"{name}_low": told.get("low"), f"{name}_high": told.get("high")}
        else:
            columns[name] = value
    return columns


def _kind_of(name: str, values: list[Any]) -> Kind | None:
    met = {type(value) for value in values if value is not None}
    known = _KINDS.get(name)
    if known is not None and met <= _JSON_TYPES[known]:
        return known
    # What is told by its values comes as the narrowest kind that they all are of.
    told = (Kind.BOOLEAN, Kind.WHOLE, Kind.NUMBER, Kind.TEXT) if met else (Kind.TEXT,)
    return next((kind for kind in told if met <= _JSON_TYPES[kind]), None)


_JSON_TYPES: dict[Kind, set[type]] = {
    Kind.TEXT: {str},
    Kind.BOOLEAN: {bool},
    Kind.WHOLE: {int},
    Kind.NUMBER: {int, float},
    Kind.INSTANT: {str},
    Kind.DATE: {str},
}
_READ: dict[Kind | None, Callable[[str | None], Any]] = {
    Kind.INSTANT: lambda text: datetime.fromisoformat(text) if text is not None else None,
    Kind.DATE: lambda text: date.fromisoformat(text) if text is not None else None,
}
_INTERVALS = ("ratio", "find_rate", "linked_share")
_RATES = ("rate", "rate_per_year", "ratio_if_unknowns_reference", "ratio_if_unknowns_group", *_INTERVALS)
_WHOLE = ("stops", "hour", "year", "revision", "received", "stored", "rejected", "added", "withdrawn", "residents")
_KINDS: dict[str, Kind] = {
    **STOP_COLUMNS,
    **dict.fromkeys(("served_from", "served_until", "first_datetime", "last_datetime"), Kind.INSTANT),
    **dict.fromkeys(("published_at", "fetched_at", "listed_at"), Kind.INSTANT),
    **dict.fromkeys(_WHOLE, Kind.WHOLE),
    **dict.fromkeys((*_RATES, *(f"{name}_{end}" for name in _INTERVALS for end in ("low", "high"))), Kind.NUMBER),
}
