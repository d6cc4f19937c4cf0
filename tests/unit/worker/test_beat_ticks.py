"""
What Beat sends when.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery.beat import ScheduleEntry

from builders.ingests import settings_for
from stopsearch.worker.app import make_celery
from stopsearch.worker.beat_ticks import beat_ticks
from stopsearch.worker.tasks import START_DUE, TEND_BATCHES

SETTINGS = settings_for(
    broker_url="amqp://guest:guest@127.0.0.1:9//",
    poll_hour=2,
    recheck_hour=4,
    replay_hour=5,
    housekeeping_hour=23,
    tend_every_s=12.5,
)


def entry(name: str, *, now: str, **changes: Any) -> ScheduleEntry:
    """
    Give one of Beat's entries, with the clock set.
    """
    made = ScheduleEntry(name=name, app=make_celery(SETTINGS), **{**beat_ticks(SETTINGS)[name], **changes})
    made.schedule.nowfun = lambda: datetime.fromisoformat(now).replace(tzinfo=UTC)
    return made


def test_every_hour_of_a_schedule_is_looked_at_once() -> None:
    ticks = beat_ticks(SETTINGS)

    hours = {name: (tick["schedule"].hour, tick["schedule"].minute) for name, tick in ticks.items() if "-at-" in name}
    assert hours == {f"start-due-at-{hour:02d}": ({hour}, {0}) for hour in (2, 4, 5, 23)}
    assert {tick["task"] for name, tick in ticks.items() if name in hours} == {START_DUE}


def test_hours_that_fall_together_are_one_look() -> None:
    same = SETTINGS.model_copy(update={"recheck_hour": 2, "replay_hour": 2, "housekeeping_hour": 2})

    assert [name for name in beat_ticks(same) if "-at-" in name] == ["start-due-at-02"]


@pytest.mark.parametrize(
    ("now", "is_due"), [("2026-03-04T01:59:59", False), ("2026-03-04T02:00:00", True), ("2026-03-04T02:00:30", True)]
)
def test_an_hour_comes_in_utc(now: str, is_due: bool) -> None:
    last = datetime(2026, 3, 3, 2, 0, 1, tzinfo=UTC)

    assert entry("start-due-at-02", now=now, last_run_at=last).is_due().is_due is is_due


@pytest.mark.parametrize(
    ("name", "task", "every"),
    [("start-due", START_DUE, timedelta(minutes=5)), ("tend-batches", TEND_BATCHES, timedelta(seconds=12.5))],
)
def test_what_comes_every_so_often_comes_first_at_once(name: str, task: str, every: timedelta) -> None:
    first = entry(name, now="2026-03-04T12:00:00")
    assert first.task == task
    assert first.is_due().is_due

    again = entry(name, now="2026-03-04T12:00:00", last_run_at=datetime(2026, 3, 4, 12, 0, tzinfo=UTC))
    assert not again.is_due().is_due
    assert again.is_due().next == pytest.approx(every.total_seconds())
