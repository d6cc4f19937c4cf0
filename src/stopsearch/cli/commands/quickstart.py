"""
`stopsearch quickstart`: a database with real published stops in it, from nothing.
"""

from __future__ import annotations

import typer

from stopsearch.cli.arguments import AsJson
from stopsearch.cli.opening import begin, opened, set_logs_up
from stopsearch.cli.progress import Progress, shown
from stopsearch.cli.stopping import Stopping, run_stoppably
from stopsearch.cli.terminal import say_json


def quickstart(as_json: AsJson = False) -> None:
    """
    Make a database and bring the bundled real sample in.

    No service and no network is needed. Run it again as often as you like: what is held already is not written twice.
    """
    settings = begin()
    from stopsearch.cli.closing import batch_json, exit_code_of
    from stopsearch.cli.tour import show_tour
    from stopsearch.flows.batches import Trigger
    from stopsearch.flows.coverage import coverage
    from stopsearch.flows.quickstart import SampleReport, bring_sample_in
    from stopsearch.flows.status import status

    with opened(settings, migrating=True) as database:

        async def work(stopping: Stopping) -> SampleReport:
            progress = Progress(is_stopping=stopping.event.is_set)

            def watch(total: int) -> Progress:
                stopping.is_under_way = True
                return progress.begin(total)

            with shown(progress, redirect_logs=lambda: set_logs_up(settings)):
                return await bring_sample_in(
                    database,
                    settings,
                    trigger=Trigger(name="quickstart"),
                    watcher=watch,
                    stopping=stopping.event,
                )

        report, stopping = run_stoppably(work)
        if as_json:
            say_json({"archives": batch_json(report.archives), "answers": batch_json(report.answers)})
        else:
            show_tour(report, coverage(database), status(database), was_stopped=stopping.event.is_set())
    if stopping.event.is_set():
        raise typer.Exit(stopping.exit_code)
    raise typer.Exit(max(exit_code_of(report.archives), exit_code_of(report.answers)))
