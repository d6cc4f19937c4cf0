"""
`stopsearch forces`: the police forces, and what is held of each.
"""

from __future__ import annotations

from stopsearch.cli.arguments import AsJson
from stopsearch.cli.asked_stops import AsOf, InSnapshot
from stopsearch.cli.in_snapshot import opened_snapshot
from stopsearch.cli.opening import begin, need_something_held
from stopsearch.cli.terminal import number, safe, say, say_json, table


def forces(as_of: AsOf = None, snapshot: InSnapshot = None, as_json: AsJson = False) -> None:
    """
    Show the police forces that are known, and what is held of each.

    A force without residents has no rates, and says why with --json: one object a force, one a line.
    """
    settings = begin()
    need_something_held(settings, is_named=snapshot is not None)
    from stopsearch.flows.forces import force_summaries

    with opened_snapshot(settings, as_of=as_of, snapshot=snapshot) as (_, found):
        summaries = force_summaries(found)
    if as_json:
        for summary in summaries:
            say_json(summary.as_json())
        return
    if not summaries:
        say("No force is known yet.")
        return
    table(
        (
            ("force", "left"),
            ("name", "left"),
            ("first", "left"),
            ("last", "left"),
            ("held", "right"),
            ("missing", "right"),
            ("stops", "right"),
            ("residents", "right"),
        ),
        [
            [
                each.id,
                safe(each.name or ""),
                str(each.first_held or ""),
                str(each.last_held or ""),
                number(each.held),
                number(each.missing),
                number(each.stops),
                number(each.residents[max(each.residents)]) if each.residents else "none",
            ]
            for each in summaries
        ],
    )
