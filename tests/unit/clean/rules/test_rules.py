"""
Each rule mends what it names, counts it, and leaves everything else.
"""

from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl
import pytest

from stopsearch.clean.rules.ethnicities import OLD_ETHNICITIES, mend_old_ethnicity
from stopsearch.clean.rules.outcomes import OLD_OUTCOMES, false_outcome_as_published, mend_old_outcome
from stopsearch.clean.rules.places import far_from_force, read_coordinate, without_zeroed
from stopsearch.clean.rules.times import at_local_midnight, local_dates, read_instants
from stopsearch.domain.vocabulary import VOCABULARY, labels_of

pytestmark = pytest.mark.unit


def test_false_is_told_from_zero_empty_and_text() -> None:
    values = [False, 0, "", None, "False", "Arrest"]
    assert false_outcome_as_published(values) == (
        ["Nothing found - no further action", 0, "", None, "False", "Arrest"],
        1,
    )


def test_old_outcomes_get_their_present_names() -> None:
    column = pl.Series("outcome", [*OLD_OUTCOMES, "Arrest", None, "Local resolution ", "unheard of"])
    mended, count = mend_old_outcome(column)
    assert count == 7
    assert mended.to_list()[:7] == list(OLD_OUTCOMES.values())
    assert mended.to_list()[7:] == ["Arrest", None, "Local resolution ", "unheard of"]


def test_old_ethnicities_get_their_present_labels() -> None:
    column = pl.Series("self_defined_ethnicity", [*OLD_ETHNICITIES, "White - Irish", None, "White British (W1)"])
    mended, count = mend_old_ethnicity(column)
    assert count == 17
    assert mended.to_list()[:17] == list(OLD_ETHNICITIES.values())
    assert mended.to_list()[17:] == ["White - Irish", None, "White British (W1)"]


@pytest.mark.parametrize(
    ("crosswalk", "field"), [(OLD_OUTCOMES, "outcome"), (OLD_ETHNICITIES, "self_defined_ethnicity")]
)
def test_a_crosswalk_leads_from_old_labels_to_known_ones(crosswalk: dict[str, str], field: str) -> None:
    assert set(crosswalk.values()) <= set(labels_of(field))
    assert not set(crosswalk) & set(labels_of(field))


def test_chinese_counts_as_asian_and_not_stated_as_no_group() -> None:
    groups = {label.text: label.group for label in VOCABULARY["self_defined_ethnicity"]}
    assert groups[OLD_ETHNICITIES["Chinese or other ethnic group - Chinese (O1)"]] == "Asian"
    assert groups[OLD_ETHNICITIES["Not Stated (NS)"]] is None


def test_instants_keep_their_microseconds() -> None:
    read = read_instants(pl.Series("datetime", ["2019-01-01T00:15:00.187000Z", "never", None]))
    assert read.to_list() == [datetime(2019, 1, 1, 0, 15, 0, 187000, tzinfo=UTC), None, None]


def test_a_date_in_summer_is_the_day_after_in_london() -> None:
    """
    Dyfed-Powys publishes dates only: in summer they read 23:00 UTC of the day before.
    """
    instants = read_instants(
        pl.Series(
            "datetime", ["2020-06-09T23:00:00.000000Z", "2020-01-10T00:00:00.000000Z", "2020-06-10T00:00:00.000000Z"]
        )
    )
    assert local_dates(instants).to_list() == [date(2020, 6, 10), date(2020, 1, 10), date(2020, 6, 10)]
    assert at_local_midnight(instants).to_list() == [True, True, False]


def test_coordinates_are_read_from_text() -> None:
    assert read_coordinate(pl.Series("latitude", ["52.645734", "-1.2", "north", None])).to_list() == [
        52.645734,
        -1.2,
        None,
        None,
    ]


def test_zero_zero_is_no_location_but_one_zero_is_a_number() -> None:
    latitude, longitude, count = without_zeroed(pl.Series([0.0, 51.5, None]), pl.Series([0.0, 0.0, None]))
    assert (latitude.to_list(), longitude.to_list(), count) == ([None, 51.5, None], [None, 0.0, None], 1)


@pytest.mark.parametrize(
    ("force", "place", "is_far"),
    [
        # One of Kent's 870 rows on points in Northern Ireland.
        ("kent", (54.847261, -5.727392), True),
        ("kent", (51.27, 0.52), False),
        ("btp", (57.4799, -4.2), False),
        ("no-such-force", (57.4799, -4.2), False),
        ("kent", (None, None), None),
        ("btp", (None, None), None),
    ],
)
def test_a_point_over_150_km_off_is_flagged(force: str, place: tuple[float, float], is_far: bool | None) -> None:
    latitude, longitude = (pl.Series([part], dtype=pl.Float64) for part in place)
    assert far_from_force(force, latitude, longitude).to_list() == [is_far]
