"""
When a figure would mislead, and is refused: the reasons as values, and what lifts each. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum

from stopsearch.domain.months import Month

# Below this many stops a ratio says more about chance than about a force: at 20 alone, its interval reaches from 0.65
# to 1.55 times its value.
FEWEST_STOPS = 20
_NAMED_MONTHS = 6


class RefusalReason(StrEnum):
    """
    Why a figure is refused.
    """

    NO_RESIDENTS = "no_residents"  # there is no number to divide by
    FEW_STOPS = "few_stops"  # the group's stops, or the reference group's, are too few
    GAP = "gap"  # a month that was asked for is not held, or is doubtful


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """
    One reason for which a figure is not given, in words, and what to name to be given it all the same.
    """

    reason: RefusalReason
    detail: str
    override: str | None  # what lifts it; None: nothing does


# What a caller may name to be given figures in spite of a reason.
OVERRIDES: tuple[str, ...] = (RefusalReason.FEW_STOPS.value, RefusalReason.GAP.value)


@dataclass(frozen=True, kw_only=True, slots=True)
class AskedMonths:
    """
    The months that were asked for of one force: those that are not held, and those that are held but doubtful.
    """

    months: tuple[Month, ...]
    missing: tuple[Month, ...] = ()
    doubtful: tuple[Month, ...] = ()

    @property
    def held(self) -> int:
        """
        Count the months that stops can be counted in.
        """
        return len(set(self.months) - set(self.missing))


def gap_refusal(force: str, asked: AskedMonths) -> Refusal | None:
    """
    Refuse figures over a gap; a doubtful month counts as one. Where no month is held, nothing lifts it.
    """
    parts = []
    if missing := sorted(set(asked.months) & set(asked.missing)):
        parts.append(f"{len(missing)} not held ({_listed(missing)})")
    if doubtful := sorted(set(asked.months) & set(asked.doubtful) - set(asked.missing)):
        parts.append(f"{len(doubtful)} doubtful ({_listed(doubtful)})")
    if asked.held == 0:
        return Refusal(
            reason=RefusalReason.GAP, detail=f"No month that was asked for is held for {force}.", override=None
        )
    if not parts:
        return None
    return Refusal(
        reason=RefusalReason.GAP,
        detail=f"Of {len(asked.months)} months asked for of {force}, {' and '.join(parts)}.",
        override=RefusalReason.GAP.value,
    )


def split_overridden(
    refusals: Iterable[Refusal | None], overrides: Collection[str]
) -> tuple[tuple[Refusal, ...], tuple[Refusal, ...]]:
    """
    Part the refusals that stand from those that the caller lifted.
    """
    given = [refusal for refusal in refusals if refusal is not None]
    return (
        tuple(refusal for refusal in given if refusal.override not in overrides),
        tuple(refusal for refusal in given if refusal.override in overrides),
    )


def _listed(months: list[Month]) -> str:
    named = ", ".join(map(str, months[:_NAMED_MONTHS]))
    return f"{named} and {len(months) - _NAMED_MONTHS} more" if len(months) > _NAMED_MONTHS else named
