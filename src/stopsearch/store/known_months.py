"""
What the database knows of every force-month, for planning and for the coverage matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg import Connection

from stopsearch.domain.months import Month
from stopsearch.domain.states import MonthFlag, MonthState


@dataclass(frozen=True, kw_only=True)
class KnownMonth:
    """
    One force-month: its state and flags, and what its current revision counts. Counts are None where nothing is held.
    """

    force: str
    month: Month
    state: MonthState
    flags: tuple[MonthFlag, ...]
    is_listed: bool
    last_checked_at: datetime | None
    revision: int | None
    received: int | None
    stored: int | None
    rejected: int | None


_KNOWN = """
    SELECT force.id, release.month, release.state, release.is_listed, release.doubtful_since IS NOT NULL,
        coalesce(release.last_checked_at, release.first_listed_at),
        revision.number, revision.received, revision.stored, revision.rejected,
        revision.is_restated, revision.is_doubled, revision.is_date_only
    FROM month_release AS release
    JOIN force ON force.code = release.force_code
    LEFT JOIN revision ON revision.force_code = release.force_code AND revision.month = release.month
        AND revision.number = release.current_revision
    ORDER BY force.id, release.month
"""


def known_months(connection: Connection) -> list[KnownMonth]:
    """
    Give every force-month that was ever listed or brought in, by force and month.
    """
    return [
        KnownMonth(
            force=row[0],
            month=Month.of(row[1]),
            state=MonthState(row[2]),
            flags=tuple(
                flag
                for flag, is_set in (
                    (MonthFlag.RESTATED, row[10]),
                    (MonthFlag.DOUBLED, row[11]),
                    (MonthFlag.DATE_ONLY, row[12]),
                    (MonthFlag.DOUBTFUL, row[4]),
                )
                if is_set
            ),
            is_listed=row[3],
            last_checked_at=row[5],
            revision=row[6],
            received=row[7],
            stored=row[8],
            rejected=row[9],
        )
        for row in connection.execute(_KNOWN)
    ]


def months_to_tell(connection: Connection) -> list[tuple[str, Month, MonthState, bool]]:
    """
    Give what a snapshot tells of beside its revisions: the force-months that are not held, and those in doubt.

    Returns:
        The force, the month, the state, and whether it is in doubt.
    """
    rows = connection.execute(
        """
        SELECT force.id, release.month, release.state, release.doubtful_since IS NOT NULL
        FROM month_release AS release JOIN force ON force.code = release.force_code
        WHERE release.state <> 'held' OR release.doubtful_since IS NOT NULL
        """
    )
    return [(row[0], Month.of(row[1]), MonthState(row[2]), row[3]) for row in rows]
