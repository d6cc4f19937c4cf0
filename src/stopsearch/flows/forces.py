"""
The forces of a snapshot: what is held of each, and whether there are residents to divide by.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from stopsearch.census import CENSUS_YEARS, census_counts
from stopsearch.domain.forces import FORCE_NAMES
from stopsearch.domain.months import Month
from stopsearch.domain.states import MonthState
from stopsearch.store.as_of import ServedRevision
from stopsearch.store.snapshots import Snapshot

_NO_RESIDENTS = {
    "btp": "It polices the railways and has no area of residents, so that there is no number to divide by.",
    "northern-ireland": "The censuses that are bundled are those of England and Wales.",
}
_NOT_COUNTED = "No census that is bundled counts residents for it."


@dataclass(frozen=True, kw_only=True)
class ForceSummary:
    """
    One force as a snapshot knows it: ``held + missing`` are all months that the snapshot knows of.
    """

    id: str
    name: str | None  # as bundled; None for a force that was unknown when this version was made
    first_held: Month | None
    last_held: Month | None
    held: int
    missing: int
    missing_by_state: Mapping[MonthState, int]
    doubtful: int
    stops: int | None  # None: nothing is held, which is not zero stops
    residents: Mapping[int, int]  # by census year; empty: none
    no_residents_because: str | None

    def as_json(self) -> dict[str, Any]:
        """
        Give it as answers carry it.
        """
        return {
            "id": self.id,
            "name": self.name,
            "first_held": str(self.first_held) if self.first_held else None,
            "last_held": str(self.last_held) if self.last_held else None,
            "held": self.held,
            "missing": self.missing,
            "missing_by_state": {str(state): count for state, count in self.missing_by_state.items()},
            "doubtful": self.doubtful,
            "stops": self.stops,
            "residents": {str(year): count for year, count in self.residents.items()} or None,
            "no_residents_because": self.no_residents_because,
        }


def force_summaries(snapshot: Snapshot) -> list[ForceSummary]:
    """
    Give every force that a snapshot knows of, by id. Pure: it is the same for ever.
    """
    held: defaultdict[str, list[ServedRevision]] = defaultdict(list)
    for revision in snapshot.revisions:
        held[revision.force].append(revision)
    missing: defaultdict[str, Counter[MonthState]] = defaultdict(Counter)
    for gap in snapshot.gaps:
        missing[gap.force][gap.state] += gap.last.ordinal - gap.first.ordinal + 1
    doubtful = Counter(force for force, _ in snapshot.doubtful)
    return [_summary(force, held[force], missing[force], doubtful[force]) for force in snapshot.forces]


def _summary(force: str, held: list[ServedRevision], missing: Counter[MonthState], doubtful: int) -> ForceSummary:
    counted = {year: persons for year in CENSUS_YEARS if (persons := _residents(year).get(force))}
    return ForceSummary(
        id=force,
        name=FORCE_NAMES.get(force),
        first_held=min((revision.month for revision in held), default=None),
        last_held=max((revision.month for revision in held), default=None),
        held=len(held),
        missing=missing.total(),
        missing_by_state={state: missing[state] for state in MonthState if missing[state]},
        doubtful=doubtful,
        stops=sum(revision.stored for revision in held) if held else None,
        residents=counted,
        no_residents_because=None if counted else _NO_RESIDENTS.get(force, _NOT_COUNTED),
    )


@cache
def _residents(year: int) -> Mapping[str, int]:
    persons: Counter[str] = Counter()
    for count in census_counts(year):
        persons[count.force] += count.persons
    return dict(persons)
