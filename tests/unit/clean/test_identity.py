"""
Identity version 1 is frozen: these ids and digests never change.
"""

from __future__ import annotations

import hashlib
import random
from typing import Any
from uuid import UUID

import pytest

from builders.source_bodies import api_record, csv_body, json_body
from stopsearch.clean.decode_csv import decode_csv
from stopsearch.clean.decode_json import decode_json
from stopsearch.clean.identity import Identities, id_prefix, identify
from stopsearch.clean.normal_form import normal_form
from stopsearch.clean.source_records import SourceRecords
from stopsearch.domain.months import Month
from stopsearch.domain.stops import FIELDS

pytestmark = pytest.mark.unit

_MONTH = Month(2023, 7)
GOLDEN_IDS = [
    UUID("5edabe3e-e9b7-84fa-bea1-c80cfe817b0a"),
    UUID("5edabe3e-2b27-87ce-9a80-255bfde3cf5c"),
    UUID("5edabe3e-07e8-8a76-8be3-1a722d4de312"),
]
GOLDEN_CONTENT = "9ff29acd6517eb6f2e29d864b1cd83bea96680623d40a513b059ca00e71faab5"


def _identify(source: SourceRecords, force: str = "leicestershire", month: Month = _MONTH) -> Identities:
    return identify(force, month, normal_form(source.frame))


def _ids(*records: dict[str, Any]) -> list[UUID]:
    return [UUID(bytes=row.tobytes()) for row in _identify(decode_json(json_body(*records))).ids]


def test_golden_vectors() -> None:
    identities = _identify(decode_json(json_body(api_record(), api_record(), api_record(gender=None, location=None))))
    assert [UUID(bytes=row.tobytes()) for row in identities.ids] == GOLDEN_IDS
    assert identities.content_digest.hex() == GOLDEN_CONTENT
    assert identities.ordinals.to_list() == [0, 1, 0]


def test_an_id_can_be_made_by_anybody_from_its_description() -> None:
    """
    The description in the decision record, followed with nothing but the standard library.
    """
    values = ["leicestershire", "2023-07", "Person search", "2023-07-31T15:37:00.000000Z", "", "", "52.645734"]
    values += ["-1.201507", "Male", "18-24", "White - Irish", "White", "Misuse of Drugs Act 1971 (section 23)"]
    values += ["Controlled drugs", "Arrest", "True", "False", "0"]
    digest = hashlib.sha256("\x1f".join(values).encode()).digest()
    layout = bytearray(
        (2023 * 12 + 6).to_bytes(2, "big") + hashlib.sha256(b"leicestershire").digest()[:2] + digest[:12]
    )
    layout[6] = layout[6] & 0x0F | 0x80
    layout[8] = layout[8] & 0x3F | 0x80
    assert _ids(api_record()) == [UUID(bytes=bytes(layout))]
    assert UUID(bytes=bytes(layout)).version == 8


@pytest.mark.parametrize(
    ("api", "archive"),
    [
        ({"outcome": False}, {"outcome": "Nothing found - no further action"}),
        ({"outcome": ""}, {"outcome": None}),
        ({"outcome": None}, {"outcome": ""}),
        ({"gender": None}, {"gender": ""}),
        ({"operation": False}, {"operation": "False"}),
        ({"location": None}, {"latitude": "", "longitude": ""}),
        ({"latitude": 52.5}, {"latitude": "52.500000"}),
        ({"latitude": "52.5"}, {"latitude": "52.500000"}),
        ({"datetime": "2023-07-31T15:37:00Z"}, {}),
        ({"datetime": "2023-07-31T15:37:00.000000+00:00"}, {}),
        ({"datetime": "2023-07-31T16:37:00+01:00"}, {}),
        ({"datetime": "2023-07-31 15:37+00:00"}, {}),
        ({"datetime": "2023-07-31T15:37:00.187+00:00"}, {"datetime": "2023-07-31T15:37:00.187000+00:00"}),
    ],
)
def test_one_record_has_one_id_in_either_shape(api: dict[str, Any], archive: dict[str, Any]) -> None:
    answer, member = _identify(decode_json(json_body(api_record(**api)))), _identify(decode_csv(csv_body(archive)))
    assert answer.ids.tolist() == member.ids.tolist()
    assert answer.content_digest == member.content_digest


@pytest.mark.parametrize(
    "beside",
    [
        {"involved_person": False},
        {"outcome_object": {"id": "", "name": ""}},
        {"officer": "4711"},
        {
            "location": {
                "latitude": "52.645734",
                "longitude": "-1.201507",
                "street": {"id": 1, "name": "On or near Elsewhere"},
            }
        },
    ],
)
def test_what_is_no_published_field_of_the_archive_stays_outside(beside: dict[str, Any]) -> None:
    assert _ids(api_record(**beside)) == _ids(api_record())


@pytest.mark.parametrize("field", [name for name in FIELDS if name not in ("latitude", "longitude")])
def test_every_field_counts(field: str) -> None:
    other = {"datetime": "2023-07-31T15:37:01+00:00"}.get(field, "something else")
    assert _ids(api_record(**{field: other})) != _ids(api_record())


def test_an_old_label_has_its_own_identity() -> None:
    """
    Identity reads what was published, before any rule that changes meaning, so that no rule can ever change an id.
    """
    assert _ids(api_record(outcome="Suspect arrested")) != _ids(api_record(outcome="Arrest"))


def test_force_and_month_count() -> None:
    source = decode_json(json_body(api_record()))
    ids = {
        _identify(source, force, month).ids.tobytes()
        for force in ("leicestershire", "durham")
        for month in (_MONTH, Month(2023, 8))
    }
    assert len(ids) == 4


def test_the_order_of_records_is_nothing() -> None:
    records = [api_record(gender=gender) for gender in ("Male", "Female", None, "Male", "Male")]
    shuffled = random.Random(1).sample(records, len(records))
    one, other = (_identify(decode_json(json_body(*some))) for some in (records, shuffled))
    assert one.content_digest == other.content_digest
    assert sorted(one.ids.tolist()) == sorted(other.ids.tolist())


def test_a_repeat_more_or_less_is_other_content() -> None:
    once, twice = (_identify(decode_json(json_body(*[api_record()] * count))) for count in (1, 2))
    assert once.content_digest != twice.content_digest
    assert twice.ids[0].tolist() == once.ids[0].tolist()


def test_ids_of_a_force_month_lie_together() -> None:
    prefix = id_prefix("leicestershire", _MONTH)
    assert all(i.bytes[:4] == prefix for i in _ids(api_record(), api_record(gender=None)))


def test_a_value_that_holds_the_separator_passes_for_no_other() -> None:
    """
    Fields are joined by U+001F: one value must never look like two, nor an escape like the thing escaped.
    """
    ids = [
        _ids(api_record(legislation="A\x1fB", object_of_search="C"))[0],
        _ids(api_record(legislation="A", object_of_search="B\x1fC"))[0],
        _ids(api_record(legislation="A\\u001fB", object_of_search="C"))[0],
        _ids(api_record(legislation="A\\\x1fB", object_of_search="C"))[0],
    ]
    assert len(set(ids)) == 4


GOLDEN_UNREADABLE_IDS = [
    UUID("5edabe3e-5bda-887a-9973-42e59d1443b6"),
    UUID("5edabe3e-7532-8d66-a2a0-6204fd8eb655"),
    UUID("5edabe3e-9d09-8f50-b541-18cd6eea4271"),
]
GOLDEN_UNREADABLE_CONTENT = "810e0e1070cbbfc27c69c94df805cbe063455e086ce8fab278699e3fc2ae3369"


def test_golden_vectors_of_unreadable_records() -> None:
    identities = _identify(decode_json(json_body(api_record(), None, [1, "\x1f\\"], None)))
    assert [UUID(bytes=row.tobytes()) for row in identities.ids] == [GOLDEN_IDS[0], *GOLDEN_UNREADABLE_IDS]
    assert identities.content_digest.hex() == GOLDEN_UNREADABLE_CONTENT
    assert identities.ordinals.to_list() == [0, 0, 0, 1]
    parts = ["leicestershire", "2023-07", "unreadable", r'[1, "\\u001f\\\\"]', "0"]
    digest = hashlib.sha256("\x1f".join(parts).encode()).digest()
    assert identities.ids[2].tobytes()[9:] == digest[5:12]


def test_an_unreadable_record_counts_by_its_text() -> None:
    header, line = csv_body({}).splitlines()
    digests = {
        _identify(decode_csv(b"\n".join([header, line, odd]))).content_digest
        for odd in (b"too,few", b"too,many" * 20, b"too\x1ffew", b"too\\u001ffew", b'"', line + b"\xff", b"," * 14)
    }
    assert len(digests) == 7


def test_the_order_of_unreadable_records_is_nothing() -> None:
    one, other = (_identify(decode_json(json_body(*some))) for some in ((1, api_record(), 2), (2, 1, api_record())))
    assert one.content_digest == other.content_digest
    assert sorted(one.ids.tolist()) == sorted(other.ids.tolist())
