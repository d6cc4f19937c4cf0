"""
Delete the kept bodies that are older than the settings say and that no revision rests on.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from stopsearch.settings import Settings
from stopsearch.store.bodies import prune_bodies
from stopsearch.store.database import Database


@dataclass(frozen=True, kw_only=True)
class PruneReport:
    """
    How many bodies were deleted. `kept_before` is None where the settings keep bodies for ever.
    """

    bodies: int
    kept_before: datetime | None


def prune(database: Database, settings: Settings, *, now: datetime | None = None) -> PruneReport:
    """
    Delete the bodies kept for longer than `body_retention_days`, but for those that a revision rests on.

    Args:
        now: The instant that ages are reckoned from; None: the clock's.
    """
    if settings.body_retention_days is None:
        return PruneReport(bodies=0, kept_before=None)
    kept_before = (now or datetime.now(UTC)) - timedelta(days=settings.body_retention_days)
    with database.connect(autocommit=True) as connection:
        return PruneReport(bodies=prune_bodies(connection, kept_before=kept_before), kept_before=kept_before)
