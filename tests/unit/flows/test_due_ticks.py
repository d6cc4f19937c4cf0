"""
The latest tick of each schedule, by the clock and the settings.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from builders.ingests import settings_for
from stopsearch.flows.due_ticks import Schedule, latest_ticks

HOURS = {"poll_hour": 2, "recheck_day": "sunday", "recheck_hour": 4, "replay_hour": 5, "housekeeping_hour": 6}


def ticks_at(now: datetime, **changes: object) -> dict[str, str]:
    settings = settings_for(**{**HOURS, **changes})
    return {str(tick.schedule): f"{tick.due_at:%Y-%m-%d %H:%M:%S.%f %Z}" for tick in latest_ticks(settings, now)}


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "daily", "recheck"),
    [
        # 2026-03-01 is a Sunday.
        ("2026-03-04T12:00", "2026-03-04", "2026-03-01"),
        ("2026-03-04T02:00", "2026-03-04", "2026-03-01"),  # the instant itself is due
        ("2026-03-04T01:59:59.999999", "2026-03-03", "2026-03-01"),
        ("2026-03-04T00:00", "2026-03-03", "2026-03-01"),  # midnight is before the hour
        (
            "2026-03-01T03:59",
            "2026-03-01",
            "2026-02-22",
        ),  # on the day, before its hour: last week's, over a month's end
        ("2026-03-01T04:00", "2026-03-01", "2026-03-01"),
        ("2026-02-28T23:59", "2026-02-28", "2026-02-22"),  # the last day of the week
        ("2026-01-01T01:00", "2025-12-31", "2025-12-28"),  # over the year's end
        ("2024-03-01T01:00", "2024-02-29", "2024-02-25"),  # over a leap day
    ],
)
def test_the_latest_tick_is_the_last_one_that_has_come(now: str, daily: str, recheck: str) -> None:
    ticks = ticks_at(at(now))

    assert ticks["daily"] == f"{daily} 02:00:00.000000 UTC"
    assert ticks["recheck"] == f"{recheck} 04:00:00.000000 UTC"


def test_every_schedule_has_an_hour_of_its_own() -> None:
    assert ticks_at(at("2026-03-04T05:30")) == {
        "daily": "2026-03-04 02:00:00.000000 UTC",
        "recheck": "2026-03-01 04:00:00.000000 UTC",
        "replay": "2026-03-04 05:00:00.000000 UTC",
        "housekeeping": "2026-03-03 06:00:00.000000 UTC",
    }


@pytest.mark.parametrize(("hour", "due"), [(0, "2026-03-04 00"), (23, "2026-03-03 23")])
def test_hours_may_be_the_first_and_the_last_of_a_day(hour: int, due: str) -> None:
    assert ticks_at(at("2026-03-04T00:00"), poll_hour=hour)["daily"].startswith(due)


@pytest.mark.parametrize(
    ("day", "due"),
    [
        ("monday", "2026-03-02"),
        ("tuesday", "2026-03-03"),
        ("wednesday", "2026-03-04"),
        ("thursday", "2026-02-26"),
        ("friday", "2026-02-27"),
        ("saturday", "2026-02-28"),
        ("sunday", "2026-03-01"),
    ],
)
def test_the_recheck_may_be_on_any_day(day: str, due: str) -> None:
    assert ticks_at(at("2026-03-04T12:00"), recheck_day=day)["recheck"].startswith(due)


def test_a_recheck_that_is_never_has_no_tick() -> None:
    assert "recheck" not in ticks_at(at("2026-03-04T12:00"), recheck_day="never")


def test_an_instant_of_another_zone_is_reckoned_in_utc() -> None:
    """
    One o'clock in the morning of British summer time is midnight in UTC: the day's tick has not come.
    """
    summer = timezone(timedelta(hours=1))

    assert ticks_at(datetime(2026, 7, 15, 2, 30, tzinfo=summer))["daily"].startswith("2026-07-14 02")
    assert ticks_at(datetime(2026, 7, 15, 3, 0, tzinfo=summer))["daily"].startswith("2026-07-15 02")


@pytest.mark.parametrize("clocks_change", ["2026-03-29", "2026-10-25"])
def test_no_day_misses_or_doubles_a_tick_where_clocks_change(clocks_change: str) -> None:
    start = at(f"{clocks_change}T00:00") - timedelta(days=1)
    seen = {ticks_at(start + timedelta(minutes=10 * step), poll_hour=1)["daily"] for step in range(3 * 144)}

    assert len(seen) == 4  # one each day, and the one before the first


def test_ticks_only_ever_move_on() -> None:
    start = at("2026-02-27T00:00")
    settings = settings_for(**HOURS)
    looks = [latest_ticks(settings, start + timedelta(minutes=7 * step)) for step in range(1500)]

    for schedule in Schedule:
        seen = [tick.due_at for look in looks for tick in look if tick.schedule is schedule]
        assert seen == sorted(seen)
        assert all(due <= start + timedelta(minutes=7 * step) for step, due in enumerate(seen))
