"""
`stopsearch snapshots`: what is and was served, by the ids that it can be asked for again with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from stopsearch.cli.arguments import AsJson
from stopsearch.cli.in_snapshot import check_id
from stopsearch.cli.opening import begin, need_something_held, opened
from stopsearch.cli.terminal import many, number, safe, say, say_json, table

if TYPE_CHECKING:
    from stopsearch.store.snapshots import KeptSnapshot


def snapshots(
    snapshot_id: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="Show this one: its id, or 12 digits at least.", show_default=False),
    ] = None,
    revisions: Annotated[
        bool, typer.Option("--revisions", help="Of one: add every revision that it serves, with its digest.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, metavar="N", help="At most so many, the newest.")] = 20,
    as_json: AsJson = False,
) -> None:
    """
    List the snapshots that were given out, or show one.

    A snapshot is the set of revisions that was served at one time. Its id gives the same answers for ever, here and
    over HTTP. With --json, one object a snapshot, one a line.
    """
    settings = begin()
    if snapshot_id is not None:
        check_id(snapshot_id)
    need_something_held(settings, is_named=snapshot_id is not None)
    from stopsearch.flows.snapshot_summary import kept_json, snapshot_summary
    from stopsearch.store.snapshots import current_snapshot, find_snapshot, list_snapshots

    with opened(settings) as database, database.connect(autocommit=True) as connection:
        if snapshot_id is not None:
            told = snapshot_summary(find_snapshot(connection, snapshot_id), with_revisions=revisions)
            if as_json:
                say_json(told)
            else:
                _show_one(told)
            return
        current = current_snapshot(connection)[0]
        kept = list_snapshots(connection, limit=limit)
    if as_json:
        for each in kept:
            say_json(kept_json(each, current_id=current.id))
        return
    _show_list(kept, current_id=current.id, limit=limit)


def _show_list(kept: list[KeptSnapshot], *, current_id: str, limit: int) -> None:
    table(
        (("id", "left"), ("served from", "left"), ("force-months", "right"), ("stops", "right"), ("", "left")),
        [
            [
                each.id,
                f"{each.served_from:%Y-%m-%d %H:%M:%S} UTC",
                number(each.force_months),
                number(each.stops),
                "[green]current[/green]" if each.id == current_id else "",
            ]
            for each in kept
        ],
    )
    if len(kept) == limit:
        say()
        say(f"The newest {limit}; --limit shows more.")


def _show_one(told: dict[str, Any]) -> None:
    say(f"[bold]{told['id']}[/bold]")
    held = f"{many(told['stops'], 'stop')} in {many(told['force_months'], 'force-month')}"
    say(f"served from {told['served_from']}: {held}")
    say()
    table(
        (
            ("force", "left"),
            ("first", "left"),
            ("last", "left"),
            ("held", "right"),
            ("missing", "right"),
            ("stops", "right"),
        ),
        [
            [
                force["id"],
                force["first_held"] or "",
                force["last_held"] or "",
                number(force["held"]),
                number(force["missing"]),
                number(force["stops"]),
            ]
            for force in told["forces"]
        ],
    )
    for each in told.get("revisions", ()):
        say(f"{each['force']} {each['month']} {each['content_digest']} {each['rules_version']}")
    say()
    say(safe(told["id_is"]))
