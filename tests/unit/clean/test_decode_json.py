"""
Answers of the API, whole and broken, become source records.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from builders.source_bodies import api_record, json_body
from stopsearch.clean.decode_json import decode_json
from stopsearch.domain.errors import SourceShapeChanged

pytestmark = pytest.mark.unit


def _row(record: Any, *others: Any) -> dict[str, Any]:
    return decode_json(json_body(record, *others)).frame.row(0, named=True)


def test_reads_a_record_as_the_archive_would_write_it() -> None:
    assert _row(api_record()) == {
        "record_number": 1,
        "type": "Person search",
        "datetime": "2023-07-31T15:37:00+00:00",
        "operation": None,
        "operation_name": None,
        "latitude": "52.645734",
        "longitude": "-1.201507",
        "gender": "Male",
        "age_range": "18-24",
        "self_defined_ethnicity": "White - Irish",
        "officer_defined_ethnicity": "White",
        "legislation": "Misuse of Drugs Act 1971 (section 23)",
        "object_of_search": "Controlled drugs",
        "outcome": "Arrest",
        "outcome_linked_to_object_of_search": "True",
        "removal_of_more_than_outer_clothing": "False",
    }


@pytest.mark.parametrize(
    ("fields", "column", "text"),
    [
        ({"outcome": False}, "outcome", "Nothing found - no further action"),
        ({"outcome": ""}, "outcome", None),
        ({"outcome": None}, "outcome", None),
        ({"gender": ""}, "gender", None),
        ({"gender": 5}, "gender", "5"),
        ({"gender": False}, "gender", "False"),
        ({"gender": ["Male"]}, "gender", '["Male"]'),
        ({"operation": "True"}, "operation", "True"),
        ({"operation": 1}, "operation", "1"),
        ({"datetime": 1690817820}, "datetime", "1690817820"),
        ({"location": None}, "latitude", None),
        ({"location": "Leicester"}, "latitude", "Leicester"),
        ({"location": {"latitude": 52.5, "longitude": "-1.2", "street": None}}, "latitude", "52.5"),
        ({"location": {"latitude": "52.5", "longitude": "-1.2", "street": "High Street"}}, "longitude", "-1.2"),
        ({"location": {"latitude": "52.5"}}, "longitude", None),
    ],
)
def test_a_wrong_type_in_one_record_never_fails_the_month(fields: dict[str, Any], column: str, text: str) -> None:
    source = decode_json(json_body(api_record(**fields), api_record()))
    assert source.frame[column].to_list()[0] == text
    assert source.frame.row(1) == (2, *decode_json(json_body(api_record())).frame.row(0)[1:])


def test_an_absent_outcome_in_one_record_is_not_given() -> None:
    record = api_record()
    del record["outcome"]
    assert _row(record)["outcome"] is None


def test_counts_the_outcomes_that_were_false() -> None:
    source = decode_json(json_body(api_record(outcome=False), api_record(outcome=False), api_record()))
    assert source.mended == {"outcome_false": 2}


def test_counts_and_ignores_keys_that_nobody_knows() -> None:
    source = decode_json(json_body(api_record(officer="4711"), api_record()))
    assert source.extra_keys == {"officer": 1}
    assert source.frame["gender"].to_list() == ["Male", "Male"]


@pytest.mark.parametrize("odd", [None, 7, "a stop", [1, 2], True])
def test_an_element_that_is_no_record_is_named_by_its_number(odd: Any) -> None:
    source = decode_json(json_body(api_record(), odd))
    assert source.unreadable == {2: "not_an_object"}
    assert len(source) == 2
    assert json.loads(source.raw([2])[0]) == odd


_UNREADABLE = [
    rb'"\ud800"',
    b"1e999",
    b'"Caf\xe9"',
    b'"\xe2"',
    b'"\x00"',
    b"9" * 5_000,
    b"[" * 3_000 + b"]" * 3_000,
    b"[" * 900 + b"]" * 900,
    b'{"a":' * 51 + b"1" + b"}" * 51,
]


@pytest.mark.parametrize("value", _UNREADABLE, ids=lambda value: value[:10].hex())
@pytest.mark.parametrize("among", [{}, {"gender": 5}, {"officer": "4711"}])
def test_a_record_that_cannot_be_read_is_named_and_the_rest_goes_on(value: bytes, among: dict[str, Any]) -> None:
    body = json_body(api_record(), api_record(gender="@"), api_record(**among)).replace(b'"@"', value)
    source = decode_json(body)
    assert source.unreadable == {2: "not_readable_json"}
    whole = decode_json(json_body(api_record(), None, api_record(**among)))
    assert source.frame.drop("unreadable_text").equals(whole.frame.drop("unreadable_text"))
    assert source.extra_keys == whole.extra_keys
    written = source.raw([2])[0]
    assert value.decode("utf-8", "backslashreplace") in json.loads(written.encode())
    assert source.frame["unreadable_text"].to_list() == [None, written, None]
    assert json.loads(source.raw([1])[0]) == api_record()


def test_a_number_of_any_length_is_a_wrong_type_and_no_more() -> None:
    body = json_body(api_record(gender="@"), api_record()).replace(b'"@"', b"9" * 400)
    source = decode_json(body)
    assert source.unreadable == {}
    assert source.frame["gender"].to_list() == ["9" * 400, "Male"]


@pytest.mark.parametrize("value", _UNREADABLE, ids=lambda value: value[:10].hex())
def test_what_nobody_reads_may_be_unreadable_or_not_but_never_fails_the_month(value: bytes) -> None:
    body = json_body(api_record(), api_record(officer="@"), api_record()).replace(b'"@"', value)
    source = decode_json(body)
    assert len(source) == 3
    assert set(source.unreadable) <= {2}
    json.loads(json.dumps(source.raw([1, 2, 3])).encode())


def test_an_unreadable_record_stands_between_others_that_look_like_its_end() -> None:
    odd = api_record(gender="@", operation_name='}], [{"a\\')
    source = decode_json(json_body(odd, api_record(), odd).replace(b'"@"', b"1e999"))
    assert source.unreadable == {1: "not_readable_json", 3: "not_readable_json"}
    assert source.frame["gender"].to_list() == [None, "Male", None]


@pytest.mark.parametrize(
    "ending",
    [b"", b"]]", b"] x", b"}", b", ]", b', {"type": "Person]', b", {]", b', {"a": nul}]', b', {"a": "x}, {"b": "y"}]'],
)
def test_a_broken_body_fails_the_month_though_a_record_is_unreadable(ending: bytes) -> None:
    body = json_body(api_record(), api_record(gender="@")).replace(b'"@"', b"1e999").removesuffix(b"]")
    assert len(decode_json(body + b"]")) == 2
    with pytest.raises(SourceShapeChanged, match="not a JSON array"):
        decode_json(body + ending)


def test_gives_a_rejected_record_back_letter_for_letter() -> None:
    raw = json.dumps(api_record(gender="\0"), indent=1)
    body = f"[{json.dumps(api_record())}, {raw}]".encode()
    assert decode_json(body).raw([2]) == [raw]


@pytest.mark.parametrize("key", ["gender", "datetime", "location", "operation_name"])
def test_a_key_that_is_gone_from_every_record_fails_the_month(key: str) -> None:
    records = [api_record(), api_record()]
    for record in records:
        del record[key]
    with pytest.raises(SourceShapeChanged, match=key):
        decode_json(json_body(*records))


def test_an_outcome_that_is_gone_from_a_whole_month_fails_it() -> None:
    record = api_record()
    del record["outcome"]
    with pytest.raises(SourceShapeChanged, match="outcome"):
        decode_json(json_body(*[record] * 20))
    assert len(decode_json(json_body(*[record] * 19))) == 19


@pytest.mark.parametrize("body", [b"", b"{}", b"[", b'[{"type": "Person', b"<html></html>", b"null", b'"[]"', b"\xff"])
def test_a_body_that_is_no_array_fails_the_month(body: bytes) -> None:
    with pytest.raises(SourceShapeChanged, match="not a JSON array"):
        decode_json(body)


def test_no_record_is_no_row() -> None:
    assert len(decode_json(b"[]")) == 0


def test_an_answer_of_2017_without_outcome_object_is_read() -> None:
    record = api_record(outcome=False)
    del record["outcome_object"]
    assert _row(record)["outcome"] == "Nothing found - no further action"


def test_collects_each_street_once_and_leaves_out_what_is_none() -> None:
    place = {"latitude": "52.5", "longitude": "-1.2"}
    source = decode_json(
        json_body(
            api_record(),
            api_record(),
            api_record(location={**place, "street": {"id": "7", "name": "On or near A"}}),
            api_record(location={**place, "street": {"id": 2**31, "name": "On or near B"}}),
            api_record(location={**place, "street": {"id": 8, "name": "On or near C\0"}}),
        )
    )
    assert source.streets.rows() == [(1735297, "On or near Harrison Close", "52.645734", "-1.201507")]
