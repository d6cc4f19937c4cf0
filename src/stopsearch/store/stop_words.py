"""
Stops in words: the rows of a page written as JSON, CSV or GeoJSON, under the names and with the values of an export.

Rows come as the server's own texts, and are written column by column: what stands for a label, a force or a flag is
made once for each combination of codes and then looked up. So a page costs a few calls, not a few thousand.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from operator import itemgetter
from typing import Any

import msgspec

from stopsearch.domain.dimensions import GROUPED_FIELDS
from stopsearch.domain.vocabulary import VOCABULARY
from stopsearch.store.export_rows import COLUMNS
from stopsearch.store.snapshots import Snapshot
from stopsearch.store.stop_query import READ_COLUMNS

# A row as read: the generation, then `READ_COLUMNS`. Codes are small numbers and booleans, which are quick to look
# up; all else is the server's own text, most of which is written out as it is.
Row = Sequence[Any]
Columns = Sequence[Sequence[Any]]

# Fields that are written together where they stand side by side, by what they are told from. Each family has few
# enough combinations to be kept.
_FAMILIES: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("force_code", "month"), ("force", "month", "is_month_doubled", "is_month_date_only")),
    (("type_code",), ("type",)),
    (("operation", "operation_name"), ("operation", "operation_name")),
    (
        ("gender_code", "age_range_code", "self_defined_ethnicity_code", "officer_defined_ethnicity_code"),
        (
            "gender",
            "age_range",
            "self_defined_ethnicity",
            "self_defined_ethnic_group",
            "officer_defined_ethnicity",
            "officer_defined_ethnic_group",
        ),
    ),
    (
        (
            "legislation_code",
            "object_of_search_code",
            "outcome_code",
            "outcome_linked_to_object_of_search",
            "removal_of_more_than_outer_clothing",
            "is_far_from_force",
        ),
        (
            "legislation",
            "object_of_search",
            "outcome",
            "outcome_group",
            "outcome_linked_to_object_of_search",
            "removal_of_more_than_outer_clothing",
            "is_far_from_force",
        ),
    ),
)
_READ = {name: place for place, name in enumerate(READ_COLUMNS, start=1)}
_ID, _DATETIME, _LATITUDE, _LONGITUDE = (_READ[name] for name in ("id", "datetime", "latitude", "longitude"))
_KEPT_FRAGMENTS = 20_000
_WHOLE_SECONDS = len('"2024-03-01T12:30:00+00:00"')

# Cells that begin so are run by spreadsheets.
_FORMULA = re.compile(r"[=+\-@\t\r]")


class _Fragments(dict[tuple[Any, ...], str]):
    """
    Texts by a combination of codes, each made when it is first met.
    """

    def __init__(self, make: Callable[[tuple[Any, ...]], str]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key: tuple[Any, ...]) -> str:
        if len(self) >= _KEPT_FRAGMENTS:
            self.clear()
        text = self[key] = self._make(key)
        return text


class StopWords:
    """
    Writes rows of one snapshot, with some of the fields, in the order that is asked for.
    """

    def __init__(self, snapshot: Snapshot, fields: Sequence[str] = COLUMNS) -> None:
        self.fields = tuple(fields)
        self._forces = {each.force_code: each.force for each in snapshot.revisions}
        self._flags = {
            (each.force_code, each.month.first_day.isoformat()): (each.is_doubled, each.is_date_only)
            for each in snapshot.revisions
        }
        self._parts = list(self._json_parts())
        self._cells = [self._cell_maker(name) for name in self.fields]

    def json_rows(self, rows: Sequence[Row]) -> list[str]:
        """
        Give each row as a JSON object.
        """
        if not rows:
            return []
        columns = list(zip(*rows, strict=True))
        return list(map("".join, zip(*(part(columns) for part in self._parts), strict=False)))

    def geojson_rows(self, rows: Sequence[Row]) -> list[str]:
        """
        Give each row as a Feature: a point, or no geometry where no place is known, and the fields as properties.
        """
        return [
            f'{{"type":"Feature","id":"{row[_ID]}","geometry":{_geometry(row)},"properties":{properties}}}'
            for row, properties in zip(rows, self.json_rows(rows), strict=True)
        ]

    def csv_text(self, rows: Sequence[Row]) -> str:
        """
        Give the rows as CSV under a header. A cell that a spreadsheet would run as a formula is defused.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.fields)
        if rows:
            columns = list(zip(*rows, strict=True))
            writer.writerows(zip(*(cells(columns) for cells in self._cells), strict=True))
        return text.getvalue()

    def _json_parts(self) -> Iterator[Callable[[Columns], Iterable[str]]]:
        start = "{"
        at = 0
        while at < len(self.fields):
            name = self.fields[at]
            family = _family(name)
            if family is None:
                yield _constantly(f'{start}"{name}":')
                yield _DIRECT[name]
                at += 1
            else:
                keys, members = family
                together = [name]
                while at + len(together) < len(self.fields) and self.fields[at + len(together)] in members:
                    together.append(self.fields[at + len(together)])
                yield self._coded(keys, tuple(together), start)
                at += len(together)
            start = ","
        yield _constantly("}")

    def _coded(self, keys: tuple[str, ...], names: tuple[str, ...], start: str) -> Callable[[Columns], Iterable[str]]:
        def make(key: tuple[Any, ...]) -> str:
            codes = dict(zip(keys, key, strict=True))
            entries = (f'"{name}":{msgspec.json.encode(self._value(name, codes)).decode()}' for name in names)
            return start + ",".join(entries)

        fragments = _Fragments(make)
        places = [_READ[key] for key in keys]
        return lambda columns: map(fragments.__getitem__, zip(*(columns[place] for place in places), strict=True))

    def _value(self, name: str, codes: dict[str, Any]) -> Any:
        if name in VOCABULARY:
            return _TEXTS[name][codes[f"{name}_code"]]
        if name in GROUPED_FIELDS:
            return _GROUPS[name][codes[f"{GROUPED_FIELDS[name]}_code"]]
        if name == "force":
            return self._forces[codes["force_code"]]
        if name == "month":
            return codes["month"][:7]
        if name not in ("is_month_doubled", "is_month_date_only"):
            return codes[name]
        is_doubled, is_date_only = self._flags[codes["force_code"], codes["month"]]
        return is_doubled if name == "is_month_doubled" else is_date_only

    def _cell_maker(self, name: str) -> Callable[[Columns], Iterable[str]]:
        family = _family(name)
        if family is None:
            return _CELLS[name]
        keys = family[0]

        def make(key: tuple[Any, ...]) -> str:
            value = self._value(name, dict(zip(keys, key, strict=True)))
            if value is None:
                return ""
            if isinstance(value, bool):
                return "true" if value else "false"
            return f"'{value}" if _FORMULA.match(value) else str(value)

        fragments = _Fragments(make)
        places = [_READ[key] for key in keys]
        return lambda columns: map(fragments.__getitem__, zip(*(columns[place] for place in places), strict=True))


_TEXTS: dict[str, dict[int | None, str | None]] = {
    name: {None: None, **{label.code: label.text for label in labels}} for name, labels in VOCABULARY.items()
}
_GROUPS: dict[str, dict[int | None, str | None]] = {
    name: {None: None, **{label.code: label.group for label in VOCABULARY[of]}} for name, of in GROUPED_FIELDS.items()
}


def _family(name: str) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    return next((family for family in _FAMILIES if name in family[1]), None)


def _constantly(text: str) -> Callable[[Columns], Iterable[str]]:
    return lambda _: repeat(text)


def _quoted(name: str) -> Callable[[Columns], Iterable[str]]:
    place = _READ[name]
    return lambda columns: [f'"{value}"' for value in columns[place]]


def _number(name: str) -> Callable[[Columns], Iterable[str]]:
    place = _READ[name]
    return lambda columns: [value or "null" for value in columns[place]]


def _instants(columns: Columns) -> Iterable[str]:
    texts = [value or "" for value in columns[_DATETIME]]
    if max(map(len, texts)) > _WHOLE_SECONDS:
        return [_with_microseconds(text) for text in texts]
    return texts


def _with_microseconds(text: str) -> str:
    # The server leaves out the last zeros of a fraction; the publisher and the exports write six digits.
    head, point, tail = text.partition(".")
    return f'{head}.{tail.partition("+")[0]:0<6}+00:00"' if point else text


def _geometry(row: Row) -> str:
    if row[_LATITUDE] is None:
        return "null"
    return f'{{"type":"Point","coordinates":[{row[_LONGITUDE]},{row[_LATITUDE]}]}}'


def _plain(name: str) -> Callable[[Columns], Iterable[str]]:
    place = _READ[name]
    return lambda columns: [value or "" for value in columns[place]]


def _six_decimals(name: str) -> Callable[[Columns], Iterable[str]]:
    place = _READ[name]
    # As the publisher writes them, and the exports.
    return lambda columns: ["" if value is None else f"{float(value):.6f}" for value in columns[place]]


_DIRECT: dict[str, Callable[[Columns], Iterable[str]]] = {
    "id": _quoted("id"),
    "datetime": _instants,
    "local_date": _quoted("local_date"),
    "latitude": _number("latitude"),
    "longitude": _number("longitude"),
}
_CELLS: dict[str, Callable[[Columns], Iterable[str]]] = {
    "id": _plain("id"),
    "datetime": lambda columns: [text[1:-1] for text in _instants(columns)],
    "local_date": _plain("local_date"),
    "latitude": _six_decimals("latitude"),
    "longitude": _six_decimals("longitude"),
}

# Where a page ends, of its last row.
position_texts = itemgetter(_DATETIME, _ID)
