"""
Keep house, once a day: throw away the kept bodies that may go, and the ticks of long ago.

What else grows needs no broom. Results of tasks expire in Redis by themselves, finished exports are kept within a size.
The ledger stays: what was tried, and how each force-month of a batch ended, is a few megabytes a year.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from stopsearch.flows.prune import prune
from stopsearch.settings import Settings
from stopsearch.store.database import Database
from stopsearch.store.schedule_slots import drop_ticks
from stopsearch.telemetry.events import Event

log = structlog.get_logger()

# Only the latest tick of each schedule is ever looked for; more than a year of them is for people.
_TICKS_KEPT = timedelta(days=400)


@dataclass(frozen=True, kw_only=True)
class HouseKept:
    """
    What was thrown away: kept bodies that no revision rests on, and ticks of schedules.
    """

    bodies: int
    ticks: int


def keep_house(database: Database, settings: Settings, *, now: datetime | None = None) -> HouseKept:
    """
    Throw away what may go. Done twice, the second finds nothing.

    Args:
        now: The instant that ages are reckoned from; None: the clock's.

    Raises:
        StoreUnavailable: The database went away.
    """
    began = time.monotonic()
    now = now or datetime.now(UTC)
    bodies = prune(database, settings, now=now).bodies
    with database.connect(autocommit=True) as connection:
        ticks = drop_ticks(connection, due_before=now - _TICKS_KEPT)
    log.info(Event.HOUSE_KEPT, bodies=bodies, ticks=ticks, duration_s=round(time.monotonic() - began, 3))
    return HouseKept(bodies=bodies, ticks=ticks)
