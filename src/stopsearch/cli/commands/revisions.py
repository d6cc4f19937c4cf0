"""
`stopsearch revisions`: the history of force-months: list it, show it, compare it, take a step back.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from stopsearch.cli.arguments import AsJson, Forces, From, To, Yes, read_known_force, read_wanted
from stopsearch.cli.as_json import plain
from stopsearch.cli.asked_stops import AsOf, InSnapshot
from stopsearch.cli.in_snapshot import opened_snapshot
from stopsearch.cli.opening import begin, need_something_held, opened
from stopsearch.cli.progress import counted
from stopsearch.cli.terminal import say_json
from stopsearch.domain.errors import RequestError
from stopsearch.domain.months import Month
from stopsearch.domain.states import Cause
from stopsearch.settings import Settings

if TYPE_CHECKING:
    from stopsearch.flows.plan import Wanted

app = typer.Typer(help="What changed in force-months, and undo it.", no_args_is_help=True)

ForceArgument = Annotated[str, typer.Argument(metavar="FORCE", help="A police force, by its id.")]
MonthArgument = Annotated[str, typer.Argument(metavar="MONTH", help="A month, YYYY-MM.")]


@app.command("list")
def list_(
    force: Forces = None,
    first: From = None,
    last: To = None,
    cause: Annotated[Cause | None, typer.Option("--cause", help="Only those made for this reason.")] = None,
    only_changes: Annotated[
        bool, typer.Option("--changes", help="Leave out the first revision of each force-month.")
    ] = False,
    as_of: AsOf = None,
    snapshot: InSnapshot = None,
    limit: Annotated[int, typer.Option("--limit", min=1, metavar="N", help="At most so many, the latest.")] = 50,
    as_json: AsJson = False,
) -> None:
    """
    List revisions. With --json, one object a revision, one a line.

    With --as-of or --snapshot, those that had arrived when that was served, as the HTTP API tells them.
    """
    settings = begin()
    wanted = read_wanted(settings, force, first, last)
    need_something_held(settings, is_named=snapshot is not None)
    if as_of is not None or snapshot is not None:
        causes = (cause,) if cause else ()
        _list_arrived(settings, wanted, causes, only_changes, as_of, snapshot, limit=limit, as_json=as_json)
        return
    from stopsearch.cli.history import show_revisions
    from stopsearch.flows.revisions import list_revisions

    with opened(settings) as database:
        found = list_revisions(
            database, wanted, causes=(cause,) if cause else (), only_changes=only_changes, limit=limit
        )
    if as_json:
        for entry in found:
            say_json(plain(entry))
        return
    show_revisions(found, limit=limit)


def _list_arrived(
    settings: Settings,
    wanted: Wanted,
    causes: Sequence[Cause],
    only_changes: bool,
    as_of: str | None,
    snapshot: str | None,
    *,
    limit: int,
    as_json: bool,
) -> None:
    from stopsearch.cli.history import show_revisions
    from stopsearch.domain.filters import StopFilter
    from stopsearch.flows.arrivals import arrival_json, list_arrivals, served_number

    asked = StopFilter(forces=wanted.forces, first=wanted.first, last=wanted.last)
    with opened_snapshot(settings, as_of=as_of, snapshot=snapshot) as (connection, found):
        entries = list_arrivals(connection, found, asked, causes=causes, only_changes=only_changes, limit=limit).entries
    numbers = served_number(found)
    told = [(entry, numbers.get((entry.force, entry.month)) == entry.number) for entry in entries]
    told.sort(key=lambda pair: (pair[0].force, pair[0].month, pair[0].number))
    if as_json:
        for entry, is_served in told:
            say_json(arrival_json(entry, is_served=is_served))
        return
    show_revisions([replace(entry, is_current=is_served) for entry, is_served in told], limit=limit)


@app.command()
def show(
    force: ForceArgument,
    month: MonthArgument,
    number: Annotated[
        int | None, typer.Argument(metavar="NUMBER", help="Without it: the current one.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """
    Show one revision.

    It tells where it came from, what it counts, and what the rules did.
    """
    settings = begin()
    force_id, in_month = _force_month(settings, force, month)
    need_something_held(settings, is_named=True)
    from stopsearch.cli.history import show_one
    from stopsearch.flows.revisions import show_revision

    with opened(settings) as database:
        entry = show_revision(database, force_id, in_month, number)
    if as_json:
        say_json(plain(entry))
    else:
        show_one(entry)


@app.command()
def diff(
    force: ForceArgument,
    month: MonthArgument,
    before: Annotated[
        int | None, typer.Argument(metavar="BEFORE", help="Without it: the one served before.", show_default=False)
    ] = None,
    after: Annotated[
        int | None, typer.Argument(metavar="AFTER", help="Without it: the current one.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """
    Show what changed from one to another.

    It tells the stops added and withdrawn, and of those that can be paired, the fields that changed.
    """
    settings = begin()
    force_id, in_month = _force_month(settings, force, month)
    need_something_held(settings, is_named=True)
    from stopsearch.cli.history import show_diff
    from stopsearch.flows.revisions import diff_revisions

    with opened(settings) as database:
        found = diff_revisions(database, force_id, in_month, before, after)
    if as_json:
        say_json(plain(found))
    else:
        show_diff(found)


@app.command()
def revert(
    force: Annotated[
        str | None, typer.Argument(metavar="FORCE", help="A police force, by its id.", show_default=False)
    ] = None,
    month: Annotated[str | None, typer.Argument(metavar="MONTH", help="A month, YYYY-MM.", show_default=False)] = None,
    to: Annotated[
        int | None, typer.Option("--to", metavar="N", help="The revision to go back to. Without it: the one before.")
    ] = None,
    batch: Annotated[
        int | None, typer.Option("--batch", metavar="ID", help="Take back all that one batch brought in.")
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """
    Go back to what was served before.

    That is for a wrongly loaded archive, say. Nothing is lost: going back is one more revision, of cause "revert". Name
    FORCE and MONTH, or --batch, whose number 'ingest' told at its end, and 'stopsearch status' tells of the last. A
    force-month that had nothing before the batch keeps what it brought, and is told as failed.
    """
    settings = begin()
    if (
        (batch is None) == (force is None)
        or (force is None) != (month is None)
        or (batch is not None and to is not None)
    ):
        raise RequestError(
            "It was not said what to take back.", remedy="Give FORCE and MONTH (and --to N), or --batch ID alone."
        )
    target = _force_month(settings, force, month) if force is not None and month is not None else None
    need_something_held(settings, is_named=True)
    if not yes and not sys.stdin.isatty():
        raise RequestError("Nobody is there to confirm it.", remedy="Add --yes where it is meant.")
    from stopsearch.cli.rebuilt import show_rebuilt
    from stopsearch.flows import rebuild
    from stopsearch.flows.batches import Trigger
    from stopsearch.flows.before_revert import check_batch, edition_to_go_back_to

    trigger = Trigger(name="revert")
    with opened(settings) as database:
        if target is not None:
            edition = edition_to_go_back_to(database, *target, to=to)
            what = f"{target[0]} {target[1]} go back to revision {edition.number}, from {edition.origin}"
            _confirm(what, yes=yes)
            # The very one that was confirmed, whatever has come in meanwhile.
            report = rebuild.revert(database, settings, *target, to=edition.number, trigger=trigger)
        else:
            assert batch is not None  # one of the two was given
            check_batch(database, batch)
            _confirm(f"all that batch {batch} brought in be taken back", yes=yes)
            with counted("taken back") as progress:
                report = rebuild.revert_batch(database, settings, batch, trigger=trigger, progress=progress)
    nothing = f"Batch {batch} made no revision that is current still." if batch is not None else ""
    raise typer.Exit(show_rebuilt(report, as_json=as_json, nothing=nothing))


def _confirm(what: str, *, yes: bool) -> None:
    if not yes:
        typer.confirm(f"Shall {what}?", abort=True, err=True)


def _force_month(settings: Settings, force: str, month: str) -> tuple[str, Month]:
    return read_known_force(settings, force), Month.parse(month)
