"""
`stopsearch coverage`: what is held and what is not, force by month.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopsearch.cli.arguments import AsJson, Forces, From, To, read_wanted
from stopsearch.cli.asked_stops import AsOf, InSnapshot
from stopsearch.cli.in_snapshot import opened_snapshot
from stopsearch.cli.opening import begin, need_something_held, opened
from stopsearch.cli.terminal import say, say_json
from stopsearch.settings import Settings

if TYPE_CHECKING:
    from stopsearch.flows.coverage import Coverage
    from stopsearch.flows.plan import Wanted


def coverage(
    force: Forces = None,
    first: From = None,
    last: To = None,
    as_of: AsOf = None,
    snapshot: InSnapshot = None,
    as_json: AsJson = False,
) -> None:
    """
    Show what is held and what is not, force by month.

    It asks nobody: the states rest on the publisher's list as it was last seen, or, of a snapshot, as it was when that
    was first given out. With --json, one object a force-month, one a line: force, month, state, flags, revision,
    received, stored, rejected.
    """
    settings = begin()
    wanted = read_wanted(settings, force, first, last)
    need_something_held(settings, is_named=snapshot is not None)
    from stopsearch.cli.matrix import note_listing, show_matrix

    found = _found(settings, wanted, as_of=as_of, snapshot=snapshot)
    if as_json:
        for cell in found.cells:
            say_json(cell.as_json())
        return
    if not found.cells:
        say("Nothing is known yet. 'stopsearch quickstart' brings a sample in, 'stopsearch plan' asks the publisher.")
        return
    show_matrix(found)
    note_listing(found)


def _found(settings: Settings, wanted: Wanted, *, as_of: str | None, snapshot: str | None) -> Coverage:
    if as_of is None and snapshot is None:
        from stopsearch.flows import coverage as flow

        with opened(settings) as database:
            return flow.coverage(database, wanted)
    from stopsearch.domain.filters import StopFilter
    from stopsearch.flows.snapshot_coverage import snapshot_coverage

    with opened_snapshot(settings, as_of=as_of, snapshot=snapshot) as (_, kept):
        return snapshot_coverage(kept, StopFilter(forces=wanted.forces, first=wanted.first, last=wanted.last))
