"""
What `quickstart` tells at its end: what came in, whether it adds up, what is held, and what to try next.
"""

from __future__ import annotations

from collections.abc import Sequence

from stopsearch.cli.closing import show_rules, show_trouble
from stopsearch.cli.matrix import show_matrix
from stopsearch.cli.terminal import duration, facts, many, number, program, safe, say, table
from stopsearch.domain.states import MonthState, RunStatus
from stopsearch.flows.coverage import Coverage
from stopsearch.flows.quickstart import SampleReport
from stopsearch.flows.runs import RunReport
from stopsearch.flows.status import Status

_NEXT = (
    ("coverage", "this matrix"),
    ("serve", "all of it over HTTP, with a page at /docs"),
    ("export --output stops.csv", "every stop, in one file"),
    ("revisions diff durham 2020-01", "what was restated"),
    ("db shell", "SQL; try TABLE stop_in_words"),
    ("plan --force durham", "what data.police.uk has"),
    ("ingest --force durham", "bring that in"),
)


def show_tour(report: SampleReport, coverage: Coverage, status: Status, *, was_stopped: bool) -> None:
    """
    Write the summary of a quickstart.
    """
    runs = [*report.archives.runs, *report.answers.runs]
    if was_stopped:
        say(f"Stopped after {many(len(runs), 'force-month')}. Run it again: it goes on from there.")
        return
    revised = [run for run in runs if run.outcome.status is RunStatus.REVISED]
    if revised:
        say(
            f"[bold]{many(len(revised), 'published file')} brought in, in {duration(report.duration_s)}.[/bold]"
            " They are real:"
        )
        say("stops as published at data.police.uk under the Open Government Licence v3.0.")
        say()
        _show_sum(revised)
        _show_restated(revised)
        show_rules(revised)
    else:
        say(
            f"[bold]Unchanged:[/bold] the sample's {many(len(runs), 'published file')} are held already."
            " Nothing was written."
        )
    show_trouble(runs)
    say()
    held = status.force_months[MonthState.HELD]
    say(
        f"[bold]Held now:[/bold] {many(status.stops_current, 'stop')} in {many(held, 'force-month')}"
        f" of {many(len(coverage.forces), 'force')}, in the {safe(status.database)}."
    )
    say()
    show_matrix(coverage)
    say()
    say("[bold]What to try next[/bold]")
    facts([(f"  [cyan]{program()} {command}[/cyan]", gives) for command, gives in _NEXT])


def _show_sum(revised: Sequence[RunReport]) -> None:
    received, stored, rejected = (
        sum(getattr(run.outcome, name) or 0 for run in revised) for name in ("received", "stored", "rejected")
    )
    adds_up = (
        "so every record is accounted for" if received == stored + rejected else "[red]which does not add up[/red]"
    )
    say(f"{number(received)} records received = {number(stored)} stored + {number(rejected)} rejected, {adds_up}.")
    mended = sum(sum(run.outcome.mended.values()) for run in revised)
    if not rejected:
        say("No record broke the contract; one that does is kept as a dead letter, never dropped.")
    if not mended:
        say("No value had to be mended; where one is, it is counted under the name of its rule.")


def _show_restated(revised: Sequence[RunReport]) -> None:
    restated = [run for run in revised if (run.outcome.revision or 0) > 1]
    if not restated:
        return
    say()
    say(f"{many(len(restated), 'force-month')} came twice, in an earlier edition and as the publisher restated it:")
    table(
        (
            ("force", "left"),
            ("month", "left"),
            ("revision", "right"),
            ("withdrawn", "right"),
            ("added", "right"),
            ("stops now", "right"),
        ),
        [
            [
                run.force,
                str(run.month),
                number(run.outcome.revision),
                number(run.outcome.withdrawn),
                number(run.outcome.added),
                number(run.outcome.stored),
            ]
            for run in restated
        ],
    )
