"""
`stopsearch status`: the state of the database at a glance.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from stopsearch.cli.arguments import AsJson
from stopsearch.cli.as_json import plain
from stopsearch.cli.opening import begin, need_something_held, opened
from stopsearch.cli.terminal import facts, many, safe, say_json, size
from stopsearch.domain.states import BatchStatus

if TYPE_CHECKING:
    from stopsearch.flows.status import Status
    from stopsearch.store.status import BatchFigures


def status(as_json: AsJson = False) -> None:
    """
    Show how much is held and what happened last.
    """
    settings = begin()
    need_something_held(settings, is_named=False)
    from stopsearch.flows import status as flow

    with opened(settings) as database:
        found = flow.status(database)
    if as_json:
        say_json(plain(found))
    else:
        show_status(found)


def show_status(found: Status) -> None:
    """
    Write the state of the database.
    """
    states = ", ".join(f"{count:,} {_words(state)}" for state, count in found.force_months.items() if count)
    flags = ", ".join(f"{count:,} {_words(flag)}" for flag, count in found.flags.items() if count)
    past = found.stops_total - found.stops_current
    lines = [
        ("database", f"{safe(found.database)}, {size(found.database_bytes)}"),
        ("stops", f"{found.stops_current:,} now, {past:,} withdrawn and kept for history"),
        ("force-months", states or "none known yet"),
        ("flags", flags or "none"),
        (
            "newest month",
            f"{found.newest.month}, held of {many(found.newest.forces, 'force')}" if found.newest else "none",
        ),
        (
            "publisher's list",
            f"seen {_at(found.listed_at)}" if found.listed_at else "never seen: 'stopsearch plan' asks",
        ),
        ("last batch", _batch(found.last_batch) if found.last_batch else "none"),
        *(("running", _batch(batch)) for batch in found.running if batch != found.last_batch),
        ("dead letters", _letters(found)),
        (
            "new revisions",
            ", ".join(f"{count:,} by {cause}" for cause, count in found.revisions_by_cause.items() if count)
            or "none in 30 days",
        ),
        *(("call budget", f"{safe(b.upstream)}: {_budget(b.ahead_s)}") for b in found.call_budgets),
        ("snapshot", found.snapshot),
    ]
    facts([(f"[bold]{name}[/bold]", value) for name, value in lines])


def _batch(batch: BatchFigures) -> str:
    runs = ", ".join(f"{count:,} {_words(state)}" for state, count in batch.runs.items() if count) or "no run"
    return (
        f"{batch.id}, {safe(batch.trigger)} by {safe(batch.requested_by)}, {_words(batch.status)}: {runs}; "
        f"{_ended(batch)}"
    )


def _ended(batch: BatchFigures) -> str:
    if batch.ended_at:
        return f"ended {_at(batch.ended_at)}"
    if batch.status is BatchStatus.QUEUED:
        return "a worker plans it" if batch.is_distributed else "a server begins it"
    return "still running" if batch.is_alive else "cut short"


def _letters(found: Status) -> str:
    if not found.open_letters:
        return "none open"
    rules = ", ".join(f"{safe(rule)} {count:,}" for rule, count in found.open_letters_by_rule.items())
    return f"{found.open_letters:,} open: {rules}"


def _budget(ahead_s: float) -> str:
    return f"taken for the next {ahead_s:.1f} s" if ahead_s > 0 else "free"


def _words(name: str) -> str:
    return str(name).replace("_", " ")


def _at(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"
