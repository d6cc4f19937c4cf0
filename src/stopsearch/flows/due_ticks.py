"""
When each schedule is due: its latest tick at an instant, by the settings alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from stopsearch.settings import Settings

_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class Schedule(StrEnum):
    """
    What is started by the clock.
    """

    DAILY = "daily"  # a batch of what is due
    RECHECK = "recheck"  # a batch of every listed month, once a week
    REPLAY = "replay"  # a batch of the dead letters that older rules made, once a day
    HOUSEKEEPING = "housekeeping"  # no batch: what may go is thrown away, once a day


@dataclass(frozen=True, kw_only=True)
class Tick:
    """
    One instant, in UTC, at which a schedule is due.
    """

    schedule: Schedule
    due_at: datetime


def latest_ticks(settings: Settings, now: datetime) -> list[Tick]:
    """
    Give the latest tick of each schedule that is not after an instant.

    Earlier ones are never made up for: what they would have started, the latest one starts.

    Args:
        now: With a zone; ticks are reckoned in UTC, which has no summer time.
    """
    now = now.astimezone(UTC)
    ticks = [
        Tick(schedule=Schedule.DAILY, due_at=_daily(settings.poll_hour, now)),
        Tick(schedule=Schedule.REPLAY, due_at=_daily(settings.replay_hour, now)),
        Tick(schedule=Schedule.HOUSEKEEPING, due_at=_daily(settings.housekeeping_hour, now)),
    ]
    if settings.recheck_day != "never":
        due_at = _daily(settings.recheck_hour, now)
        due_at -= timedelta(days=(due_at.weekday() - _WEEKDAYS.index(settings.recheck_day)) % 7)
        ticks.insert(1, Tick(schedule=Schedule.RECHECK, due_at=due_at))
    return ticks


def _daily(hour: int, now: datetime) -> datetime:
    today = now.replace(hour=hour, minute=0, second=0, microsecond=0)
    return today if today <= now else today - timedelta(days=1)
