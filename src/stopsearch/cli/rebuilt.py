"""
What a rebuild of force-months did, for reprocess, replay and revert.
"""

from __future__ import annotations

from stopsearch.cli.closing import run_json, show_rules, show_runs, show_trouble
from stopsearch.cli.exit_codes import FAILURES, INTERRUPTED, OK
from stopsearch.cli.terminal import many, safe, say, say_json
from stopsearch.domain.states import RunStatus
from stopsearch.flows.rebuild import RebuildReport


def show_rebuilt(report: RebuildReport, *, as_json: bool, nothing: str, as_replay: bool = False) -> int:
    """
    Write what was rebuilt, and give the exit code.

    Args:
        nothing: What to say where there was nothing to rebuild.
        as_replay: Whether dead letters were what it was about.
    """
    failed = any(run.outcome.status in (RunStatus.FAILED, RunStatus.REFUSED, RunStatus.BUSY) for run in report.runs)
    if as_json:
        say_json(
            {
                "batch": report.batch_id,
                "replayed": report.replayed,
                "still_rejected": report.still_rejected,
                "cancelled_by": report.cancelled_by,
                "runs": [run_json(run) for run in report.runs],
            }
        )
    elif not report.runs and report.cancelled_by is None:
        say(nothing)
    else:
        if as_replay:
            say(
                f"{many(report.replayed, 'dead letter')} became stops; "
                f"{many(report.still_rejected, 'dead letter')} still broke a rule and stayed open."
            )
            say()
        show_runs(report.runs, unchanged="the rules give the same")
        show_rules([run for run in report.runs if run.outcome.status is RunStatus.REVISED])
        show_trouble(report.runs)
    if report.cancelled_by is not None:
        if not as_json:
            say(f"Cancelled by {safe(report.cancelled_by)}. What was done stays; run the same again for the rest.")
        return INTERRUPTED
    return FAILURES if failed else OK
