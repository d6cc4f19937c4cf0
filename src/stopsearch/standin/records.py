"""
How a row of a published CSV file looks as a record of the publisher's API.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterable
from itertools import repeat
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

# The publisher's id of each outcome; the old names (until about 2017) share the ids of those that replaced them.
OUTCOME_IDS: dict[str, str] = {
    "": "",
    "A no further action disposal": "bu-no-further-action",
    "Arrest": "bu-arrest",
    "Community resolution": "bu-community-resolution",
    "Penalty Notice for Disorder": "bu-penalty-notice",
    "Summons / charged by post": "bu-summons",
    "Caution (simple or conditional)": "bu-caution",
    "Khat or Cannabis warning": "bu-khat-or-cannabis-warning",
    "Nothing found - no further action": "bu-no-further-action",
    "Suspect arrested": "bu-arrest",
    "Local resolution": "bu-community-resolution",
    "Offender given penalty notice": "bu-penalty-notice",
    "Suspect summonsed to court": "bu-summons",
    "Offender cautioned": "bu-caution",
    "Offender given drugs possession warning": "bu-khat-or-cannabis-warning",
}

_BOOLEANS: dict[str, bool | None] = {"True": True, "False": False, "": None}

# A CSV file has no street, so one is made up from the point. These are kinds of names that the API really gives.
_PLACES = ("Parking Area", "Supermarket", "Shopping Area", "Petrol Station", "Nightclub", "Park/Open Space")
_NAMES = ("High", "Station", "Church", "Victoria", "Queen", "King", "Mill", "Regent", "Alfred'S", "Harrison", "Moor")
_KINDS = ("Street", "Road", "Close", "Lane", "Avenue", "Way", "Gardens", "Place", "Drive", "Crescent", "Hill")

T = TypeVar("T")
Text = str | None
# A truth value that is neither True, False nor empty is handed on as the text that it is.
Truth = bool | str | None


class Street(msgspec.Struct):
    """
    The street that a map point lies on or near.
    """

    id: int
    name: str


class Location(msgspec.Struct):
    """
    The anonymised map point of a stop; the coordinates are text, as the publisher sends them.
    """

    latitude: str
    street: Street
    longitude: str


class OutcomeObject(msgspec.Struct):
    """
    The outcome again, with the publisher's id of it; both blank where the force gave none.
    """

    id: str
    name: str


class StopRecord(msgspec.Struct):
    """
    One stop with the publisher's 16 keys, in the order of the recorded answers.

    A key whose column the CSV file lacks is left out of the encoded record.
    """

    age_range: Text | UnsetType
    outcome: str | UnsetType
    involved_person: bool | UnsetType
    self_defined_ethnicity: Text | UnsetType
    gender: Text | UnsetType
    legislation: Text | UnsetType
    outcome_linked_to_object_of_search: Truth | UnsetType
    datetime: str | UnsetType
    removal_of_more_than_outer_clothing: Truth | UnsetType
    outcome_object: OutcomeObject | UnsetType
    location: Location | UnsetType | None
    operation: Truth | UnsetType
    officer_defined_ethnicity: Text | UnsetType
    type: Text | UnsetType
    operation_name: Text | UnsetType
    object_of_search: Text | UnsetType


def read_csv_records(body: bytes, *, order: str) -> list[StopRecord]:
    """
    Convert one published CSV file to the records that the API would give.

    Args:
        body: The file, with its header, CRLF or LF.
        order: Any text; it decides the order. The API's answers are in no order (12 of 12 recorded ones), while
            the CSV files are sorted by time, so the records are shuffled, the same way for the same text.

    Raises:
        ValueError: A row has more or fewer values than the header.
    """
    rows = csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""))
    header = next(rows, [])
    columns = dict(zip(header, zip(*rows, strict=True), strict=False))
    if not columns:
        return []
    length = len(next(iter(columns.values())))
    records = [
        StopRecord(*values)
        for values in zip(
            _texts(columns, "Age range", length),
            _column(columns, "Outcome", length),
            _involved(columns, length),
            _texts(columns, "Self-defined ethnicity", length),
            _texts(columns, "Gender", length),
            _texts(columns, "Legislation", length),
            _truths(columns, "Outcome linked to object of search", length),
            _column(columns, "Date", length),
            _truths(columns, "Removal of more than just outer clothing", length),
            _outcome_objects(columns, length),
            _locations(columns, length),
            _truths(columns, "Part of a policing operation", length),
            _texts(columns, "Officer-defined ethnicity", length),
            _texts(columns, "Type", length),
            _texts(columns, "Policing operation", length),
            _texts(columns, "Object of search", length),
            strict=True,
        )
    ]
    return shuffle(records, order=order)


def shuffle(items: list[T], *, order: str) -> list[T]:
    """
    Put the items in an order that looks like none and is the same on every machine for the same text.
    """
    start = zlib.crc32(order.encode())
    numbers = sorted(range(len(items)), key=lambda n: zlib.crc32(b"%d" % (n * 2_654_435_761), start))
    return [items[n] for n in numbers]


def street_of(latitude: str, longitude: str) -> Street:
    """
    Make up a street for a map point: the same point always has the same one.
    """
    number = zlib.crc32(f"{latitude},{longitude}".encode())
    if number % 4 == 0:
        name = _PLACES[number // 4 % len(_PLACES)]
    else:
        name = f"{_NAMES[number // 4 % len(_NAMES)]} {_KINDS[number // 64 % len(_KINDS)]}"
    return Street(id=number >> 1, name=f"On or near {name}")


def read_json(path: Path) -> bytes:
    """
    Read a stored answer, gzipped or not, as the bytes that the publisher sent.
    """
    body = path.read_bytes()
    return gzip.decompress(body) if path.suffix == ".gz" else body


def _column(columns: dict[str, Any], name: str, length: int) -> Iterable[Any]:
    return columns.get(name) or repeat(UNSET, length)


def _texts(columns: dict[str, Any], name: str, length: int) -> Iterable[Any]:
    return [None if value == "" else value for value in _column(columns, name, length)]


def _truths(columns: dict[str, Any], name: str, length: int) -> Iterable[Any]:
    return [_BOOLEANS.get(value, value) for value in _column(columns, name, length)]


def _involved(columns: dict[str, Any], length: int) -> Iterable[Any]:
    # Documented: true unless the search was of a vehicle alone.
    return [value is UNSET or value != "Vehicle search" for value in _column(columns, "Type", length)]


def _outcome_objects(columns: dict[str, Any], length: int) -> Iterable[Any]:
    known = {name: OutcomeObject(id=id_, name=name) for name, id_ in OUTCOME_IDS.items()}
    for value in _column(columns, "Outcome", length):
        if value is UNSET:
            yield UNSET
            continue
        if value not in known:
            known[value] = OutcomeObject(id="bu-" + "-".join(value.lower().split()), name=value)
        yield known[value]


def _locations(columns: dict[str, Any], length: int) -> Iterable[Any]:
    if "Latitude" not in columns or "Longitude" not in columns:
        yield from repeat(UNSET, length)
        return
    known: dict[tuple[str, str], Location | None] = {("", ""): None}
    for point in zip(columns["Latitude"], columns["Longitude"], strict=True):
        if point not in known:
            known[point] = Location(latitude=point[0], street=street_of(*point), longitude=point[1])
        yield known[point]
