"""
Decide what is due, apart from doing it: due is what upstream lists, less what the ledger holds.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from stopsearch.domain.errors import MonthOutOfRange, UnknownForce
from stopsearch.domain.forces import FORCE_NAMES
from stopsearch.domain.months import Month
from stopsearch.domain.published import Availability
from stopsearch.domain.states import MonthFlag, MonthState
from stopsearch.store.known_months import KnownMonth


class Reason(StrEnum):
    """
    Why a force-month is due.
    """

    NEW = "listed, not held"
    FAILED = "failed before"
    EMPTY = "listed, but came empty before"
    REFUSED = "refused before"
    DOUBTFUL = "held, but doubtful since"
    RECHECK = "held, checked for a revision"


@dataclass(frozen=True, kw_only=True)
class DueMonth:
    """
    One force-month that is due, and why.
    """

    force: str
    month: Month
    reason: str  # one of `Reason`, or the archive that it is in


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """
    What was asked for: forces (empty: all), months (None: all), and whether held months are checked again.
    """

    forces: tuple[str, ...] = ()
    first: Month | None = None
    last: Month | None = None
    recheck: bool = False

    def covers(self, force: str, month: Month) -> bool:
        """
        Tell whether a force-month was asked for.
        """
        return (
            (not self.forces or force in self.forces)
            and (self.first is None or self.first <= month)
            and (self.last is None or month <= self.last)
        )


@dataclass(frozen=True, kw_only=True)
class RecheckAfter:
    """
    How long an answer is good for, by what it said. `held` None: a held month is checked only when asked for.
    """

    held: timedelta | None
    empty: timedelta


def due_months(
    availability: Availability,
    known: Collection[KnownMonth],
    *,
    wanted: Wanted,
    after: RecheckAfter,
    now: datetime,
) -> list[DueMonth]:
    """
    Give the force-months that are due, the newest month first.

    It asks nothing of the rows that are held, so that a late month, a gap and a stop dated into the next month are
    nothing special. A month that only an archive gave counts as checked when it was first seen listed.
    """
    by_month = {(month.force, month.month): month for month in known}
    return [
        DueMonth(force=force, month=month, reason=reason)
        for month in sorted(availability.listed, reverse=True)
        for force in sorted(availability.listed[month])
        if wanted.covers(force, month)
        and (reason := _reason(by_month.get((force, month)), recheck=wanted.recheck, after=after, now=now))
    ]


def _reason(month: KnownMonth | None, *, recheck: bool, after: RecheckAfter, now: datetime) -> Reason | None:
    if month is None or month.state in (MonthState.DUE, MonthState.NOT_LISTED, MonthState.OUT_OF_WINDOW):
        return Reason.NEW
    if month.state is MonthState.FAILED:
        return Reason.FAILED
    checked = month.last_checked_at
    is_stale = recheck or checked is None or now - checked >= after.empty
    if month.state is MonthState.EMPTY:
        return Reason.EMPTY if is_stale else None
    if month.state is MonthState.REFUSED:
        return Reason.REFUSED if is_stale else None
    if recheck:
        return Reason.RECHECK
    if MonthFlag.DOUBTFUL in month.flags:
        return Reason.DOUBTFUL if is_stale else None
    if after.held is not None and checked is not None and now - checked >= after.held:
        return Reason.RECHECK
    return None


def check_wanted(wanted: Wanted, *, forces: Collection[str], window: tuple[Month, Month] | None) -> None:
    """
    Make sure that what was asked for can be meant.

    Args:
        forces: Forces that are known to publish.
        window: The months that can be had, first and last; None where that isn't known.

    Raises:
        UnknownForce: A force that nobody knows.
        MonthOutOfRange: The range starts after it ends, or holds no month that can be had.
    """
    known = set(forces) | set(FORCE_NAMES)
    for force in wanted.forces:
        if force not in known:
            near = difflib.get_close_matches(force, sorted(known), n=3)
            hint = f"Did you mean {' or '.join(near)}?" if near else "'stopsearch plan' lists those that publish."
            raise UnknownForce(f"No police force has the id '{force}'.", remedy=hint)
    if wanted.first is not None and wanted.last is not None and wanted.first > wanted.last:
        raise MonthOutOfRange(
            f"The range {wanted.first} to {wanted.last} starts after it ends.",
            remedy=f"Ask for --from {wanted.last} --to {wanted.first}.",
        )
    if window is None:
        return
    oldest, newest = window
    if (wanted.last is not None and wanted.last < oldest) or (wanted.first is not None and wanted.first > newest):
        raise MonthOutOfRange(
            f"No month that was asked for lies within what is published, {oldest} to {newest}.",
            remedy="Older months are only in old archives: stopsearch ingest --source archive PATH.",
        )
