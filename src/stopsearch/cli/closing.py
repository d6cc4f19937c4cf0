"""
How a batch is summed up when it has ended: what came in, what did not and why, and what to do next.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from stopsearch.cli.exit_codes import FAILURES, INTERRUPTED, OK
from stopsearch.cli.terminal import duration, many, number, safe, say, table
from stopsearch.domain.errors import SourceError
from stopsearch.domain.states import BatchStatus, RunStatus
from stopsearch.flows.batches import BatchReport
from stopsearch.flows.runs import RunReport

_SHOWN = 20  # failures and refusals that are told one by one; the ledger has them all

_MEANINGS = {
    RunStatus.REVISED: ("green", "new revision"),
    RunStatus.UNCHANGED: ("", "held already"),
    RunStatus.HISTORIC: ("", "older: in history"),
    RunStatus.EMPTY: ("yellow", "no record came"),
    RunStatus.BUSY: ("yellow", "busy elsewhere"),
    RunStatus.FAILED: ("red", "not brought in"),
    RunStatus.REFUSED: ("red", "nothing stored"),
    RunStatus.CANCELLED: ("yellow", "due again"),
}
_WRONG = (RunStatus.FAILED, RunStatus.REFUSED, RunStatus.BUSY)


def sum_up(report: BatchReport) -> None:
    """
    Write the summary of a batch.
    """
    runs = report.runs
    received = sum(run.outcome.received or 0 for run in runs)
    rate = f", {received / report.duration_s:,.0f} records/s" if received and report.duration_s else ""
    requests = f", {many(report.traffic.requests, 'request')}" if report.traffic else ""
    say(
        f"[bold]{many(len(runs), 'force-month')} in {duration(report.duration_s)}[/bold]"
        f"{rate}{requests} (batch {report.batch_id})"
    )
    if report.traffic and (report.traffic.retries or report.traffic.throttled):
        say(
            f"{many(report.traffic.retries, 'request')} had to be tried again; "
            f"{number(report.traffic.throttled)} met the publisher's limit."
        )
    say()
    show_runs(runs)
    show_rules(runs)
    show_trouble(runs)
    show_refusals(report.refusals)
    next_steps = _next_steps(report)
    if next_steps:
        say()
        for step in next_steps:
            say(step)


def show_runs(runs: Sequence[RunReport], *, unchanged: str = "held already") -> None:
    """
    Write the runs by how they ended, with the records of each kind.

    Args:
        unchanged: What it means that nothing changed.
    """
    by_status = Counter(run.outcome.status for run in runs)
    rows = []
    for status, (style, meaning) in _MEANINGS.items():
        if not by_status[status]:
            continue
        counts = [
            sum(getattr(run.outcome, name) or 0 for run in runs if run.outcome.status is status)
            for name in ("received", "stored", "rejected", "added", "withdrawn")
        ]
        if status is RunStatus.UNCHANGED:
            meaning = unchanged
        name = f"[{style}]{status}[/{style}]" if style else str(status)
        has_rows = status in (RunStatus.REVISED, RunStatus.HISTORIC)
        rows.append([name, number(by_status[status]), *(number(c) if has_rows else "" for c in counts), meaning])
    if rows:
        table(
            (
                ("outcome", "left"),
                ("months", "right"),
                ("received", "right"),
                ("stored", "right"),
                ("rejected", "right"),
                ("added", "right"),
                ("withdrawn", "right"),
                ("", "left"),
            ),
            rows,
        )


def show_trouble(runs: Sequence[RunReport]) -> None:
    """
    Write each force-month that went wrong, with its reason.
    """
    wrong = [run for run in runs if run.outcome.status in _WRONG]
    if wrong:
        say()
        say(f"[red]{many(len(wrong), 'force-month')} went wrong:[/red]")
        _list_some([f"{run.force} {run.month}: {run.outcome.error_text}" for run in wrong])


def show_refusals(refusals: Sequence[SourceError]) -> None:
    """
    Write each archive and member that was refused, by name.
    """
    if refusals:
        say()
        say(f"[red]{many(len(refusals), 'file')} refused by name:[/red]")
        _list_some([str(refusal) for refusal in refusals])


def exit_code_of(report: BatchReport) -> int:
    """
    Give the exit code of a batch that ended by itself, or was cancelled from elsewhere.
    """
    if report.status is BatchStatus.CANCELLED:
        return INTERRUPTED
    failed = report.status is BatchStatus.FINISHED_WITH_FAILURES or bool(report.refusals)
    return FAILURES if failed else OK


def batch_json(report: BatchReport) -> dict[str, Any]:
    """
    Give a batch as `ingest --json` prints it.
    """
    traffic = report.traffic
    return {
        "batch": report.batch_id,
        "status": str(report.status),
        "cancelled_by": report.cancelled_by,
        "due": len(report.due),
        "duration_s": round(report.duration_s, 3),
        "requests": traffic.requests if traffic else None,
        "retries": traffic.retries if traffic else None,
        "throttled": traffic.throttled if traffic else None,
        "refusals": [str(refusal) for refusal in report.refusals],
        "runs": [run_json(run) for run in report.runs],
    }


def run_json(run: RunReport) -> dict[str, Any]:
    """
    Give one run as JSON.
    """
    outcome = run.outcome
    return {
        "force": run.force,
        "month": str(run.month),
        "source": str(run.source),
        "status": str(outcome.status),
        "revision": outcome.revision,
        "received": outcome.received,
        "stored": outcome.stored,
        "rejected": outcome.rejected,
        "added": outcome.added,
        "withdrawn": outcome.withdrawn,
        "mended": outcome.mended,
        "rejected_by_rule": outcome.rejected_by_rule,
        "error_kind": outcome.error_kind,
        "error": outcome.error_text,
    }


def show_rules(runs: Sequence[RunReport]) -> None:
    """
    Write how many values were mended, and how many records rejected, by rule.
    """
    for heading, counts in (
        ("Values mended, by rule", [run.outcome.mended for run in runs]),
        ("Records rejected, by rule broken", [run.outcome.rejected_by_rule for run in runs]),
    ):
        total: Counter[str] = Counter()
        for of_one_run in counts:
            total.update(of_one_run)
        if total:
            say()
            say(f"{heading}:")
            width = max(len(f"{count:,}") for count in total.values())
            for rule, count in total.most_common():
                say(f"  {count:>{width},}  {safe(rule)}")


def _list_some(lines: list[str]) -> None:
    for line in lines[:_SHOWN]:
        say(f"  {safe(line)}")
    if len(lines) > _SHOWN:
        say(f"  and {len(lines) - _SHOWN:,} more; --json lists them all.")


def _next_steps(report: BatchReport) -> list[str]:
    if report.status is BatchStatus.CANCELLED:
        stopped = f"Cancelled by {safe(report.cancelled_by)}" if report.cancelled_by else "Stopped"
        return [f"{stopped} with {many(report.left, 'force-month')} to go. Run the same again: it goes on from here."]
    steps = []
    if report.count(RunStatus.FAILED, RunStatus.BUSY):
        steps.append("What failed is due again: run the same again, or 'stopsearch plan' first.")
    if report.count(RunStatus.REFUSED):
        steps.append(
            "A refused month needs a look: 'stopsearch coverage' shows it. STOPSEARCH_REFUSE_SHARE is the limit."
        )
    if sum(run.outcome.rejected or 0 for run in report.runs):
        steps.append("'stopsearch dead-letters list' shows each rejected record with its reasons.")
    if report.count(RunStatus.REVISED) and not steps:
        steps.append("'stopsearch coverage' shows what is held now.")
    return steps
