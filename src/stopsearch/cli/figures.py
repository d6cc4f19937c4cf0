"""
How totals and rates are shown, and what is said beside them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from stopsearch.cli.terminal import Align, number, safe, say, table

if TYPE_CHECKING:
    from stopsearch.domain.filters import StopFilter
    from stopsearch.flows.find_rates import FindRate, ForceFinds
    from stopsearch.flows.intervals import Interval
    from stopsearch.flows.rates import ForceRates, GroupRate
    from stopsearch.flows.refusals import Refusal
    from stopsearch.store.snapshots import Snapshot

_RATES: list[tuple[str, Align]] = [
    ("force", "left"),
    ("group", "left"),
    ("stops", "right"),
    ("residents", "right"),
    ("per 1,000", "right"),
    ("ratio", "right"),
    ("95 % interval", "right"),
    ("bounds", "right"),
]
_FINDS: list[tuple[str, Align]] = [
    ("force", "left"),
    ("group", "left"),
    ("stops", "right"),
    ("with outcome", "right"),
    ("found", "right"),
    ("find rate", "right"),
    ("95 % interval", "right"),
    ("linked", "right"),
]


def show_figures(figures: Sequence[ForceRates] | Sequence[ForceFinds]) -> None:
    """
    Write the figures of each force as one table, and under it what was refused and why.
    """
    from stopsearch.flows.find_rates import ForceFinds

    is_of_finds = any(isinstance(each, ForceFinds) for each in figures)
    rows = [row for each in figures for row in (_finds(each) if isinstance(each, ForceFinds) else _rates(each))]
    table(_FINDS if is_of_finds else _RATES, rows)
    for each in figures:
        for refusal in (*each.refusals, *(() if isinstance(each, ForceFinds) else _of_groups(each.groups))):
            of_force = "" if each.force in refusal.detail else f"{each.force}: "
            say(f"[yellow]{of_force}{safe(_told(refusal))}[/yellow]")


def meta_of(snapshot: Snapshot, asked: StopFilter, about: dict[str, Any]) -> dict[str, Any]:
    """
    Give what an answer says of itself: its snapshot, what it covers with every gap, and what more there is to say.
    """
    from stopsearch.flows.covered import covered

    return {
        "snapshot": {"id": snapshot.id, "served_from": snapshot.served_from.isoformat()},
        "coverage": covered(snapshot, asked).as_json(with_gaps=True),
        **about,
    }


def coverage_line(meta: dict[str, Any]) -> str:
    """
    Say in a line what of a question is held.
    """
    told = meta["coverage"]
    missing = ", ".join(f"{count} {state}" for state, count in told["missing_by_state"].items())
    held = f"{told['held']} of {told['expected']} force-months are held"
    return f"{held}; the missing ones are unknown, not zero: {missing}." if missing else f"{held}."


def _rates(figures: ForceRates) -> Iterable[list[str]]:
    for each in figures.groups:
        yield [
            figures.force,
            each.group,
            number(each.stops),
            number(each.residents),
            _decimal(each.rate),
            "reference" if each.group == figures.reference else _decimal(each.ratio.value if each.ratio else None),
            _interval(each.ratio),
            _bounds(each),
        ]
    yield [figures.force, "[dim]unknown[/dim]", number(figures.unknown), "", "", "", "", ""]
    total = [number(figures.stops), number(figures.residents), _decimal(figures.rate)]
    yield [figures.force, "[bold]all[/bold]", *total, "", "", ""]


def _finds(figures: ForceFinds) -> Iterable[list[str]]:
    for each in figures.groups:
        yield [figures.force, each.group or "", *_shares(each)]
    yield [figures.force, "[dim]unknown[/dim]", *_shares(figures.unknown)]
    yield [figures.force, "[bold]all[/bold]", *_shares(figures.total)]


def _shares(each: FindRate) -> list[str]:
    return [
        number(each.stops),
        number(each.with_outcome),
        number(each.found),
        _decimal(each.find_rate.value if each.find_rate else None),
        _interval(each.find_rate),
        _decimal(each.linked_share.value if each.linked_share else None),
    ]


def _of_groups(groups: Iterable[GroupRate]) -> Iterable[Refusal]:
    return [refusal for each in groups for refusal in each.refusals]


def _told(refusal: Refusal) -> str:
    return refusal.detail if refusal.override is None else f"{refusal.detail} --override {refusal.override} lifts it."


def _decimal(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _interval(interval: Interval | None) -> str:
    return "" if interval is None else f"{interval.low:.2f} to {interval.high:.2f}"


def _bounds(each: GroupRate) -> str:
    low, high = each.ratio_if_unknowns_reference, each.ratio_if_unknowns_group
    return "" if low is None or high is None else f"{low:.2f} to {high:.2f}"
