"""
The contract parts what it must, names every rule that was broken, and can't be switched off.
"""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from pandera.errors import SchemaErrors

from builders.source_bodies import api_record, csv_body, json_body
from stopsearch.clean.clean_stops import TidyMonth, clean_stops
from stopsearch.clean.decode_csv import decode_csv
from stopsearch.clean.decode_json import decode_json
from stopsearch.clean.identity import identify
from stopsearch.clean.normal_form import normal_form
from stopsearch.clean.source_records import SourceRecords
from stopsearch.domain.errors import MonthRefused
from stopsearch.domain.months import Month
from stopsearch.domain.vocabulary import VOCABULARY
from stopsearch.validate.contract import ALL_RULES
from stopsearch.validate.split import refuse_if_too_many, split

pytestmark = pytest.mark.unit


def _tidy(source: SourceRecords) -> TidyMonth:
    normal = normal_form(source.frame)
    return clean_stops("leicestershire", source, normal, identify("leicestershire", Month(2023, 7), normal))


def _broken(*records: Any) -> list[list[str]]:
    parted = split(_tidy(decode_json(json_body(*records))).frame)
    return [[r.rule for r in parted.rejected.get(n, ())] for n in range(1, len(records) + 1)]


BREAKS: dict[str, dict[str, Any]] = {
    "type_is_given": {"type": None},
    "type_is_known": {"type": "Bag search"},
    "datetime_is_given": {"datetime": None},
    "datetime_is_instant": {"datetime": "2023-07-31T15:37:00"},
    "gender_is_known": {"gender": "male"},
    "age_range_is_known": {"age_range": "10 to 17"},
    "self_defined_ethnicity_is_known": {"self_defined_ethnicity": "White"},
    "officer_defined_ethnicity_is_known": {"officer_defined_ethnicity": "Chinese"},
    "legislation_is_known": {"legislation": "Some Act 2030 (section 1)"},
    "object_of_search_is_known": {"object_of_search": "Spoons"},
    "outcome_is_known": {"outcome": "False"},
    "operation_is_boolean": {"operation": "yes"},
    "outcome_linked_to_object_of_search_is_boolean": {"outcome_linked_to_object_of_search": 1},
    "removal_of_more_than_outer_clothing_is_boolean": {"removal_of_more_than_outer_clothing": "true"},
    "latitude_is_number": {"latitude": "north"},
    "longitude_is_number": {"longitude": "west"},
    "location_is_whole": {"longitude": None},
    "latitude_in_uk": {"latitude": "48.856600"},
    "longitude_in_uk": {"longitude": "2.352200"},
    "operation_name_is_text": {"operation_name": "x" * 201},
}


@pytest.mark.parametrize("rule", [rule.name for rule in ALL_RULES if rule.name != "record_is_readable"])
def test_each_rule_rejects_the_record_that_breaks_it_and_no_other(rule: str) -> None:
    before, broken, after = _broken(api_record(), api_record(**BREAKS[rule]), api_record())
    assert rule in broken
    assert before == after == []


def test_every_broken_rule_of_a_record_is_named() -> None:
    assert _broken(api_record(gender="male", outcome="False", latitude="48.856600")) == [
        ["gender_is_known", "outcome_is_known", "latitude_in_uk"]
    ]


def test_a_record_that_is_none_is_rejected_by_what_is_wrong_with_it() -> None:
    assert _broken(api_record(), None) == [[], ["not_an_object"]]


def test_a_nul_in_free_text_is_rejected_and_never_reaches_the_database() -> None:
    assert _broken(api_record(operation_name="A\0B")) == [["operation_name_is_text"]]


@pytest.mark.parametrize("number", ["NaN", "inf", "-inf", "1e999"])
def test_a_number_that_is_none_is_rejected(number: str) -> None:
    assert _broken(api_record(latitude=number))[0]


@pytest.mark.parametrize(
    "fields",
    [
        *({field: label.text} for field, labels in VOCABULARY.items() for label in labels),
        dict.fromkeys(("gender", "age_range", "legislation", "object_of_search", "outcome", "location")),
        {"datetime": "2031-01-01T00:00:00+00:00"},
        {"location": {"latitude": "0.000000", "longitude": "0.000000", "street": None}},
        {"outcome": False},
        {"self_defined_ethnicity": "Not Stated (NS)"},
        {"operation": True, "operation_name": "Operation Sceptre"},
    ],
)
def test_what_is_known_is_a_stop(fields: dict[str, Any]) -> None:
    assert _broken(api_record(**fields)) == [[]]


def test_every_row_lands_on_exactly_one_side() -> None:
    tidy = _tidy(decode_csv(csv_body(*({"gender": g} for g in ("Male", "?", None, "!", "Female")))))
    parted = split(tidy.frame)
    assert parted.accepted["record_number"].to_list() == [1, 3, 5]
    assert sorted(parted.rejected) == [2, 4]
    assert parted.rejected_by_rule() == {"gender_is_known": 2}


def test_the_environment_cannot_switch_the_contract_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANDERA_VALIDATION_ENABLED", "False")
    from pandera.config import CONFIG

    monkeypatch.setattr(CONFIG, "validation_enabled", False)
    assert _broken(api_record(gender="male")) == [["gender_is_known"]]


def test_a_frame_that_is_not_ours_is_a_fault_of_ours() -> None:
    tidy = _tidy(decode_csv(csv_body({}))).frame
    with pytest.raises(SchemaErrors):
        split(tidy.drop("gender"))
    with pytest.raises(SchemaErrors):
        split(tidy.with_columns(pl.col("latitude").cast(pl.Float32)))


@pytest.mark.parametrize(
    ("received", "rejected", "refused"),
    [(100, 20, False), (100, 21, True), (20, 20, True), (19, 19, False), (1000, 200, False), (0, 0, False)],
)
def test_a_month_is_refused_over_a_share_and_from_a_number_on(received: int, rejected: int, refused: bool) -> None:
    def check() -> None:
        refuse_if_too_many(
            received=received, rejected=rejected, share=0.2, at_least=20, by_rule={"gender_is_known": rejected}
        )

    if refused:
        with pytest.raises(MonthRefused, match="gender_is_known"):
            check()
    else:
        check()
