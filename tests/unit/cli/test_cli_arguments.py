"""
What is asked for on the command line is checked before anything is opened.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from builders.ingests import settings_for
from stopsearch.cli.arguments import check_output, check_paths, is_untouched, read_published, read_wanted
from stopsearch.cli.commands.export import Format, choose_format, read_instant
from stopsearch.cli.terminal import program
from stopsearch.domain.errors import BadMonth, BadPath, MonthOutOfRange, RequestError, UnknownForce
from stopsearch.domain.months import Month

pytestmark = pytest.mark.unit


def test_forces_come_repeated_or_with_commas(tmp_path: Path) -> None:
    settings = settings_for(data_dir=tmp_path)
    wanted = read_wanted(settings, ["durham, kent", "kent", "btp"], "2023-01", "2023-02")
    assert wanted.forces == ("durham", "kent", "btp")
    assert (wanted.first, wanted.last) == (Month(2023, 1), Month(2023, 2))


def test_forces_of_the_settings_are_meant_only_where_asked_for(tmp_path: Path) -> None:
    settings = settings_for(data_dir=tmp_path, forces="durham,kent")
    assert read_wanted(settings, None, None, None).forces == ()
    assert read_wanted(settings, None, None, None, use_configured=True).forces == ("durham", "kent")
    assert read_wanted(settings, ["btp"], None, None, use_configured=True).forces == ("btp",)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("durhm", "durham"),
        ("Metropolitan", "metropolitan"),
        ("Thames Valley", "thames-valley"),
        ("British Transport Police", "btp"),
        ("west_yorkshire", "west-yorkshire"),
    ],
)
def test_wrong_force_is_told_with_the_close_ones(tmp_path: Path, given: str, meant: str) -> None:
    with pytest.raises(UnknownForce) as caught:
        read_wanted(settings_for(data_dir=tmp_path), [given], None, None)
    assert meant in caught.value.remedy


def test_force_that_nobody_knows_is_for_the_database_to_judge_once_there_is_one(tmp_path: Path) -> None:
    """
    Which forces publish is told by what was listed, so a new one must not be refused by a list of ours.
    """
    settings = settings_for(data_dir=tmp_path)
    assert is_untouched(settings)
    with pytest.raises(UnknownForce):
        read_wanted(settings, ["mid-anglia"], None, None)
    (tmp_path / "postgres").mkdir()
    assert read_wanted(settings, ["mid-anglia"], None, None).forces == ("mid-anglia",)


@pytest.mark.parametrize(
    ("first", "last", "error"),
    [
        ("2024-13", None, BadMonth),
        ("2024-1", None, BadMonth),
        (None, "March", BadMonth),
        ("2024-02", "2024-01", MonthOutOfRange),
        ("2900-01", None, MonthOutOfRange),
        (None, "2009-12", MonthOutOfRange),
    ],
)
def test_month_or_range_that_cannot_be_meant(
    tmp_path: Path, first: str | None, last: str | None, error: type[RequestError]
) -> None:
    (tmp_path / "postgres").mkdir()  # also where there is a database already
    with pytest.raises(error) as caught:
        read_wanted(settings_for(data_dir=tmp_path), None, first, last)
    assert caught.value.remedy


def test_published_is_the_last_second_of_a_day_or_month() -> None:
    assert read_published("2024-02") == datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC)
    assert read_published("2024-02-03") == datetime(2024, 2, 3, 23, 59, 59, tzinfo=UTC)
    assert read_published("2024-02-03T12:00:00+01:00") == datetime(2024, 2, 3, 11, tzinfo=UTC)


@pytest.mark.parametrize("text", ["yesterday", "2024-02-30", "2024-02-03T12:00:00", "2900-01-01", "2024-00"])
def test_published_that_cannot_be_meant(text: str) -> None:
    with pytest.raises(RequestError) as caught:
        read_published(text)
    assert caught.value.remedy


def test_as_of_a_day_is_its_end_and_today_is_now() -> None:
    assert read_instant("2024-02-03") == datetime(2024, 2, 3, 23, 59, 59, 999999, tzinfo=UTC)
    now = datetime.now(UTC)
    assert now <= read_instant(f"{now:%Y-%m-%d}") <= now + timedelta(minutes=1)


@pytest.mark.parametrize("text", ["soon", "2024-02-30", "2024-02-03T12:00:00"])
def test_as_of_that_cannot_be_meant(text: str) -> None:
    with pytest.raises(RequestError) as caught:
        read_instant(text)
    assert caught.value.remedy


def test_path_that_leads_nowhere(tmp_path: Path) -> None:
    check_paths([str(tmp_path), "https://127.0.0.1:9/2024-01.zip"])
    with pytest.raises(BadPath, match=r"nowhere\.zip"):
        check_paths([str(tmp_path), str(tmp_path / "nowhere.zip")])
    with pytest.raises(BadPath):
        check_output(str(tmp_path / "none" / "stops.csv"))
    with pytest.raises(BadPath):
        check_output(str(tmp_path))
    assert check_output("-") is None


def test_format_is_what_was_asked_for_or_what_the_ending_tells() -> None:
    assert choose_format(None, None) is Format.CSV
    assert choose_format(None, Path("stops.Parquet")) is Format.PARQUET
    assert choose_format(None, Path("stops.jsonl")) is Format.NDJSON
    assert choose_format(Format.PARQUET, Path("stops.data")) is Format.PARQUET
    with pytest.raises(RequestError, match="--format csv"):
        choose_format(Format.CSV, Path("stops.parquet"))


def test_hints_can_be_pasted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("UV", "UV_RUN_RECURSION_DEPTH"):
        monkeypatch.delenv(name, raising=False)
    assert program() == "stopsearch"
    monkeypatch.setenv("UV_RUN_RECURSION_DEPTH", "1")
    assert program() == "uv run stopsearch"
