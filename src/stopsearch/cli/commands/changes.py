"""
`stopsearch changes`: stops added and withdrawn between two snapshots, for whoever keeps a copy.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stopsearch.cli.arguments import AsJson, Forces, From, To, read_wanted
from stopsearch.cli.asked_stops import AsOf, InSnapshot
from stopsearch.cli.in_snapshot import check_id, opened_snapshot
from stopsearch.cli.opening import begin, need_something_held
from stopsearch.cli.terminal import number, say, say_json, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import Connection

    from stopsearch.domain.filters import StopFilter
    from stopsearch.store.snapshots import Snapshot

_PAGE = 1000


def changes(
    since: Annotated[
        str, typer.Argument(metavar="SINCE", help="The snapshot that you hold: its id, or 12 digits at least.")
    ],
    force: Forces = None,
    first: From = None,
    last: To = None,
    as_of: AsOf = None,
    snapshot: InSnapshot = None,
    as_json: AsJson = False,
) -> None:
    """
    Show what leads from one snapshot to another.

    With --json, one change a line, by the stops' ids: take the withdrawn ones out of your copy of SINCE, then put the
    added ones in, and you hold the snapshot that is told on standard error. SINCE may also be the newer of the two.
    """
    settings = begin()
    wanted = read_wanted(settings, force, first, last)
    check_id(since)
    need_something_held(settings, is_named=True)
    from stopsearch.domain.filters import StopFilter
    from stopsearch.store.snapshots import find_snapshot

    asked = StopFilter(forces=wanted.forces, first=wanted.first, last=wanted.last)
    counts: Counter[tuple[str, str, str]] = Counter()
    with opened_snapshot(settings, as_of=as_of, snapshot=snapshot) as (connection, new):
        for change in _walk(connection, find_snapshot(connection, since), new, asked):
            if as_json:
                say_json(change)
            else:
                counts[change["stop"]["force"], change["stop"]["month"], change["change"]] += 1
    if not as_json:
        _show(counts)


def _walk(connection: Connection, old: Snapshot, new: Snapshot, asked: StopFilter) -> Iterator[dict[str, Any]]:
    from stopsearch.flows.changes import changed_stops, changes_between

    page = changes_between(connection, old, new, asked, limit=_PAGE)
    yield from changed_stops(connection, page)
    while page.next is not None:
        page = changes_between(connection, old, new, asked, after=page.next, limit=_PAGE)
        yield from changed_stops(connection, page)


def _show(counts: Counter[tuple[str, str, str]]) -> None:
    months = sorted({(force, month) for force, month, _ in counts})
    if not months:
        say("Nothing is added or withdrawn between the two.")
        return
    table(
        (("force", "left"), ("month", "left"), ("added", "right"), ("withdrawn", "right")),
        [[*month, number(counts[(*month, "added")]), number(counts[(*month, "withdrawn")])] for month in months],
    )
