"""
What a question covers: of the force-months that it asks for, how many the snapshot holds, and what is missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from stopsearch.domain.filters import StopFilter
from stopsearch.domain.instants import LOCAL_ZONE
from stopsearch.domain.months import FIRST_PUBLISHED, Month
from stopsearch.domain.states import MonthState
from stopsearch.store.as_of import ServedRevision
from stopsearch.store.snapshots import Gap, Snapshot


@dataclass(frozen=True, kw_only=True)
class Covered:
    """
    The force-months that a question asks for: every pair of its forces and its months.

    ``expected == held + missing``. A missing force-month is never zero stops.
    """

    first: Month | None  # of the months asked for; None: nothing is known, and the question names none
    last: Month | None
    forces: int
    expected: int
    held: int
    missing: int
    doubtful: int  # of those held
    by_state: dict[MonthState, int]  # those missing, by why
    date_only: int  # of those held
    doubled: int  # of those held
    gaps: tuple[Gap, ...] = field(repr=False)

    def as_json(self, *, with_gaps: bool) -> dict[str, Any]:
        """
        Give it as answers carry it.
        """
        told: dict[str, Any] = {
            "from": str(self.first) if self.first else None,
            "to": str(self.last) if self.last else None,
            "forces": self.forces,
            "expected": self.expected,
            "held": self.held,
            "missing": self.missing,
            "missing_by_state": {str(state): count for state, count in self.by_state.items()},
            "doubtful": self.doubtful,
            "date_only": self.date_only,
            "doubled": self.doubled,
        }
        if with_gaps:
            told["gaps"] = [
                {"force": gap.force, "state": str(gap.state), "from": str(gap.first), "to": str(gap.last)}
                for gap in self.gaps
            ]
        return told


def covered(snapshot: Snapshot, asked: StopFilter) -> Covered:
    """
    Tell what of a question's force-months a snapshot holds.

    Months are those that the question names, by month or by instant; where it leaves an end open, those up to the
    first or the last that the snapshot knows of. A month that is named and that the snapshot knows nothing of is
    expected, and missing. Forces are those asked for, or all that the snapshot knows.
    """
    months = _months_asked(snapshot, asked)
    forces = set(asked.forces) or set(snapshot.forces)
    if months is None:
        return _nothing(len(forces))
    first, last = months
    held = held_revisions(snapshot, replace(asked, first=first, last=last))
    gaps = [
        Gap(force=gap.force, state=gap.state, first=max(gap.first, first), last=min(gap.last, last))
        for gap in _all_gaps(snapshot, forces, first, last)
        if gap.first <= last and gap.last >= first
    ]
    by_state: Counter[MonthState] = Counter()
    for gap in gaps:
        by_state[gap.state] += gap.last.ordinal - gap.first.ordinal + 1
    expected = len(forces) * (last.ordinal - first.ordinal + 1)
    return Covered(
        first=first,
        last=last,
        forces=len(forces),
        expected=expected,
        held=len(held),
        missing=expected - len(held),
        doubtful=sum((revision.force, revision.month) in snapshot.doubtful for revision in held),
        by_state={state: by_state[state] for state in MonthState if by_state[state]},
        date_only=sum(revision.is_date_only for revision in held),
        doubled=sum(revision.is_doubled for revision in held),
        gaps=tuple(gaps),
    )


def _months_asked(snapshot: Snapshot, asked: StopFilter) -> tuple[Month, Month] | None:
    """
    Give the first and the last month that a question asks for; None where it asks for none, or names none of nothing.
    """
    first = max(filter(None, (asked.first, _local_month(asked.datetime_from))), default=None)
    last = min(filter(None, (asked.last, _local_month(asked.datetime_before, is_end=True))), default=None)
    if snapshot.months is not None:
        first = first or min(snapshot.months[0], last or snapshot.months[0])
        last = last or max(snapshot.months[1], first)
    if first is None or last is None or first > last:
        return None
    # A far end is a way to leave it open: before the one nothing was published, and after the other not yet.
    oldest, newest = Month.parse(FIRST_PUBLISHED), Month.of(snapshot.served_from.astimezone(UTC).date())
    if snapshot.months is not None:
        oldest, newest = min(oldest, snapshot.months[0]), max(newest, snapshot.months[1])
    return max(first, min(oldest, last)), min(last, max(newest, first))


def _local_month(instant: datetime | None, *, is_end: bool = False) -> Month | None:
    if instant is None:
        return None
    within = instant - timedelta(microseconds=1) if is_end else instant
    return Month.of(within.astimezone(LOCAL_ZONE).date())


def _all_gaps(snapshot: Snapshot, forces: Iterable[str], first: Month, last: Month) -> Iterator[Gap]:
    """
    Give the gaps of these forces by force and month: those that were kept with the snapshot, and what lies around them.
    """
    kept: dict[str, list[Gap]] = {}
    for gap in snapshot.gaps:
        kept.setdefault(gap.force, []).append(gap)
    # The publisher's list, if there was one, lies within the months that the snapshot knows of.
    older = MonthState.OUT_OF_WINDOW if snapshot.listed_at else MonthState.NOT_LISTED
    for force in sorted(forces):
        if snapshot.months is None or force not in snapshot.forces:
            # Nothing of it was ever listed or held.
            yield Gap(force=force, state=MonthState.NOT_LISTED, first=first, last=last)
            continue
        known_first, known_last = snapshot.months
        runs = list(kept.get(force, ()))
        if first < known_first:
            runs.insert(0, Gap(force=force, state=older, first=first, last=known_first.plus(-1)))
        if last > known_last:
            runs.append(Gap(force=force, state=MonthState.NOT_LISTED, first=known_last.plus(1), last=last))
        joined: Gap | None = None
        for run in runs:
            if joined is not None and joined.state is run.state and joined.last.plus(1) == run.first:
                joined = replace(joined, last=run.last)
                continue
            if joined is not None:
                yield joined
            joined = run
        if joined is not None:
            yield joined


def held_revisions(snapshot: Snapshot, asked: StopFilter) -> list[ServedRevision]:
    """
    Give the revisions of the forces and months that are asked for, whatever else the filter says.
    """
    return [
        revision
        for revision in snapshot.revisions
        if (not asked.forces or revision.force in asked.forces)
        and (asked.first is None or asked.first <= revision.month)
        and (asked.last is None or revision.month <= asked.last)
    ]


def _nothing(forces: int) -> Covered:
    return Covered(
        first=None,
        last=None,
        forces=forces,
        expected=0,
        held=0,
        missing=0,
        doubtful=0,
        by_state={},
        date_only=0,
        doubled=0,
        gaps=(),
    )
