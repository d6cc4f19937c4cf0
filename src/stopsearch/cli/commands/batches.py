"""
`stopsearch batches`: what was asked for, how it stands, and its end if you want it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from stopsearch.cli.arguments import AsJson
from stopsearch.cli.as_json import plain
from stopsearch.cli.following import follow_batch, tell_followed
from stopsearch.cli.opening import begin, need_something_held, opened
from stopsearch.cli.terminal import duration, facts, many, number, safe, say, say_json, table
from stopsearch.domain.states import BatchStatus, RunStatus

if TYPE_CHECKING:
    from stopsearch.store.batch_progress import MonthProgress, QueueProgress
    from stopsearch.store.batch_reports import BatchEntry

app = typer.Typer(help="What was asked for, and how it stands; cancel it.", no_args_is_help=True)

BatchId = Annotated[int, typer.Argument(metavar="N", min=1, max=2**31 - 1, help="The batch's number.")]

_SHOWN = 20  # force-months that went wrong or are tried again, told one by one; --json has them all
_WRONG = (RunStatus.FAILED, RunStatus.REFUSED, RunStatus.BUSY)
_STYLES = {
    BatchStatus.QUEUED: "yellow",
    BatchStatus.RUNNING: "cyan",
    BatchStatus.FINISHED: "green",
    BatchStatus.FINISHED_WITH_FAILURES: "red",
    BatchStatus.CANCELLED: "yellow",
}


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option("--limit", min=1, metavar="N", help="At most so many, the newest.")] = 20,
    as_json: AsJson = False,
) -> None:
    """
    List the batches of every trigger, the newest first.

    With --json, one object a batch, one a line.
    """
    settings = begin()
    need_something_held(settings, is_named=False)
    from stopsearch.store.batch_reports import list_batches

    with opened(settings) as database, database.connect(autocommit=True) as connection:
        batches = list_batches(connection, limit=limit)
    if as_json:
        for batch in batches:
            say_json(plain(batch))
        return
    if not batches:
        say("Nothing was asked for yet. 'stopsearch ingest' brings in what is due.")
        return
    table(
        (
            ("batch", "right"),
            ("asked for at (UTC)", "left"),
            ("started by", "left"),
            ("done", "right"),
            ("of", "right"),
            ("took", "right"),
            ("how it stands", "left"),
        ),
        [
            [
                str(batch.id),
                f"{batch.asked_at:%Y-%m-%d %H:%M}",
                safe(_trigger(batch)),
                number(batch.ended),
                number(batch.force_months),
                _took(batch),
                _status(batch),
            ]
            for batch in batches
        ],
    )
    if len(batches) == limit:
        say()
        say(f"The newest {limit}; --limit shows more.")


@app.command()
def show(batch_id: BatchId, as_json: AsJson = False) -> None:
    """
    Show one: how it stands, and what of it went wrong or is tried again.

    With --json, also each of its force-months.
    """
    settings = begin()
    need_something_held(settings, is_named=True)
    from stopsearch.store.batch_progress import months_of_batch, queues_of_batch
    from stopsearch.store.batch_reports import find_batch

    with opened(settings) as database, database.connect(autocommit=True) as connection:
        batch = find_batch(connection, batch_id)
        months = months_of_batch(connection, batch_id, is_distributed=batch.is_distributed)
        queues = queues_of_batch(connection, batch_id)
    if as_json:
        say_json({**plain(batch), "queues": plain(queues), "months": [_month_json(month) for month in months]})
        return
    _show_facts(batch)
    if queues:
        say()
        _show_queues(queues)
    _list_months("went wrong", [month for month in months if month.has_ended and month.outcome.status in _WRONG])
    _list_months("tried again later", [month for month in months if month.next_at is not None])
    if batch.status in (BatchStatus.QUEUED, BatchStatus.RUNNING):
        say()
        say(f"'stopsearch batches follow {batch_id}' shows how it goes on, 'batches cancel {batch_id}' ends it.")


@app.command()
def follow(batch_id: BatchId, as_json: AsJson = False) -> None:
    """
    Show how one goes on until it has ended, and sum it up.

    It does not matter who runs it. Ctrl-C ends the showing, and not the batch. The exit code is that of an 'ingest'
    that ended so.
    """
    settings = begin()
    need_something_held(settings, is_named=True)
    with opened(settings) as database:
        code = tell_followed(follow_batch(database, settings, batch_id), as_json=as_json)
    raise typer.Exit(code)


@app.command()
def cancel(batch_id: BatchId, as_json: AsJson = False) -> None:
    """
    End one, whoever runs it: another command, a server, or workers.

    What is being stored is finished first. What was brought in stays, and what was not is due again.
    """
    settings = begin()
    need_something_held(settings, is_named=True)
    from stopsearch.flows.batches import Trigger
    from stopsearch.flows.cancel_batch import cancel_batch

    with opened(settings) as database:
        batch = cancel_batch(database, batch_id, requested_by=Trigger(name="cancel").requested_by)
    if as_json:
        say_json(plain(batch))
    elif batch.status is BatchStatus.CANCELLED:
        say(f"Batch {batch_id} is cancelled. What it brought in stays; what it did not is due again.")
    else:
        say(f"Batch {batch_id} ends as soon as what is being stored is finished.")


def _show_facts(batch: BatchEntry) -> None:
    say(f"[bold]Batch {batch.id}[/bold]: {_status(batch)}")
    of = f" of {batch.force_months:,}" if batch.force_months is not None else ""
    runs = ", ".join(f"{count:,} {status}" for status, count in batch.runs.items() if count)
    lines = [
        ("asked for", _asked_for(batch)),
        ("by", f"{safe(batch.requested_by)}, {_at(batch.asked_at)}"),
        ("run by", _run_by(batch)),
        ("began", _at(batch.started_at) if batch.started_at else "never" if batch.ended_at else "not yet"),
    ]
    if batch.ended_at is not None:
        lines.append(("ended", f"{_at(batch.ended_at)}, after {_took(batch)}" if _took(batch) else _at(batch.ended_at)))
    if batch.cancel_asked_at is not None:
        lines.append(("cancelled", f"{_at(batch.cancel_asked_at)}, by {safe(batch.cancel_asked_by)}"))
    lines.append(("force-months", f"{batch.ended:,}{of} done with"))
    lines.append(("runs", runs or "none"))
    if batch.error is not None:
        lines.append(("error", safe(batch.error["text"])))
    if batch.refused:
        lines.append(("refused", f"{many(batch.refused_count, 'file')}: {safe('; '.join(batch.refused))}"))
    facts([(f"[bold]{name}[/bold]", value) for name, value in lines])


def _show_queues(queues: Sequence[QueueProgress]) -> None:
    table(
        (
            ("queue", "left"),
            ("wait", "right"),
            ("on the way", "right"),
            ("again", "right"),
            ("next at (UTC)", "left"),
            ("done", "right"),
            ("failed", "right"),
        ),
        [
            [
                queue.queue,
                number(queue.waiting),
                number(queue.on_the_way),
                number(queue.again),
                f"{queue.next_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if queue.next_at else "",
                number(queue.ended),
                f"[red]{queue.failed:,}[/red]" if queue.failed else "0",
            ]
            for queue in queues
        ],
    )


def _list_months(what: str, months: Sequence[MonthProgress]) -> None:
    if not months:
        return
    say()
    say(f"{many(len(months), 'force-month')} {what}:")
    for month in months[:_SHOWN]:
        at = f", next at {month.next_at.astimezone(UTC):%H:%M:%S}" if month.next_at else ""
        text = f": {month.outcome.error_text}" if month.outcome.error_text else ""
        say(f"  {safe(f'{month.force} {month.month} {month.outcome.status}{at}{text}')}")
    if len(months) > _SHOWN:
        say(f"  and {len(months) - _SHOWN:,} more; --json lists them all.")


def _month_json(month: MonthProgress) -> dict[str, object]:
    outcome = month.outcome
    return {
        "force": month.force,
        "month": str(month.month),
        "source": str(month.source),
        "status": str(outcome.status),
        "has_ended": month.has_ended,
        "next_at": month.next_at.isoformat() if month.next_at else None,
        "revision": outcome.revision,
        "received": outcome.received,
        "stored": outcome.stored,
        "rejected": outcome.rejected,
        "error_kind": outcome.error_kind,
        "error": outcome.error_text,
    }


def _status(batch: BatchEntry) -> str:
    words = str(batch.status).replace("_", " ")
    if batch.status is BatchStatus.RUNNING and batch.cancel_asked_at is not None:
        words = "being cancelled"
    elif batch.status is BatchStatus.RUNNING and not batch.is_alive:
        words = "cut short"
    style = _STYLES[batch.status]
    return f"[{style}]{words}[/{style}]"


def _trigger(batch: BatchEntry) -> str:
    return f"{batch.trigger} (workers)" if batch.is_distributed else batch.trigger


def _run_by(batch: BatchEntry) -> str:
    if batch.is_distributed:
        is_untold = batch.status is BatchStatus.QUEUED and batch.sent_at is None
        return "workers, who are told once RabbitMQ is back" if is_untold else "workers"
    return "a server" if batch.trigger == "http" else f"the command '{safe(batch.trigger)}'"


def _asked_for(batch: BatchEntry) -> str:
    """
    Put what was asked for into words, as far as it was written down.
    """
    asked = batch.asked_for
    if asked.get("kind") == "replay" or asked.get("cause") == "replay":
        what = "replay of dead letters"
    elif asked.get("source") == "kept":
        what = f"kept content, for {asked.get('cause', 'rules')}"
    elif asked.get("source") == "archive":
        what = "archives " + ", ".join(str(name) for name in asked.get("archives") or ())
    else:
        what = "what is due"
    forces = [str(force) for force in asked.get("forces") or filter(None, [asked.get("force")])]
    first, last = asked.get("from"), asked.get("to")
    months = {
        (True, True): f"{first} to {last}" if first != last else str(first),
        (True, False): f"from {first}",
        (False, True): f"up to {last}",
    }.get((bool(first), bool(last)), str(asked.get("month") or ""))
    parts = [
        what,
        f"of {', '.join(forces)}" if forces else "",
        f"({months})" if months else "",
        "and what is held, for revisions" if asked.get("recheck") else "",
    ]
    return safe(" ".join(part for part in parts if part))


def _took(batch: BatchEntry) -> str:
    if batch.started_at is None:
        return ""
    end = batch.ended_at or (datetime.now(UTC) if batch.is_alive else None)
    return duration((end - batch.started_at).total_seconds()) if end is not None else ""


def _at(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
