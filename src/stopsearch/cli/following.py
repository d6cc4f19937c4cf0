"""
A batch that others run, shown as if it ran here: live from the ledger, and summed up at its end.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from stopsearch.cli.opening import set_logs_up
from stopsearch.cli.progress import Progress, shown
from stopsearch.cli.terminal import note, program, safe, say, say_json
from stopsearch.domain.errors import StopSearchError
from stopsearch.domain.states import BatchStatus
from stopsearch.settings import Settings

if TYPE_CHECKING:
    from stopsearch.flows.batches import BatchReport
    from stopsearch.flows.watch_batch import Look
    from stopsearch.store.batch_reports import BatchEntry
    from stopsearch.store.database import Database

# Where nobody has begun a batch for so long, it is said what it needs.
_UNTAKEN_S = 15.0


def follow_batch(database: Database, settings: Settings, batch_id: int) -> BatchReport:
    """
    Show how a batch goes on until it has ended. Ctrl-C ends the showing, and not the batch.

    Raises:
        StopSearchError: The batch ended as a whole before it was known what is due, as by a publisher out of reach.
    """
    from stopsearch.flows.watch_batch import report_batch, watch_batch

    is_asked_to_end = False
    progress = Progress(is_stopping=lambda: is_asked_to_end, before="Waiting for the batch to begin …")
    began, is_hinted = time.monotonic(), False
    last: BatchEntry | None = None
    try:
        with shown(progress, redirect_logs=lambda: set_logs_up(settings)):
            for look in watch_batch(database, batch_id):
                last = look.batch
                is_asked_to_end = last.cancel_asked_at is not None
                _show(progress, look)
                is_queued = last.status is BatchStatus.QUEUED
                if is_queued and not is_hinted and time.monotonic() - began > _UNTAKEN_S:
                    is_hinted = True
                    note(_untaken(last))
    except (KeyboardInterrupt, SystemExit) as ended:
        if last is None or last.status in (BatchStatus.QUEUED, BatchStatus.RUNNING):
            note("")
            note(f"Batch {batch_id} goes on without being watched.")
            note(f"  {program()} batches follow {batch_id}   shows it again")
            note(f"  {program()} batches cancel {batch_id}   ends it")
        code = ended.code if isinstance(ended, SystemExit) else 130
        raise typer.Exit(int(code or 0)) from None
    assert last is not None  # watching gives a look, or raises
    if last.error is not None:
        raise _as_met(last.error)
    return report_batch(database, last)


def tell_followed(report: BatchReport, *, as_json: bool) -> int:
    """
    Write how a batch ended that was followed, and give the exit code, as of one that ran here.
    """
    from stopsearch.cli.closing import batch_json, exit_code_of, sum_up

    if as_json:
        say_json(batch_json(report))
    elif report.status is BatchStatus.FINISHED and not report.runs:
        say(f"Nothing was due of what was asked for (batch {report.batch_id}).")
    elif report.status is BatchStatus.CANCELLED and not report.runs and report.force_months is None:
        by = f" by {safe(report.cancelled_by)}" if report.cancelled_by else ""
        say(f"Cancelled{by} before it was known what is due (batch {report.batch_id}).")
    else:
        sum_up(report)
    return exit_code_of(report)


def _show(progress: Progress, look: Look) -> None:
    if look.batch.force_months and not progress.total:
        # It may have gone on for a while: the rate is that of the whole.
        since = look.batch.started_at or datetime.now(UTC)
        ago_s = max(0.0, (datetime.now(UTC) - since).total_seconds())
        progress.started = progress.clock() - ago_s
        progress.last_told = progress.clock()
        progress.begin(look.batch.force_months)
    for month in look.begun:
        progress.month_begun(month.force, month.month)
    for month in look.left:
        progress.month_left(month.force, month.month)
    for report in look.ended:
        progress.run_finished(report)


def _untaken(batch: BatchEntry) -> str:
    if not batch.is_distributed:
        return f"Batch {batch.id} waits for a server: 'stopsearch serve' runs it."
    if batch.sent_at is None:
        return f"Batch {batch.id} could not be sent yet: 'stopsearch beat' sends it once RabbitMQ takes it."
    return (
        f"Batch {batch.id} was sent, and is not planned yet: no 'stopsearch worker' runs, "
        "or the publisher does not answer."
    )


def _as_met(error: dict[str, str]) -> StopSearchError:
    """
    Give what ended a batch as the error that it was, with its exit code.
    """
    met = StopSearchError(error["text"])
    met.kind = error["kind"]
    met.exit_code = next((known.exit_code for known in _all_kinds(StopSearchError) if known.kind == met.kind), 1)
    return met


def _all_kinds(kind: type[StopSearchError]) -> list[type[StopSearchError]]:
    return [kind, *(each for below in kind.__subclasses__() for each in _all_kinds(below))]
