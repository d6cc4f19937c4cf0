"""
What was found in searches, and whether it was what was searched for: the arithmetic, without any IO.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from stopsearch.flows.intervals import Interval, share
from stopsearch.flows.rates import BROAD_GROUPS
from stopsearch.flows.refusals import AskedMonths, Refusal, gap_refusal, split_overridden

FIND_CAVEATS: tuple[str, ...] = (
    "Found means any outcome other than 'A no further action disposal': an outcome is what the police did, and "
    "neither a conviction nor proof that something was found.",
    "A stop without an outcome is not one with no further action, and is left out. Whole forces and periods leave it "
    "empty: over 80 % of north-yorkshire's stops of 2022 and 2023, 28 % of gwent's, 17 % of dorset's, 16 % of "
    "west-yorkshire's. What is missing is not missing at random.",
)
LINKED_CAVEAT = (
    "Whether the outcome was linked to the object of the search is filled in by local convention. For stops with no "
    "further action about 20 forces leave it empty and 15 say mostly False, but warwickshire and west-mercia say True "
    "for all of them, derbyshire for 98 %, west-yorkshire for 91 % and northumbria for 60 %; gwent, humberside, "
    "lancashire and, in the months seen, metropolitan never say. Shares made from it compare conventions, not forces, "
    "and hold at best between groups and months of one force."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class FindCounts:
    """
    What the stops of one group say of their outcome.

    `found` is of those `with_outcome`, `linked` of those where it is said whether the outcome was linked to the
    object of the search (`linked_given`).
    """

    stops: int = 0
    with_outcome: int = 0
    found: int = 0
    linked_given: int = 0
    linked: int = 0

    def __add__(self, other: FindCounts) -> FindCounts:
        return FindCounts(
            stops=self.stops + other.stops,
            with_outcome=self.with_outcome + other.with_outcome,
            found=self.found + other.found,
            linked_given=self.linked_given + other.linked_given,
            linked=self.linked + other.linked,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class FindRate:
    """
    The shares of one group's stops that found something, and that found what was searched for.

    A share is None where it is refused for the whole force, and where there is nothing to divide by.
    """

    group: str | None  # None: the stops of unknown ethnicity, or all
    stops: int
    with_outcome: int
    found: int
    find_rate: Interval | None  # found, of those with an outcome
    linked_given: int
    linked: int
    linked_share: Interval | None  # linked, of those that say


@dataclass(frozen=True, kw_only=True, slots=True)
class ForceFinds:
    """
    One force's find rates over the months that were asked for.
    """

    force: str
    months_asked: int
    months_held: int
    total: FindRate
    groups: tuple[FindRate, ...]
    unknown: FindRate
    refusals: tuple[Refusal, ...]
    overridden: tuple[Refusal, ...]


def finds_by_force(
    rows: Iterable[tuple[str, str | None, FindCounts]],
    *,
    months: Mapping[str, AskedMonths],
    overrides: Collection[str] = (),
) -> tuple[ForceFinds, ...]:
    """
    Give the find rates of every force in `months`, by force. They need no residents, so that `btp` has them too.

    Args:
        rows: Force (one of `months`), broad group (None: unknown) and counts; rows of one pair are added up.
        months: For every force that was asked for, which months.
        overrides: Reasons, of `OVERRIDES`, in spite of which figures are wanted.
    """
    counts: dict[str, dict[str | None, FindCounts]] = {force: {} for force in months}
    for force, group, found in rows:
        counts[force][group] = counts[force].get(group, FindCounts()) + found
    return tuple(_force_finds(force, counts[force], months[force], overrides) for force in sorted(counts))


def _force_finds(
    force: str, counts: Mapping[str | None, FindCounts], months: AskedMonths, overrides: Collection[str]
) -> ForceFinds:
    refusals, overridden = split_overridden([gap_refusal(force, months)], overrides)
    is_refused = bool(refusals)
    return ForceFinds(
        force=force,
        months_asked=len(months.months),
        months_held=months.held,
        total=_find_rate(None, sum(counts.values(), FindCounts()), is_refused=is_refused),
        groups=tuple(
            _find_rate(group, counts.get(group, FindCounts()), is_refused=is_refused) for group in BROAD_GROUPS
        ),
        unknown=_find_rate(None, counts.get(None, FindCounts()), is_refused=is_refused),
        refusals=refusals,
        overridden=overridden,
    )


def _find_rate(group: str | None, counts: FindCounts, *, is_refused: bool) -> FindRate:
    return FindRate(
        group=group,
        stops=counts.stops,
        with_outcome=counts.with_outcome,
        found=counts.found,
        find_rate=None if is_refused or not counts.with_outcome else share(counts.found, counts.with_outcome),
        linked_given=counts.linked_given,
        linked=counts.linked,
        linked_share=None if is_refused or not counts.linked_given else share(counts.linked, counts.linked_given),
    )
