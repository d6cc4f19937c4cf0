"""
Read an answer of `/stops-force` into source records; a wrong type in one record never fails the month.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from operator import attrgetter
from types import NoneType
from typing import Any, Literal

import msgspec
import polars as pl

from stopsearch.clean.json_elements import has_json_syntax, split_elements
from stopsearch.clean.json_values import TooDeepError, as_text
from stopsearch.clean.rules.ethnicities import OLD_ETHNICITIES
from stopsearch.clean.rules.outcomes import OLD_OUTCOMES, false_outcome_as_published
from stopsearch.clean.source_records import SOURCE_SCHEMA, SourceRecords, no_streets, with_unreadable
from stopsearch.domain.errors import SourceShapeChanged
from stopsearch.domain.stops import BOOLEAN_FIELDS, FIELDS
from stopsearch.domain.vocabulary import VOCABULARY, labels_of

_ABSENT = msgspec.UNSET
_PLACED = ("latitude", "longitude")
# Keys of the current API that are no field of the archive: derived, or enrichment. They stay outside identity.
_BESIDE = ("involved_person", "outcome_object")
_KEYS = (*(name for name in FIELDS if name not in _PLACED), *_BESIDE, "location")
_KNOWN = frozenset(_KEYS)

# What a value may be that is no object. A union with one struct never fails a decode, whatever comes.
_Odd = str | int | float | bool | list[Any] | None


class _Street(msgspec.Struct, gc=False):
    id: int
    name: str


class _Location(msgspec.Struct, gc=False):
    latitude: str
    longitude: str
    street: _Street


class _AnyStreet(msgspec.Struct, gc=False):
    id: Any = _ABSENT
    name: Any = _ABSENT


class _AnyLocation(msgspec.Struct, gc=False):
    latitude: Any = _ABSENT
    longitude: Any = _ABSENT
    street: _AnyStreet | _Odd = None


class _Unread(msgspec.Struct, gc=False):
    pass  # an object whose keys are passed over without making anything of them


def _record_type(name: str, types: dict[str, Any], location: Any, *, strict: bool) -> type[msgspec.Struct]:
    keys = [(key, types[key], _ABSENT) for key in _KEYS if key not in (*_BESIDE, "location")]
    keys += [(key, _Unread | _Odd, _ABSENT) for key in _BESIDE]
    keys.append(("location", location, _ABSENT))
    return msgspec.defstruct(name, keys, gc=False, forbid_unknown_fields=strict)


def _label_types() -> dict[str, Any]:
    """
    Give the type of each key where every label is a known one: such a label is looked up and never made anew.
    """
    types: dict[str, Any] = dict.fromkeys(FIELDS, str | bool | None)
    old: dict[str, dict[str, str]] = {"outcome": OLD_OUTCOMES, "self_defined_ethnicity": OLD_ETHNICITIES}
    for field in VOCABULARY:
        labels = (*labels_of(field), *old.get(field, ()), "")
        types[field] = Literal[labels] | bool | None
    return types


_Labelled = _record_type("_Labelled", _label_types(), _Location | None, strict=True)
_Expected = _record_type("_Expected", dict.fromkeys(FIELDS, str | bool | None), _Location | None, strict=True)
_Anything = _record_type("_Anything", dict.fromkeys(FIELDS, Any), _AnyLocation | _Odd, strict=False)
_STRUCTS = {_Labelled, _Expected, _Anything}
_MANY = 20
_MAX_STREET_ID = 2**31
_UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, OverflowError, RecursionError)
_NOT_JSON = "not_readable_json"
_Record = Any  # a struct made above, or an odd value in its place

# Each decoder takes more than the one before, and takes longer: what every month of real data looks like comes first.
_decode_labelled = msgspec.json.Decoder(list[_Labelled]).decode  # type: ignore[valid-type]
_decode_expected = msgspec.json.Decoder(list[_Expected]).decode  # type: ignore[valid-type]
_decode_anything = msgspec.json.Decoder(list[_Anything | _Odd]).decode  # type: ignore[valid-type]
_decode_keys = msgspec.json.Decoder(list[dict[str, msgspec.Raw] | _Odd]).decode
_decode_one = msgspec.json.Decoder(_Anything | _Odd).decode
_decode_keys_of_one = msgspec.json.Decoder(dict[str, msgspec.Raw] | _Odd).decode
_decode_raw = msgspec.json.Decoder(list[msgspec.Raw]).decode


def decode_json(body: bytes) -> SourceRecords:
    """
    Read the body of one `/stops-force` answer.

    Returns:
        One row per element of the answer's array, in its order.

    Raises:
        SourceShapeChanged: The body is no JSON array, or a key is absent from every record.
    """
    records, extra_keys, unreadable = _decode(body)
    nothing = _Anything()
    kinds = set(map(type, records))
    is_loose = bool(kinds - {_Labelled, _Expected})
    if kinds - _STRUCTS:
        for place, record in enumerate(records):
            if not isinstance(record, _Anything):
                unreadable.setdefault(place + 1, "not_an_object")
                records[place] = nothing
    _refuse_missing_keys(records, len(records) - len(unreadable))

    frame, falses, too_deep = _as_frame(records, is_loose=is_loose)
    if too_deep:
        for place in too_deep:
            unreadable[place + 1] = _NOT_JSON
            records[place] = nothing
        frame, falses, _ = _as_frame(records, is_loose=is_loose)

    def raw(numbers: Sequence[int]) -> list[str]:
        return _raw(body, unreadable, numbers)

    return SourceRecords(
        frame=with_unreadable(frame, unreadable, raw),
        unreadable=unreadable,
        mended={"outcome_false": falses} if falses else {},
        extra_keys=extra_keys,
        streets=_streets([record.location for record in records]),
        raw=raw,
    )


def _as_frame(records: list[_Record], *, is_loose: bool) -> tuple[pl.DataFrame, int, set[int]]:
    """
    Give the records as columns, how many outcomes were `false`, and the places of records too deep to be written.
    """
    falses = 0
    too_deep: set[int] = set()
    columns: dict[str, pl.Series] = {"record_number": pl.Series(range(1, len(records) + 1), dtype=pl.UInt32)}
    locations = [record.location for record in records]
    is_odd = bool(set(map(type, locations)) - {_Location, _AnyLocation, NoneType, msgspec.UnsetType})
    for name in FIELDS:
        if name in _PLACED:
            part = attrgetter(name)
            if is_odd:  # text or a number where an object is due: it stands for both coordinates, and is rejected
                values = [part(at) if isinstance(at, _AnyLocation) else at for at in locations]
            else:
                values = [part(at) if at else None for at in locations]
        else:
            values = list(map(attrgetter(name), records))
        if name == "outcome":
            values, falses = false_outcome_as_published(values)
        if is_loose and set(map(type, values)) - {str, bool, NoneType}:
            # A type that is not due here, or an absent key. Polars is not asked: it takes minutes for a deep list.
            values = _as_texts(values, too_deep)
            columns[name] = pl.Series(name, values, dtype=pl.String)
        else:
            columns[name] = _text(name, values)
    return pl.DataFrame(columns, schema=SOURCE_SCHEMA), falses, too_deep


def _decode(body: bytes) -> tuple[list[_Record], dict[str, int], dict[int, str]]:
    """
    Give the records, the count of each key that nobody knows, and what can't be read, by its record number.
    """
    for decoder in (_decode_labelled, _decode_expected):
        try:
            return decoder(body), {}, {}
        except _UNDECODABLE:
            continue  # a label, type or key that we don't expect, somewhere: the next decoder takes more
    unreadable: dict[int, str] = {}
    try:
        records, keys = _decode_anything(body), _decode_keys(body)
    except _UNDECODABLE as error:
        elements = split_elements(body)
        if elements is None:
            raise _not_an_array(str(error)) from error
        records, keys = [], []
        for number, element in enumerate(elements, start=1):
            try:
                record, known = _decode_one(element), _decode_keys_of_one(element)
            except _UNDECODABLE as reason:
                if not has_json_syntax(element):
                    raise _not_an_array(str(error)) from reason
                record, known = None, None
                unreadable[number] = _NOT_JSON
            records.append(record)
            keys.append(known)
    extra = Counter(key for record in keys if isinstance(record, dict) for key in record if key not in _KNOWN)
    return records, dict(extra), unreadable


def _not_an_array(reason: str) -> SourceShapeChanged:
    return SourceShapeChanged(
        f"The publisher's answer is not a JSON array of stops ({reason}).",
        remedy="The last revision stays. See what the publisher's API documentation says of a change.",
    )


def _refuse_missing_keys(records: list[_Record], readable: int) -> None:
    if not readable:
        return
    # Answers of 2017 have no outcome_object. An absent `outcome` is a known way to say "not given", so that only a
    # month of some size tells that the key itself is gone.
    wanted = [key for key in _KEYS if key not in _BESIDE and (key != "outcome" or readable >= _MANY)]
    gone = [key for key in wanted if all(getattr(record, key) is _ABSENT for record in records)]
    if gone:
        raise SourceShapeChanged(
            f"No record of the publisher's answer has the key {', '.join(gone)}.",
            remedy="The last revision stays. See what the publisher's API documentation says of a change.",
        )


def _text(name: str, values: list[str | bool | None]) -> pl.Series:
    """
    Write a key's values as the archive would: text as it is, booleans as True and False, no value as null.
    """
    if name in BOOLEAN_FIELDS:
        try:
            flags = pl.Series(name, values, dtype=pl.Boolean, strict=True)
        except (TypeError, ValueError):  # text among them
            return pl.Series(name, list(map(as_text, values)), dtype=pl.String)
        return flags.replace_strict({True: "True", False: "False"}, default=None, return_dtype=pl.String)
    try:
        column = pl.Series(name, values, dtype=pl.String, strict=True)
    except (TypeError, ValueError):  # booleans among them, or an absent key
        column = pl.Series(name, list(map(as_text, values)), dtype=pl.String)
    return column.set(column == "", None)


def _as_texts(values: list[Any], too_deep: set[int]) -> list[str | None]:
    texts: list[str | None] = []
    for place, value in enumerate(values):
        try:
            texts.append(as_text(value))
        except TooDeepError:
            texts.append(None)
            too_deep.add(place)
    return texts


def _streets(locations: list[Any]) -> pl.DataFrame:
    found: dict[int, Any] = {at.street.id: at for at in locations if isinstance(at, _Location)}
    if not found or not 0 < max(found) < _MAX_STREET_ID:
        found = {at.street.id: at for at in locations if _is_street(at)}
    places = found.values()
    columns = {
        "street_id": list(found),
        "name": [at.street.name for at in places],
        "latitude": [at.latitude for at in places],
        "longitude": [at.longitude for at in places],
    }
    return pl.DataFrame(columns, schema=no_streets().schema)


def _is_street(at: object) -> bool:
    """
    Tell whether a location names a street that can be kept: it is enrichment, so one that can't is left out.
    """
    if not isinstance(at, _Location | _AnyLocation) or not isinstance(at.street, _Street | _AnyStreet):
        return False
    texts = (at.street.name, at.latitude, at.longitude)
    has_id = type(at.street.id) is int and 0 < at.street.id < _MAX_STREET_ID
    return has_id and all(isinstance(text, str) and "\0" not in text for text in texts)


def _raw(body: bytes, unreadable: dict[int, str], numbers: Sequence[int]) -> list[str]:
    # A second, shallow pass over the body, made only where something was rejected: 0.3 µs a record.
    try:
        records = [bytes(record) for record in _decode_raw(body)]
    except _UNDECODABLE:
        records = split_elements(body) or []
    return [_as_json(records[number - 1], unreadable.get(number)) for number in numbers]


def _as_json(record: bytes, reason: str | None) -> str:
    """
    Give a record letter for letter where it is JSON, and else as one JSON text that any reader of JSON takes.
    """
    if reason != _NOT_JSON:
        try:
            msgspec.json.decode(record)
            return record.decode()
        except _UNDECODABLE:
            pass  # what we pass over holds something that can't be read
    return json.dumps(record.decode("utf-8", "backslashreplace"), ensure_ascii=False)
