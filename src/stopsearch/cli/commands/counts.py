"""
`stopsearch counts`: totals by up to three groups.
"""

from __future__ import annotations

import difflib
from typing import Annotated

import typer

from stopsearch.cli.arguments import AsJson, Forces, From, To
from stopsearch.cli.asked_stops import AsOf, InSnapshot, Where, opened_question
from stopsearch.cli.figures import coverage_line, meta_of
from stopsearch.cli.opening import begin
from stopsearch.cli.terminal import Align, note, number, safe, say, say_json, table
from stopsearch.domain.errors import RequestError
from stopsearch.domain.grouping import MOST_GROUPS, Group

By = Annotated[
    list[str] | None,
    typer.Option(
        "--by",
        metavar="GROUP",
        help=f"Group by up to {MOST_GROUPS} of {', '.join(Group)}. Give it again, or commas between, for several.",
    ),
]


def counts(
    by: By = None,
    force: Forces = None,
    first: From = None,
    last: To = None,
    where: Where = None,
    as_of: AsOf = None,
    snapshot: InSnapshot = None,
    as_json: AsJson = False,
) -> None:
    """
    Count stops, in all or by groups.

    It counts what a snapshot serves: what is served now, unless another is asked for. Combinations without a stop are
    not listed; a force-month that is missing is unknown and never zero, and is told of. With --json, one object: data,
    with an object a row, and meta, with the snapshot and every gap.
    """
    settings = begin()
    groups = _read_groups(by)
    with opened_question(
        settings, forces=force, first=first, last=last, where=where, as_of=as_of, snapshot=snapshot
    ) as (connection, found, asked):
        from stopsearch.flows.count_stops import count_stops

        counted = count_stops(connection, found, asked, groups)
    meta = meta_of(found, asked, counted.about())
    if as_json:
        names = [*counted.by, "stops"]
        say_json({"data": [dict(zip(names, row, strict=True)) for row in counted.rows()], "meta": meta})
        return
    columns: list[tuple[str, Align]] = [*((str(group), "left") for group in counted.by), ("stops", "right")]
    rows = [
        [*("[dim]not given[/dim]" if value is None else safe(str(value)) for value in row[:-1]), number(row[-1])]
        for row in counted.rows()
    ]
    if rows:
        table(columns, rows)
    else:
        say("No stop is as asked for." if meta["coverage"]["held"] else "Nothing is held of what was asked for.")
    say()
    say(f"Snapshot {found.id[:12]}.")
    note(coverage_line(meta))


def _read_groups(by: list[str] | None) -> tuple[Group, ...]:
    groups = []
    for word in (part.strip() for given in by or () for part in given.split(",")):
        if word not in list(Group):
            near = difflib.get_close_matches(word, list(Group), n=3)
            raise RequestError(
                f"Totals can't be grouped by '{word}'.",
                remedy=f"Did you mean {' or '.join(near)}?" if near else "'stopsearch counts --help' lists what by.",
            )
        groups.append(Group(word))
    return tuple(groups)
