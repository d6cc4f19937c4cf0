"""
What Beat sends when: tasks that say "look whether anything is due", and no more. What is due, the ledger tells.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from celery.schedules import crontab, schedule

from stopsearch.settings import Settings
from stopsearch.worker.tasks import START_DUE, TEND_BATCHES

# A look between the hours: it makes up for a tick that was missed, or that could not be taken, and costs one statement
# a schedule.
_LOOK_EVERY = timedelta(minutes=5)

# As if last sent when this had long passed: what comes every so often comes at once when Beat begins.
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def beat_ticks(settings: Settings) -> dict[str, dict[str, Any]]:
    """
    Give Beat's schedule, as Celery takes it: the hours of every schedule, in UTC, and what is looked at in between.
    """
    hours = sorted({settings.poll_hour, settings.recheck_hour, settings.replay_hour, settings.housekeeping_hour})
    return {
        "start-due": {"task": START_DUE, "schedule": schedule(_LOOK_EVERY), "last_run_at": _LONG_AGO},
        "tend-batches": {
            "task": TEND_BATCHES,
            "schedule": schedule(timedelta(seconds=settings.tend_every_s)),
            "last_run_at": _LONG_AGO,
        },
        **{
            f"start-due-at-{hour:02d}": {"task": START_DUE, "schedule": crontab(minute="0", hour=str(hour))}
            for hour in hours
        },
    }
