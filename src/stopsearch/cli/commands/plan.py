"""
`stopsearch plan`: what is due, and why, before doing it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from stopsearch.cli.arguments import AsJson, Forces, From, Recheck, To, read_wanted
from stopsearch.cli.opening import begin, opened
from stopsearch.cli.terminal import duration, many, number, safe, say, say_json, table
from stopsearch.domain.months import Month
from stopsearch.domain.published import Availability
from stopsearch.flows.plan import DueMonth, Wanted
from stopsearch.settings import Settings

_MONTHS_SHOWN = 4


def plan(
    force: Forces = None,
    first: From = None,
    last: To = None,
    recheck: Recheck = False,
    as_json: AsJson = False,
) -> None:
    """
    Show what is due and why, before doing it.

    Due is what the publisher lists, less what is held. The publisher is asked what it lists, and for no stops;
    what it lists is recorded, while 'ingest --dry-run' shows the same and records nothing.
    Without --force it is about the forces of STOPSEARCH_FORCES, or all. With --json, one object a force-month, one a
    line.
    """
    settings = begin()
    wanted = read_wanted(settings, force, first, last, recheck=recheck, use_configured=True)
    from stopsearch.flows.ingest_from_api import plan_from_api

    with opened(settings) as database:
        availability, due = asyncio.run(plan_from_api(database, settings, wanted))
    show_plan(availability, due, wanted, settings, as_json=as_json)


def show_plan(
    availability: Availability, due: Sequence[DueMonth], wanted: Wanted, settings: Settings, *, as_json: bool
) -> None:
    """
    Write what the publisher lists, and what is due of it.
    """
    if as_json:
        for month in due:
            say_json({"force": month.force, "month": str(month.month), "reason": str(month.reason)})
        return
    months = availability.months
    listed = sum(wanted.covers(force, month) for month in months for force in availability.listed[month])
    forces = many(len(availability.forces), "force")
    say(f"{safe(settings.upstream_url)} lists {months[0]} to {months[-1]}, {forces}.")
    if not due:
        say(f"Nothing is due: {many(listed, 'listed force-month')} asked for, all held or looked at lately.")
        return
    seconds = duration(len(due) / settings.rate_per_second)
    say(
        f"[bold]{many(len(due), 'force-month')} due[/bold] of {listed:,} asked for: "
        f"at {settings.rate_per_second:g} requests a second, {seconds} or more."
    )
    show_due(due)
    say("'stopsearch ingest' with the same options brings them in.")


def show_due(due: Sequence[DueMonth]) -> None:
    """
    Write what is due, a line a force and reason.
    """
    by_force: dict[tuple[str, str], list[Month]] = {}
    for month in due:
        by_force.setdefault((month.force, str(month.reason)), []).append(month.month)
    say()
    table(
        (("force", "left"), ("due", "right"), ("why", "left"), ("months", "left")),
        [
            [force, number(len(months)), safe(reason), spans(months)]
            for (force, reason), months in sorted(by_force.items())
        ],
    )
    say()


def spans(months: Iterable[Month]) -> str:
    """
    Write months as spans: "2023-10 to 2024-02, 2024-04".
    """
    runs: list[list[Month]] = []
    for month in sorted(set(months)):
        if runs and runs[-1][-1].plus(1) == month:
            runs[-1].append(month)
        else:
            runs.append([month])
    parts = [str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs]
    if len(parts) > _MONTHS_SHOWN:
        parts = [*parts[:_MONTHS_SHOWN], f"and {len(parts) - _MONTHS_SHOWN} more"]
    return ", ".join(parts)
