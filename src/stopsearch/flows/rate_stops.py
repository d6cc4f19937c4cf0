"""
Rates of stops by ethnic group and force: which stops, which months and which residents, for the arithmetic of
`flows/rates.py` and `flows/find_rates.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from psycopg import Connection

from stopsearch.domain.errors import BadQuery, MonthOutOfRange, RateRefused
from stopsearch.domain.filters import StopFilter
from stopsearch.domain.grouping import Group
from stopsearch.domain.measures import Definer, Measure
from stopsearch.domain.months import Month, month_range
from stopsearch.domain.vocabulary import labels_of
from stopsearch.flows.count_stops import count_stops
from stopsearch.flows.find_rates import FIND_CAVEATS, LINKED_CAVEAT, FindCounts, ForceFinds, finds_by_force
from stopsearch.flows.rates import BROAD_GROUPS, MIXED_CAVEAT, RATE_CAVEATS, REFERENCE, ForceRates, rates_by_force
from stopsearch.flows.refusals import OVERRIDES, AskedMonths
from stopsearch.store.population import Residents, residents
from stopsearch.store.snapshots import Snapshot

MONTHS_UNLESS_NAMED = 12
CENSUS_YEAR = 2021
PER_RESIDENTS = 1000
_NO_PERSON = "Vehicle search"
_NO_ACTION = "A no further action disposal"
_NAMED_FORCES = 5
_MOST_MONTHS = 240
_LINKED = "outcome_linked_to_object_of_search"


@dataclass(frozen=True, kw_only=True)
class AskedRates:
    """
    Which rates are asked for. Without forces: all that the snapshot knows.
    """

    forces: tuple[str, ...] = ()
    first: Month | None = None
    last: Month | None = None
    definer: Definer = Definer.SELF
    measure: Measure = Measure.RESIDENTS
    reference: str = REFERENCE
    census_year: int = CENSUS_YEAR
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FoundRates:
    """
    The figures of each force, by force, with what must be said beside them.
    """

    asked: AskedRates
    first: Month
    last: Month
    figures: tuple[ForceRates, ...] | tuple[ForceFinds, ...]
    residents: Residents | None  # None: the measure needs none
    caveats: tuple[str, ...]

    @property
    def months(self) -> StopFilter:
        """
        Give the forces and months that the figures are of, as a question.
        """
        return StopFilter(forces=self.asked.forces, first=self.first, last=self.last)

    @property
    def refused(self) -> tuple[str, ...]:
        """
        Name the forces of which no figure is given.
        """
        return tuple(each.force for each in self.figures if each.refusals)

    def about(self) -> dict[str, Any]:
        """
        Give what must be said beside the figures, as plain values.
        """
        asked = self.asked
        told: dict[str, Any] = {
            "measure": str(asked.measure),
            "period": {
                "from": str(self.first),
                "to": str(self.last),
                "is_named": asked.first is not None and asked.last is not None,
            },
            "persons_only": "Stops of the type 'Vehicle search' are left out.",
            "ethnicity": asked.definer.group.dimension,
            "unknown_ethnicity": {asked.definer.group.dimension: self.share_unknown},
            "overrides": list(asked.overrides),
            "refused": list(self.refused),
            "caveats": list(self.caveats),
        }
        if self.residents is not None:
            told["per_residents"] = PER_RESIDENTS
            told["reference"] = asked.reference
            told["residents"] = {
                "census_year": self.residents.census_year,
                "source": self.residents.source,
                "licence": self.residents.licence,
            }
        return told

    @property
    def share_unknown(self) -> float | None:
        """
        Give the share of all stops counted that are of no known ethnic group; None where there are none.
        """
        stops = sum(_stops(each) for each in self.figures)
        return sum(_unknown(each) for each in self.figures) / stops if stops else None


def rate_stops(connection: Connection, snapshot: Snapshot, asked: AskedRates) -> FoundRates:
    """
    Give rates by residents, or find rates, by ethnic group and force. Only stops that search a person count.

    Args:
        connection: One that may read.

    Raises:
        RateRefused: Every force that was asked for is refused; the message says why, the remedy what lifts it.
        BadQuery: There is no such census, group or override.
        MonthOutOfRange: The months start after they end.
    """
    _check_words("reference", (asked.reference,), BROAD_GROUPS)
    _check_words("override", asked.overrides, OVERRIDES)
    counted_in = residents(connection, asked.census_year) if asked.measure is Measure.RESIDENTS else None
    first, last = _period(snapshot, asked)
    months = _months(snapshot, asked.forces or snapshot.forces, tuple(month_range(first, last)))
    persons = StopFilter(
        forces=asked.forces,
        first=first,
        last=last,
        labels={"type": tuple(label for label in labels_of("type") if label != _NO_PERSON)},
    )
    figures: tuple[ForceRates, ...] | tuple[ForceFinds, ...]
    if counted_in is not None:
        rows = count_stops(connection, snapshot, persons, (Group.FORCE, asked.definer.group)).rows()
        figures = rates_by_force(
            rows,
            residents=counted_in.by_force,
            months=months,
            reference=asked.reference,
            overrides=asked.overrides,
        )
    else:
        finds = _find_counts(connection, snapshot, persons, asked.definer.group)
        figures = finds_by_force(finds, months=months, overrides=asked.overrides)
    found = FoundRates(
        asked=asked,
        first=first,
        last=last,
        figures=figures,
        residents=counted_in,
        caveats=_caveats(asked),
    )
    if len(found.refused) == len(figures):
        named = asked.first is not None and asked.last is not None
        raise _all_refused(figures, months="" if named else f"Of {first} to {last}, as not both ends were named: ")
    return found


def _check_words(name: str, given: tuple[str, ...], known: tuple[str, ...]) -> None:
    for word in given:
        if word not in known:
            raise BadQuery(
                f"{name} '{word}' is not known.",
                remedy=f"It is one of {', '.join(known)}.",
                faults=((name, word, f"it must be one of {', '.join(known)}"),),
            )


def _period(snapshot: Snapshot, asked: AskedRates) -> tuple[Month, Month]:
    """
    Give the months asked for; where an end is not named, twelve months up to the other end or to the last one known.
    """
    if snapshot.months is None:
        raise RateRefused("Nothing is held, so that there is nothing to divide.", remedy="Bring data in first.")
    last = asked.last or max(snapshot.months[1], asked.first or snapshot.months[1])
    first = asked.first or min(last, max(snapshot.months[0], last.plus(1 - MONTHS_UNLESS_NAMED)))
    if last.ordinal - first.ordinal >= _MOST_MONTHS:
        raise MonthOutOfRange(
            f"The range {first} to {last} is longer than {_MOST_MONTHS} months.", remedy="Ask for fewer months."
        )
    return first, last


def _months(snapshot: Snapshot, forces: Iterable[str], asked: tuple[Month, ...]) -> dict[str, AskedMonths]:
    held = {(revision.force, revision.month) for revision in snapshot.revisions}
    return {
        force: AskedMonths(
            months=asked,
            missing=tuple(month for month in asked if (force, month) not in held),
            doubtful=tuple(month for month in asked if (force, month) in snapshot.doubtful),
        )
        for force in forces
    }


def _find_counts(
    connection: Connection, snapshot: Snapshot, persons: StopFilter, group: Group
) -> Iterator[tuple[str, str | None, FindCounts]]:
    """
    Count what stops say of their outcome, by force and ethnic group; several rows of one pair.
    """

    def rows(asked: StopFilter, *by: Group) -> Iterator[Any]:
        return count_stops(connection, snapshot, asked, (Group.FORCE, group, *by)).rows()

    for force, ethnic_group, outcome, stops in rows(persons, Group.OUTCOME):
        yield (
            force,
            ethnic_group,
            FindCounts(
                stops=stops,
                with_outcome=stops if outcome is not None else 0,
                found=stops if outcome not in (None, _NO_ACTION) else 0,
            ),
        )
    for is_linked in (True, False):
        asked = replace(persons, flags={_LINKED: is_linked})
        for force, ethnic_group, stops in rows(asked):
            yield force, ethnic_group, FindCounts(linked_given=stops, linked=stops if is_linked else 0)


def _caveats(asked: AskedRates) -> tuple[str, ...]:
    if asked.measure is Measure.FIND:
        return (*FIND_CAVEATS, LINKED_CAVEAT)
    return (*RATE_CAVEATS, MIXED_CAVEAT) if asked.definer is Definer.OFFICER else RATE_CAVEATS


def _all_refused(figures: tuple[ForceRates, ...] | tuple[ForceFinds, ...], *, months: str) -> RateRefused:
    reasons = [(each.force, " ".join(refusal.detail for refusal in each.refusals)) for each in figures]
    told = " ".join(reason for _, reason in reasons[:_NAMED_FORCES])
    more = f" {len(reasons) - _NAMED_FORCES} more forces are refused too." if len(reasons) > _NAMED_FORCES else ""
    # An override helps where it lifts everything that stands in one force's way.
    lifting = {
        refusal.override
        for each in figures
        if all(refusal.override is not None for refusal in each.refusals)
        for refusal in each.refusals
    }
    names = ",".join(sorted(filter(None, lifting)))
    return RateRefused(
        f"{months}{told}{more}",
        remedy=f"Ask for other months, or for these all the same with the override {names}."
        if names
        else "No override lifts this. Ask for another force or other months.",
        faults=tuple(("force", force, reason) for force, reason in reasons),
    )


def _stops(figures: ForceRates | ForceFinds) -> int:
    return figures.stops if isinstance(figures, ForceRates) else figures.total.stops


def _unknown(figures: ForceRates | ForceFinds) -> int:
    return figures.unknown if isinstance(figures, ForceRates) else figures.unknown.stops
