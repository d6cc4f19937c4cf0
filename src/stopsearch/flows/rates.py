"""
Rates of stops by 1,000 residents, and their ratios between ethnic groups: the arithmetic, without any IO.

What is counted, divided and refused is told for analysts in `docs/rates.md`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from stopsearch.domain.vocabulary import VOCABULARY
from stopsearch.flows.intervals import Interval, rate_ratio
from stopsearch.flows.refusals import (
    FEWEST_STOPS,
    AskedMonths,
    Refusal,
    RefusalReason,
    gap_refusal,
    split_overridden,
)

BROAD_GROUPS: tuple[str, ...] = tuple(
    dict.fromkeys(label.group for label in VOCABULARY["self_defined_ethnicity"] if label.group is not None)
)
REFERENCE = "White"

RATE_CAVEATS: tuple[str, ...] = (
    "Residents are those of the force's area in the named census. They are not the people who are in its streets and "
    "could be stopped: visitors, commuters and students are stopped and not counted, and ages and places differ.",
    "Stops are counted, not persons: one person who is stopped ten times is ten stops.",
    "The interval takes stops for independent of each other. They come in clusters, by operation, place and person, so "
    "the true uncertainty is larger than the interval says.",
    "Residents are of one day of one year, and groups have grown since at different speeds.",
    "Stops of unknown ethnicity are in no group's rate; the bounds show how far they could move each ratio.",
)
MIXED_CAVEAT = (
    "Officer-defined ethnicity: many forces never use Mixed, and there is no Chinese apart, while the census counts "
    "both. Rates of Mixed and Other by it compare habits of recording."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupRate:
    """
    The stops of one ethnic group in one force, by its residents, and against the reference group.

    Rates are by 1,000 residents. `ratio_if_unknowns_reference` is the ratio where every stop of unknown ethnicity
    was of the reference group, `ratio_if_unknowns_group` where every one was of this group: the true ratio lies
    between the two as far as the unknowns go. The reference group has no ratio. What is refused is None.
    """

    group: str
    stops: int
    residents: int | None
    rate: float | None  # of the months held, taken together
    rate_per_year: float | None
    ratio: Interval | None
    ratio_if_unknowns_reference: float | None
    ratio_if_unknowns_group: float | None
    refusals: tuple[Refusal, ...]
    overridden: tuple[Refusal, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ForceRates:
    """
    One force's rates over the months that were asked for. `refusals` are those that refuse all its figures.
    """

    force: str
    months_asked: int
    months_held: int
    reference: str
    stops: int
    unknown: int  # stops of unknown ethnicity, among `stops`
    share_unknown: float | None  # None where there is no stop
    residents: int | None
    rate: float | None  # of all its stops, those of unknown ethnicity among them
    rate_per_year: float | None
    groups: tuple[GroupRate, ...]
    refusals: tuple[Refusal, ...]
    overridden: tuple[Refusal, ...]


def force_rates(
    force: str,
    stops: Mapping[str, int],
    unknown: int,
    *,
    residents: Mapping[str, int],
    months: AskedMonths,
    reference: str = REFERENCE,
    overrides: Collection[str] = (),
) -> ForceRates:
    """
    Give one force's rates and ratios.

    Args:
        force: The force's id, for the words of a refusal.
        stops: Searches of persons in the months held, by broad group; a group that is absent had none.
        unknown: Those of unknown ethnicity.
        residents: Residents by broad group; empty for a force that has none.
        months: Which months were asked for, and which of them are missing or doubtful.
        reference: The group that the others are held against, one of `BROAD_GROUPS`.
        overrides: Reasons, of `OVERRIDES`, in spite of which figures are wanted.
    """
    refusals, overridden = split_overridden(
        [_residents_refusal(force, residents), gap_refusal(force, months)], overrides
    )
    counted = _Counted(
        stops=stops, unknown=unknown, residents=residents, months=months, reference=reference, overrides=overrides
    )
    total, persons = sum(stops.values()) + unknown, sum(residents.values())
    rate = _rate(total, persons, is_refused=bool(refusals))
    return ForceRates(
        force=force,
        months_asked=len(months.months),
        months_held=months.held,
        reference=reference,
        stops=total,
        unknown=unknown,
        share_unknown=unknown / total if total else None,
        residents=persons or None,
        rate=rate,
        rate_per_year=_per_year(rate, months),
        groups=tuple(_group_rate(group, counted, is_refused=bool(refusals)) for group in BROAD_GROUPS),
        refusals=refusals,
        overridden=overridden,
    )


def rates_by_force(
    rows: Iterable[tuple[str, str | None, int]],
    *,
    residents: Mapping[str, Mapping[str, int]],
    months: Mapping[str, AskedMonths],
    reference: str = REFERENCE,
    overrides: Collection[str] = (),
) -> tuple[ForceRates, ...]:
    """
    Give the rates of every force in `months`, by force.

    Args:
        rows: Force (one of `months`), broad group (None: unknown) and stops; rows of one pair are added up.
        residents: Residents by force and broad group; a force that has none is absent.
        months: For every force that was asked for, which months.
        reference: The group that the others are held against.
        overrides: Reasons, of `OVERRIDES`, in spite of which figures are wanted.
    """
    counts: dict[str, Counter[str | None]] = {force: Counter() for force in months}
    for force, group, stops in rows:
        counts[force][group] += stops
    return tuple(
        force_rates(
            force,
            {group: stops for group, stops in counts[force].items() if group is not None},
            counts[force][None],
            residents=residents.get(force, {}),
            months=months[force],
            reference=reference,
            overrides=overrides,
        )
        for force in sorted(counts)
    )


def as_json(figures: Any) -> dict[str, Any]:
    """
    Give rates or finds as plain values. Fractions are rounded to ten places, so that machines that differ in the last
    bit of a logarithm write the same bytes.
    """
    return asdict(
        figures,
        dict_factory=lambda pairs: {
            name: round(value, 10) if isinstance(value, float) else value for name, value in pairs
        },
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Counted:
    stops: Mapping[str, int]
    unknown: int
    residents: Mapping[str, int]
    months: AskedMonths
    reference: str
    overrides: Collection[str]


def _rate(stops: int, residents: int, *, is_refused: bool) -> float | None:
    return None if is_refused or residents == 0 else 1000 * stops / residents


def _per_year(rate: float | None, months: AskedMonths) -> float | None:
    return None if rate is None else rate * 12 / months.held


def _group_rate(group: str, counted: _Counted, *, is_refused: bool) -> GroupRate:
    stops, persons = counted.stops.get(group, 0), counted.residents.get(group, 0)
    rate = _rate(stops, persons, is_refused=is_refused)
    # Where the whole force is refused, it is said there, once.
    refusals, overridden = split_overridden(() if is_refused else _group_refusals(group, counted), counted.overrides)
    has_ratio = not is_refused and group != counted.reference and not refusals
    low, ratio, high = _ratios(group, counted) if has_ratio else (None, None, None)
    return GroupRate(
        group=group,
        stops=stops,
        residents=persons or None,
        rate=rate,
        rate_per_year=_per_year(rate, counted.months),
        ratio=ratio,
        ratio_if_unknowns_reference=low,
        ratio_if_unknowns_group=high,
        refusals=refusals,
        overridden=overridden,
    )


def _ratios(group: str, counted: _Counted) -> tuple[float, Interval, float]:
    stops, persons = counted.stops[group], counted.residents[group]
    others, other_persons = counted.stops[counted.reference], counted.residents[counted.reference]
    unknown = counted.unknown
    return (
        (stops / persons) / ((others + unknown) / other_persons),
        rate_ratio(stops, persons, others, other_persons),
        ((stops + unknown) / persons) / (others / other_persons),
    )


def _residents_refusal(force: str, residents: Mapping[str, int]) -> Refusal | None:
    if any(residents.values()):
        return None
    return Refusal(
        reason=RefusalReason.NO_RESIDENTS,
        detail=f"The census counts no residents for {force}, so that there is no number to divide by.",
        override=None,
    )


def _group_refusals(group: str, counted: _Counted) -> Iterable[Refusal]:
    compared = tuple(dict.fromkeys((group, counted.reference)))
    if nobody := [each for each in compared if not counted.residents.get(each)]:
        yield Refusal(
            reason=RefusalReason.NO_RESIDENTS,
            detail=f"The census counts nobody of {' or '.join(nobody)} among the residents.",
            override=None,
        )
    counts = {each: counted.stops.get(each, 0) for each in compared}
    few = {each: stops for each, stops in counts.items() if stops < FEWEST_STOPS}
    if few and group != counted.reference:
        yield Refusal(
            reason=RefusalReason.FEW_STOPS,
            detail=f"A ratio needs {FEWEST_STOPS} stops in both groups: "
            f"{' and '.join(f'{each} has {stops}' for each, stops in few.items())}.",
            # The interval divides by both counts, so that nothing can be given where one is zero.
            override=RefusalReason.FEW_STOPS.value if all(few.values()) else None,
        )
