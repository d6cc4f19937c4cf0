"""
What a question covers: of the force-months that it asks for, how many the snapshot holds, and what is missing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from stopsearch.domain.filters import StopFilter
from stopsearch.domain.months import Month
from stopsearch.domain.states import MonthState
from stopsearch.store.as_of import ServedRevision
from stopsearch.store.snapshots import Gap, Snapshot


@dataclass(frozen=True, kw_only=True)
class Covered:
    """
    The force-months that a question asks for: every pair of its forces and its months that the snapshot knows of.

    ``expected == held + missing``. A missing force-month is never zero stops.
    """

    first: Month | None  # of the months asked for that are known; None: none is
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

    Months are those between the first and the last that the snapshot knows of; what lies outside is not expected.
    Forces are those asked for, or all that it knows.
    """
    if snapshot.months is None:
        return _nothing(len(asked.forces))
    first = max(snapshot.months[0], asked.first or snapshot.months[0])
    last = min(snapshot.months[1], asked.last or snapshot.months[1])
    if first > last:
        return _nothing(len(asked.forces) or len(snapshot.forces))
    forces = set(asked.forces) or set(snapshot.forces)
    held = held_revisions(snapshot, asked)
    gaps = [
        Gap(force=gap.force, state=gap.state, first=max(gap.first, first), last=min(gap.last, last))
        for gap in snapshot.gaps
        if gap.force in forces and gap.first <= last and gap.last >= first
    ]
    # A force that was asked for and of which nothing is known: nothing of it is listed.
    gaps += [
        Gap(force=force, state=MonthState.NOT_LISTED, first=first, last=last)
        for force in forces - set(snapshot.forces)
    ]
    gaps.sort(key=lambda gap: (gap.force, gap.first))
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
