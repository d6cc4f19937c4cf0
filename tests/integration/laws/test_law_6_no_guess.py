"""
Law 6, no guess: a value that no rule knows is rejected and not coerced; a mended one is counted; nothing is lost.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from builders.archives import sample_month
from builders.ingests import bring_one_in, edition
from builders.standin import make_api_record
from builders.store_state import breaches_of, count_rows
from stopsearch.store.bodies import read_body
from stopsearch.store.database import Database

pytestmark = pytest.mark.integration

POINT = {"latitude": "52.6", "longitude": "-1.1", "street": {"id": 1, "name": "On or near Road"}}
UNKNOWN: dict[str, tuple[dict[str, Any], set[str]]] = {
    "a label in no list": ({"gender": "Male (cis)"}, {"gender_is_known"}),
    "a label in other letters": ({"gender": "male"}, {"gender_is_known"}),
    "a label with a blank": ({"age_range": " 18-24"}, {"age_range_is_known"}),
    "a number for a label": ({"legislation": 23}, {"legislation_is_known"}),
    "a list for a label": ({"object_of_search": ["Controlled drugs"]}, {"object_of_search_is_known"}),
    "an object for a label": ({"outcome": {"id": "bu-arrest"}}, {"outcome_is_known"}),
    "true for an outcome": ({"outcome": True}, {"outcome_is_known"}),
    "false for a label that is no outcome": ({"gender": False}, {"gender_is_known"}),
    "no type": ({"type": None}, {"type_is_given"}),
    "no time": ({"datetime": None}, {"datetime_is_given"}),
    "a time without a zone": ({"datetime": "2023-07-15T12:30:00"}, {"datetime_is_instant"}),
    "a time that no clock shows": ({"datetime": "2023-07-32T12:30:00+00:00"}, {"datetime_is_instant"}),
    "seconds since 1970": ({"datetime": 1_689_424_200}, {"datetime_is_instant"}),
    "a boolean in words": ({"operation": "yes"}, {"operation_is_boolean"}),
    "a boolean in small letters": (
        {"removal_of_more_than_outer_clothing": "true"},
        {"removal_of_more_than_outer_clothing_is_boolean"},
    ),
    "a boolean as a number": (
        {"outcome_linked_to_object_of_search": 1},
        {"outcome_linked_to_object_of_search_is_boolean"},
    ),
    "a location in words": ({"location": "High Street"}, {"latitude_is_number", "longitude_is_number"}),
    "half a location": ({"location": POINT | {"longitude": None}}, {"location_is_whole"}),
    "a coordinate in words": (
        {"location": POINT | {"latitude": "fifty-two"}},
        {"latitude_is_number", "location_is_whole"},
    ),
    "a place outside the country": ({"location": POINT | {"latitude": "12.6"}}, {"latitude_in_uk"}),
    "latitude and longitude exchanged": (
        {"location": POINT | {"latitude": "-1.1", "longitude": "52.6"}},
        {"latitude_in_uk", "longitude_in_uk"},
    ),
    "a NUL in a label": ({"gender": "Ma\0le"}, {"gender_is_known"}),
    "a NUL in free text": ({"operation_name": "Night\0watch"}, {"operation_name_is_text"}),
    "letters beyond ASCII": ({"gender": "Mâle – “x”"}, {"gender_is_known"}),
    "several faults at once": (
        {"gender": "?", "type": "?", "datetime": "?"},
        {"gender_is_known", "type_is_known", "datetime_is_instant"},
    ),
}


@pytest.mark.parametrize("fault", UNKNOWN)
def test_law_6_no_guess_a_value_that_no_rule_knows_is_a_dead_letter(database: Database, fault: str) -> None:
    fields, rules = UNKNOWN[fault]
    bad = json.dumps(make_api_record() | fields, indent=3).encode()  # with blanks that nobody else would write
    body = b"[" + json.dumps(make_api_record()).encode() + b" ,\n " + bad + b"]"

    outcome = bring_one_in(database, edition(body))

    assert (outcome.stored, outcome.rejected, outcome.mended) == (1, 1, {})
    assert outcome.rejected_by_rule == dict.fromkeys(rules, 1)
    with database.connect() as connection:
        [(number, raw, rejections)] = connection.execute(
            "SELECT record_number, raw::text, rejections FROM dead_letter"
        ).fetchall()
    assert number == 2
    assert raw.encode() == bad  # letter for letter
    assert {rejection["rule"] for rejection in rejections} == rules
    assert all(rejection["column"] and rejection["message"] for rejection in rejections)
    assert breaches_of(database) == {}


MENDED: dict[str, tuple[dict[str, Any], dict[str, int], dict[str, Any]]] = {
    "false for an outcome": (
        {"outcome": False},
        {"outcome_false": 1, "old_outcome": 1},
        {"outcome": "A no further action disposal"},
    ),
    "an old outcome": ({"outcome": "Suspect arrested"}, {"old_outcome": 1}, {"outcome": "Arrest"}),
    "an old ethnicity": (
        {"self_defined_ethnicity": "Chinese or other ethnic group - Chinese (O1)"},
        {"old_ethnicity": 1},
        {"self_defined_ethnicity": "Asian/Asian British - Chinese", "self_defined_ethnic_group": "Asian"},
    ),
    "a zeroed location": (
        {"location": POINT | {"latitude": "0.000000", "longitude": "0.000000"}},
        {"zeroed_location": 1},
        {"latitude": None, "longitude": None},
    ),
}


@pytest.mark.parametrize("fault", MENDED)
def test_law_6_no_guess_a_mended_value_is_counted_under_its_rule(database: Database, fault: str) -> None:
    fields, rules, stored = MENDED[fault]

    outcome = bring_one_in(database, edition([make_api_record(), make_api_record() | fields]))

    assert (outcome.stored, outcome.rejected, outcome.mended) == (2, 0, rules)
    with database.connect() as connection:
        kept = connection.execute("SELECT mended FROM revision").fetchone()
        row = connection.execute(f"SELECT {', '.join(stored)} FROM stop_in_words WHERE record_number = 2").fetchone()
    assert kept == (rules,)
    assert row == tuple(stored.values())


@pytest.mark.parametrize("nothing", [None, "", "absent"])
def test_law_6_no_guess_an_outcome_not_given_is_unknown_and_not_nothing_found(database: Database, nothing: Any) -> None:
    record = make_api_record(outcome=nothing)
    if nothing == "absent":
        del record["outcome"], record["outcome_object"]

    outcome = bring_one_in(database, edition([make_api_record(), record]))

    assert (outcome.stored, outcome.mended) == (2, {})
    with database.connect() as connection:
        row = connection.execute("SELECT outcome, outcome_group FROM stop_in_words WHERE record_number = 2").fetchone()
    assert row == (None, None)


def test_law_6_no_guess_keys_that_nobody_knows_are_counted_and_ignored(database: Database) -> None:
    outcome = bring_one_in(database, edition([make_api_record(), make_api_record() | {"mood": "grim"}]))

    assert (outcome.stored, outcome.rejected) == (2, 0)
    with database.connect() as connection:
        [(quality,)] = connection.execute("SELECT quality FROM revision").fetchall()
    assert "mood" in json.dumps(quality)


@pytest.mark.parametrize("shape", ["json", "csv"])
def test_law_6_no_guess_each_stop_leads_back_to_its_published_record(database: Database, shape: str) -> None:
    if shape == "csv":
        published = edition(sample_month("wiltshire", "2019-04"), force="wiltshire", month="2019-04")
    else:
        hours = (3, 9, 1, 7, 5)
        records = [make_api_record(datetime=f"2023-07-15T{hour:02d}:00:00+00:00") for hour in hours]
        published = edition([*records, make_api_record(gender="?")])
    bring_one_in(database, published)

    with database.connect() as connection:
        rows = connection.execute("SELECT record_number, datetime, body_digest FROM stop JOIN revision USING (month)")
        for number, at, digest in rows.fetchall():
            body, _ = read_body(connection, digest)
            assert body == published.body
            text = body.decode().splitlines()[number] if shape == "csv" else json.dumps(json.loads(body)[number - 1])
            assert f"{at:%Y-%m-%dT%H:%M:%S}" in text
    assert count_rows(database, "stop") > 4
