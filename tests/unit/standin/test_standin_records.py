"""
A row of a published file as the API's record: each kind of value, and what is made up.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from builders.standin import CSV_KEYS, make_api_record, make_csv
from stopsearch.standin.records import read_csv_records, shuffle, street_of

pytestmark = pytest.mark.unit


def read(body: bytes) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = json.loads(msgspec.json.encode(read_csv_records(body, order="")))
    return records


def read_one(**fields: Any) -> dict[str, Any]:
    (record,) = read(make_csv([make_api_record(**fields)]))
    return record


def test_a_record_keeps_all_that_a_file_can_hold() -> None:
    record = make_api_record()
    record["location"]["street"] = read_one()["location"]["street"]
    assert read_one() == record
    assert list(read_one()) == list(record)


def test_empty_values_are_null_but_an_empty_outcome_is_blank() -> None:
    nothing = dict.fromkeys(
        ["age_range", "gender", "self_defined_ethnicity", "officer_defined_ethnicity", "legislation"]
    )
    record = read_one(**nothing, object_of_search=None, operation=None, location=None, outcome=None)
    assert {key: record[key] for key in nothing} == nothing
    assert record["location"] is None
    assert record["operation"] is None
    assert record["outcome"] == ""
    assert record["outcome_object"] == {"id": "", "name": ""}


@pytest.mark.parametrize(
    ("kind", "involved"),
    [("Person search", True), ("Person and Vehicle search", True), ("Vehicle search", False)],
)
def test_a_person_is_involved_unless_only_a_vehicle_was_searched(kind: str, involved: bool) -> None:
    assert read_one(type=kind)["involved_person"] is involved


@pytest.mark.parametrize(
    ("outcome", "id_"),
    [
        ("Arrest", "bu-arrest"),
        ("Suspect arrested", "bu-arrest"),
        ("Penalty Notice for Disorder", "bu-penalty-notice"),
        ("Something new", "bu-something-new"),
    ],
)
def test_outcomes_are_handed_on_as_published_with_an_id(outcome: str, id_: str) -> None:
    record = read_one(outcome=outcome)
    assert record["outcome"] == outcome
    assert record["outcome_object"] == {"id": id_, "name": outcome}


def test_old_labels_and_microseconds_are_handed_on_as_published() -> None:
    record = read_one(self_defined_ethnicity="White - White British (W1)", datetime="2019-03-01T10:00:00.187000+00:00")
    assert record["self_defined_ethnicity"] == "White - White British (W1)"
    assert record["datetime"] == "2019-03-01T10:00:00.187000+00:00"


def test_line_ends_do_not_matter() -> None:
    records = [make_api_record(), make_api_record(gender="Female")]
    assert read(make_csv(records, newline="\n")) == read(make_csv(records, newline="\r\n"))


def test_a_column_that_the_file_lacks_is_a_key_that_the_record_lacks() -> None:
    lines = make_csv([make_api_record()]).decode().splitlines()
    at = list(CSV_KEYS).index("Gender")
    cut = "\n".join(",".join(v for n, v in enumerate(line.split(",")) if n != at) for line in lines)
    (record,) = read(cut.encode())
    assert "gender" not in record
    assert len(record) == 15


def test_a_file_with_no_row_holds_no_record() -> None:
    assert read(make_csv([])) == []


def test_a_point_has_one_street_for_ever() -> None:
    """
    The ids go into tests of other rooms, so they are frozen.
    """
    street = street_of("52.629729", "-1.131592")
    assert (street.id, street.name) == (street_of("52.629729", "-1.131592").id, street.name)
    assert street.id != street_of("52.629730", "-1.131592").id
    assert street.name.startswith("On or near ")


def test_shuffling_keeps_all_and_depends_on_its_text_alone() -> None:
    items = list(range(500))
    assert sorted(shuffle(items, order="a")) == items
    assert shuffle(items, order="a") == shuffle(items, order="a")
    assert shuffle(items, order="a") != shuffle(items, order="b")
    assert sum(later < earlier for earlier, later in zip(items, shuffle(items, order="a"), strict=True)) > 150
