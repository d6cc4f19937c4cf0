"""
Quality is told in parts, and whole files are flagged that no rule on rows can find.
"""

from __future__ import annotations

import polars as pl
import pytest

from builders.source_bodies import csv_body
from stopsearch.clean.clean_stops import TidyMonth, clean_stops
from stopsearch.clean.decode_csv import decode_csv
from stopsearch.clean.identity import identify
from stopsearch.clean.normal_form import normal_form
from stopsearch.clean.quality import Quality, is_doubled, measure_quality
from stopsearch.domain.months import Month

pytestmark = pytest.mark.unit


def _measure(
    *stops: dict[str, object], force: str = "leicestershire", month: str = "2020-06"
) -> tuple[Quality, TidyMonth]:
    source = decode_csv(csv_body(*stops))
    normal = normal_form(source.frame)
    identities = identify(force, Month.parse(month), normal)
    tidy = clean_stops(force, source, normal, identities)
    return measure_quality(Month.parse(month), tidy.frame, identities.ordinals, source.extra_keys), tidy


@pytest.mark.parametrize(
    ("sizes", "doubled"),
    [
        ([2] * 10, True),
        ([4] * 5, True),
        ([2] * 9 + [3], False),
        ([1] * 20, False),
        ([2] * 9, False),
        ([6, 2] * 3, True),
    ],
)
def test_a_file_is_doubled_where_every_record_occurs_an_even_number_of_times(sizes: list[int], doubled: bool) -> None:
    assert is_doubled(pl.Series([n for size in sizes for n in range(size)], dtype=pl.UInt32)) is doubled


def test_counts_what_a_reader_should_know() -> None:
    quality, _ = _measure(
        {"datetime": "2020-05-31T23:30:00+00:00", "gender": None},  # 00:30 on 1 June in London
        {"datetime": "2020-06-30T23:30:00+00:00"},  # 1 July in London
        {"datetime": "2020-06-09T23:00:00+00:00", "latitude": "54.847261", "longitude": "-5.727392"},
        {"datetime": "2020-06-09T23:00:00+00:00", "latitude": "54.847261", "longitude": "-5.727392"},
    )
    assert quality.figures["dated_outside_month"] == 1
    assert quality.figures["at_local_midnight"] == 2
    assert quality.figures["repeats"] == 1
    assert quality.figures["far_from_force"] == 2
    assert quality.figures["not_given"]["gender"] == 1
    assert quality.figures["not_given"]["operation_name"] == 4


def test_a_file_of_dates_without_times_is_flagged() -> None:
    dates = [{"datetime": f"2020-06-{day:02d}T23:00:00+00:00"} for day in range(1, 21)]
    assert _measure(*dates)[0].is_date_only
    assert not _measure(*dates[:19], {"datetime": "2020-06-20T12:00:00+00:00"})[0].is_date_only
    assert not _measure(*dates[:9])[0].is_date_only


def test_the_files_month_is_kept_and_the_local_date_stands_beside_it() -> None:
    _, tidy = _measure({"datetime": "2020-05-31T23:30:00+00:00"})
    assert str(tidy.frame["local_date"][0]) == "2020-06-01"
    assert str(tidy.frame["datetime"][0]) == "2020-05-31 23:30:00+00:00"
