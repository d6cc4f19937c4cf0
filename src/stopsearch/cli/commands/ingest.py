"""
`stopsearch ingest`: bring in what is due from the API, or what is in archives.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from stopsearch.cli.arguments import (
    AsJson,
    Forces,
    From,
    Recheck,
    To,
    check_paths,
    is_untouched,
    read_published,
    read_wanted,
)
from stopsearch.cli.opening import begin, opened, set_logs_up
from stopsearch.cli.progress import Progress, shown
from stopsearch.cli.stopping import Stopping, run_stoppably
from stopsearch.cli.terminal import many, say, say_json
from stopsearch.domain.errors import RequestError
from stopsearch.flows.plan import Wanted
from stopsearch.settings import Settings

if TYPE_CHECKING:
    from stopsearch.flows.batches import BatchReport
    from stopsearch.flows.plan import DueMonth
    from stopsearch.source.api import PoliceApi
    from stopsearch.store.database import Database


class Where(StrEnum):
    """
    Where to bring in from.
    """

    API = "api"
    ARCHIVE = "archive"


def ingest(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH",
            help="Archives: zips, folders of zips or CSV files, addresses of zips.",
            show_default=False,
        ),
    ] = None,
    source: Annotated[
        Where | None, typer.Option(help="Where from. Without it: archives where a PATH is given, else the API.")
    ] = None,
    force: Forces = None,
    first: From = None,
    last: To = None,
    published: Annotated[
        str | None,
        typer.Option(
            metavar="DATE",
            help="When the archives were published, in place of what their names tell: a date, a month, or an instant.",
        ),
    ] = None,
    recheck: Recheck = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Only show what would be brought in. Nothing is written but that a call was made, for the rate limit; "
            "an embedded database is made when it is absent.",
        ),
    ] = False,
    distributed: Annotated[
        bool,
        typer.Option("--distributed", help="Let workers do it, and show how it goes on. Needs STOPSEARCH_BROKER_URL."),
    ] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="With --distributed: leave once it is queued, and tell its number.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """
    Bring in what is due, and nothing else.

    From the API: what the publisher lists, less what is held, of --force, or the forces of STOPSEARCH_FORCES, or all.
    From archives: every force-month in them; an old archive goes into history, never on top.

    Ctrl-C ends it cleanly; the next call goes on from there. With --distributed it ends the showing only: the batch
    goes on, and 'batches follow' and 'batches cancel' reach it. Exit code 7: it went to its end, but something failed
    or was refused.
    """
    settings = begin()
    wanted = read_wanted(settings, force, first, last, recheck=recheck, use_configured=True)
    given = list(paths or ())
    from_archives = source is Where.ARCHIVE or (source is None and bool(given))
    _check_together(from_archives, given, published, recheck=recheck)
    _check_for_workers(from_archives, distributed=distributed, no_wait=no_wait)
    check_paths(given)
    published_at = read_published(published) if published is not None else None
    if distributed and not dry_run:
        from stopsearch.cli.by_workers import ingest_by_workers

        raise typer.Exit(ingest_by_workers(settings, wanted, is_watched=not no_wait, as_json=as_json))

    from stopsearch.cli.closing import exit_code_of
    from stopsearch.flows.batches import Trigger
    from stopsearch.flows.ingest_from_api import ingest_from_api
    from stopsearch.flows.ingest_from_archives import ingest_from_archives, look_at_archives

    if from_archives and is_untouched(settings):
        # A file that is no archive must not leave a database behind.
        seen = look_at_archives(settings, wanted, paths=given, published=published_at)
        if dry_run or not seen.due:
            _tell(seen, from_archives=True, as_json=as_json)
            raise typer.Exit(exit_code_of(seen))

    with opened(settings) as database:
        if dry_run and not from_archives:
            _show_plan(database, settings, wanted, as_json=as_json)
            return

        async def work(stopping: Stopping) -> BatchReport:
            progress = Progress(is_stopping=stopping.event.is_set)

            def watch(due: list[DueMonth], api: PoliceApi | None = None) -> Progress:
                stopping.is_under_way = True
                return progress.begin(len(due), (lambda: api.traffic) if api else None)

            trigger = Trigger(name="ingest")
            with shown(progress, redirect_logs=lambda: set_logs_up(settings)):
                if from_archives:
                    return await ingest_from_archives(
                        database,
                        settings,
                        wanted,
                        paths=given,
                        trigger=trigger,
                        published=published_at,
                        watcher=watch,
                        stopping=stopping.event,
                        dry_run=dry_run,
                    )
                return await ingest_from_api(
                    database, settings, wanted, trigger=trigger, watcher=watch, stopping=stopping.event
                )

        report, stopping = run_stoppably(work)
    _tell(report, from_archives=from_archives, as_json=as_json)
    raise typer.Exit(stopping.exit_code if stopping.event.is_set() else exit_code_of(report))


def _tell(report: BatchReport, *, from_archives: bool, as_json: bool) -> None:
    from stopsearch.cli.closing import batch_json, sum_up

    if as_json:
        say_json(batch_json(report))
    elif report.batch_id is None:
        _show_nothing_done(report, from_archives=from_archives)
    else:
        sum_up(report)


def _check_together(from_archives: bool, paths: list[str], published: str | None, *, recheck: bool) -> None:
    if from_archives and not paths:
        raise RequestError(
            "--source archive needs a PATH.", remedy="Name a zip, a folder of zips or CSV files, or an address."
        )
    if not from_archives and paths:
        raise RequestError(
            f"--source api takes no PATH, but '{paths[0]}' was given.", remedy="Leave one of the two out."
        )
    if not from_archives and published is not None:
        raise RequestError(
            "--published is for archives; the API's answers are dated by when they are fetched.", remedy="Leave it out."
        )
    if from_archives and recheck:
        raise RequestError(
            "--recheck is for the API; what is in an archive is always looked at.", remedy="Leave it out."
        )


def _check_for_workers(from_archives: bool, *, distributed: bool, no_wait: bool) -> None:
    if distributed and from_archives:
        raise RequestError(
            "--distributed is for the API: archives are files of this machine, and workers may run on others.",
            remedy="Leave --distributed out.",
        )
    if no_wait and not distributed:
        raise RequestError("--no-wait goes with --distributed.", remedy="Leave it out, or add --distributed.")


def _show_plan(database: Database, settings: Settings, wanted: Wanted, *, as_json: bool) -> None:
    import asyncio

    from stopsearch.cli.commands.plan import show_plan
    from stopsearch.flows.ingest_from_api import plan_from_api

    availability, due = asyncio.run(plan_from_api(database, settings, wanted, record=False))
    show_plan(availability, due, wanted, settings, as_json=as_json)


def _show_nothing_done(report: BatchReport, *, from_archives: bool) -> None:
    from stopsearch.cli.closing import show_refusals
    from stopsearch.cli.commands.plan import show_due

    if report.due:
        say(f"{many(len(report.due), 'force-month')} would be looked at; what is held already is not written again.")
        show_due(report.due)
    elif from_archives:
        say("Nothing in these archives is of the forces and months asked for.")
    else:
        say("Nothing is due: all that was asked for is held, or was looked at lately. --recheck looks again.")
    show_refusals(report.refusals)
