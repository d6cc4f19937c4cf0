"""
What is held and what is not: one cell a force-month, told with no upstream in reach.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg import Connection

from stopsearch.domain.months import Month, month_range
from stopsearch.domain.published import Availability
from stopsearch.domain.states import MonthFlag, MonthState
from stopsearch.flows.plan import Wanted, check_wanted
from stopsearch.store.as_of import one_snapshot
from stopsearch.store.database import Database
from stopsearch.store.forces import known_forces
from stopsearch.store.known_months import KnownMonth, known_months
from stopsearch.store.releases import last_listing


@dataclass(frozen=True, kw_only=True)
class Cell:
    """
    One force-month of the matrix. The revision and its counts are None unless the month is held: never zero.
    """

    force: str
    month: Month
    state: MonthState
    flags: tuple[MonthFlag, ...] = ()
    revision: int | None = None
    received: int | None = None
    stored: int | None = None
    rejected: int | None = None

    def as_json(self) -> dict[str, Any]:
        """
        Give the cell as `coverage --json` prints it.
        """
        return {
            "force": self.force,
            "month": str(self.month),
            "state": str(self.state),
            "flags": [str(flag) for flag in self.flags],
            "revision": self.revision,
            "received": self.received,
            "stored": self.stored,
            "rejected": self.rejected,
        }


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """
    The matrix of forces and months: a cell for each pair, by force and month, with no gap.
    """

    forces: tuple[str, ...]
    months: tuple[Month, ...]
    cells: tuple[Cell, ...] = field(repr=False)
    listed_at: datetime | None  # when the publisher's list was last seen; None: never
    totals: Mapping[MonthState, int]  # force-months by state, every state among them

    def cell(self, force: str, month: Month) -> Cell:
        """
        Give the cell of one force and one month of the matrix.
        """
        return self.cells[self.forces.index(force) * len(self.months) + self.months.index(month)]


def coverage(database: Database, wanted: Wanted | None = None) -> Coverage:
    """
    Give the matrix of what is held, from the first month known to the last, without asking the publisher.

    A month is known where it was ever listed or brought in. Forces are those that were, or those that are wanted.

    Raises:
        UnknownForce: A force that nobody knows.
        MonthOutOfRange: The months start after they end.
    """
    with database.connect(autocommit=True) as connection, one_snapshot(connection):
        return coverage_now(connection, wanted)


def coverage_now(connection: Connection, wanted: Wanted | None = None) -> Coverage:
    """
    Give the matrix as `coverage` does.

    Args:
        connection: One that reads a single state of the database.
    """
    wanted = wanted or Wanted()
    check_wanted(wanted, forces=known_forces(connection), window=None)
    known = known_months(connection)
    availability, listed_at = last_listing(connection) or (Availability(listed={}), None)
    return arrange(known, availability, listed_at=listed_at, wanted=wanted)


def arrange(
    known: list[KnownMonth], availability: Availability, *, listed_at: datetime | None, wanted: Wanted
) -> Coverage:
    """
    Arrange what is known as a matrix. Pure.

    A force-month of which nothing is known is out of the window where it is older than the publisher's list, and
    else not listed.
    """
    forces = tuple(sorted(set(wanted.forces) or {month.force for month in known} | availability.forces))
    months = _months({month.month for month in known} | set(availability.months), wanted)
    oldest = availability.months[0] if availability.months else None
    by_pair = {(month.force, month.month): month for month in known}
    cells = tuple(_cell(force, month, by_pair.get((force, month)), oldest) for force in forces for month in months)
    counts = Counter(cell.state for cell in cells)
    return Coverage(
        forces=forces,
        months=months,
        cells=cells,
        listed_at=listed_at,
        totals={state: counts[state] for state in MonthState},
    )


def _months(known: set[Month], wanted: Wanted) -> tuple[Month, ...]:
    if not known:
        return ()
    first = max(filter(None, (min(known), wanted.first)))
    last = min(filter(None, (max(known), wanted.last)))
    return tuple(month_range(first, last)) if first <= last else ()


def _cell(force: str, month: Month, known: KnownMonth | None, oldest: Month | None) -> Cell:
    if known is None:
        is_too_old = oldest is not None and month < oldest
        return Cell(force=force, month=month, state=MonthState.OUT_OF_WINDOW if is_too_old else MonthState.NOT_LISTED)
    return Cell(
        force=force,
        month=month,
        state=known.state,
        flags=known.flags,
        revision=known.revision,
        received=known.received,
        stored=known.stored,
        rejected=known.rejected,
    )
