"""
How revisions and what changed between them are shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from stopsearch.cli.terminal import Align, facts, is_wide, many, number, safe, say, size, table
from stopsearch.domain.states import Standing
from stopsearch.flows.compare_stops import FieldChange, Row
from stopsearch.flows.revisions import RevisionDiff
from stopsearch.store.history import RevisionEntry


def show_revisions(found: Sequence[RevisionEntry], *, limit: int) -> None:
    """
    Write revisions as a table.
    """
    if not found:
        say("No revision is among what was asked for.")
        return
    columns: list[tuple[str, Align]] = [
        ("force", "left"),
        ("month", "left"),
        ("rev", "right"),
        ("cause", "left"),
        ("standing", "left"),
        ("stored", "right"),
        ("added", "right"),
        ("withdrawn", "right"),
        ("from", "left"),
    ]
    # A narrow terminal has no room for where each came from; 'show' tells it.
    shown = len(columns) if is_wide() else len(columns) - 1
    rows = [
        [
            entry.force,
            str(entry.month),
            number(entry.number),
            str(entry.cause),
            standing(entry),
            number(entry.stored),
            number(entry.added),
            number(entry.withdrawn),
            safe(_short(entry.origin)),
        ]
        for entry in found
    ]
    table(columns[:shown], [row[:shown] for row in rows])
    if len(found) == limit:
        say()
        say(f"The latest {limit}; --limit shows more.")


def standing(entry: RevisionEntry) -> str:
    """
    Say in a word how a revision stands.
    """
    if entry.is_current:
        return "[green]current[/green]"
    return "historic" if entry.standing is Standing.HISTORIC else "past"


def show_one(entry: RevisionEntry) -> None:
    """
    Write all that is known of one revision.
    """
    say(f"[bold]{entry.force} {entry.month}, revision {entry.number}[/bold] ({standing(entry)})")
    served = "never, it is kept as history"
    if entry.served_from is not None:
        served = f"{_at(entry.served_from)} to {_at(entry.served_until) if entry.served_until else 'now'}"
    flags = [
        name
        for name, is_set in (
            ("restated", entry.is_restated),
            ("doubled", entry.is_doubled),
            ("date-only", entry.is_date_only),
        )
        if is_set
    ]
    body = f"kept, {size(entry.body_bytes)}" if entry.body_bytes is not None else "pruned"
    counts = f"{entry.received:,} received = {entry.stored:,} stored + {entry.rejected:,} rejected"
    lines = [
        ("cause", str(entry.cause)),
        ("served", served),
        ("from", f"{entry.source}: {safe(entry.origin)}"),
        ("published", _at(entry.published_at)),
        ("fetched", _at(entry.fetched_at)),
        ("records", counts),
        ("stops", f"{entry.added:,} added, {entry.withdrawn:,} withdrawn"),
        ("flags", ", ".join(flags) or "none"),
        ("mended", _counts(entry.mended)),
        ("rejected", _counts(entry.rejected_by_rule)),
        ("body", f"{body}, SHA-256 {entry.body_digest}"),
        ("content", f"SHA-256 {entry.content_digest}"),
        ("rules", f"version {entry.rules_version}; identity version {entry.identity_version}"),
        ("batch", f"{entry.batch_id}, run {entry.run_id}"),
        ("quality", _quality(entry.quality)),
    ]
    facts([(f"  [bold]{name}[/bold]", value) for name, value in lines])


def show_diff(diff: RevisionDiff) -> None:
    """
    Write what changed between two revisions.
    """
    before, after, changes = diff.before, diff.after, diff.changes
    say(f"[bold]{diff.force} {diff.month}: revision {before.number} to {after.number}[/bold]")
    for entry in (before, after):
        say(f"  {entry.number}: {safe(entry.origin)}, {many(entry.stored, 'stop')}, cause {entry.cause}")
    say()
    say(f"{changes.kept:,} kept, {changes.withdrawn:,} withdrawn, {changes.added:,} added.")
    if changes.changed:
        say(f"Of those, {many(changes.changed, 'pair')} of withdrawn and added can be told to be one record, changed:")
        _show_fields(changes.by_field)
    if changes.remade_by_field:
        say("Kept stops to which our own rules gave another value:")
        _show_fields(changes.remade_by_field)
    _show_rows("Added, and no change of another (a sample)", changes.added_sample)
    _show_rows("Withdrawn, and no change of another (a sample)", changes.withdrawn_sample)
    for revision in diff.read_by_todays_rules:
        say(f"Revision {revision} was never served; it was read from its kept body by today's rules.")


def _show_fields(fields: Sequence[FieldChange]) -> None:
    for field in fields:
        say(f"  [bold]{field.field}[/bold], {many(field.records, 'record')}")
        for value in field.values:
            say(f"    {value.records:>7,}  {_value(value.before)} -> {_value(value.after)}")


def _show_rows(heading: str, rows: Sequence[Row]) -> None:
    if not rows:
        return
    say()
    say(f"{heading}:")
    for row in rows:
        given = {name: value for name, value in row.items() if value is not None and name not in ("id", "datetime")}
        say(f"  {row.get('datetime')}  " + "; ".join(_value(value) for value in given.values()))


def _value(value: Any) -> str:
    return "[dim](empty)[/dim]" if value is None else safe(value)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{safe(rule)} {count:,}" for rule, count in counts.items()) or "none"


def _quality(figures: dict[str, Any]) -> str:
    parts = []
    for name, value in figures.items():
        words = name.replace("_", " ")
        if isinstance(value, dict):
            inner = ", ".join(f"{safe(part)} {_figure(figure)}" for part, figure in value.items())
            parts.append(f"{words}: {inner or 'none'}")
        else:
            parts.append(f"{words}: {_figure(value)}")
    return "; ".join(parts)


def _figure(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else safe(value)


def _short(origin: str) -> str:
    archive, mark, _ = origin.partition("!")  # a member is named after its force and month, which stand beside it
    if mark:
        return archive
    return origin if len(origin) <= 40 else f"…{origin[-39:]}"


def _at(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"
