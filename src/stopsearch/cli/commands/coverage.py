"""
`stopsearch coverage`: what is held and what is not, force by month.
"""

from __future__ import annotations

from stopsearch.cli.arguments import AsJson, Forces, From, To, read_wanted
from stopsearch.cli.opening import begin, need_something_held, opened
from stopsearch.cli.terminal import say, say_json


def coverage(force: Forces = None, first: From = None, last: To = None, as_json: AsJson = False) -> None:
    """
    Show what is held and what is not, force by month.

    It asks nobody: the states rest on the publisher's list as it was last seen. With --json, one object a
    force-month, one a line: force, month, state, flags, revision, received, stored, rejected.
    """
    settings = begin()
    wanted = read_wanted(settings, force, first, last)
    need_something_held(settings, is_named=False)
    from stopsearch.cli.matrix import note_listing, show_matrix
    from stopsearch.flows import coverage as flow

    with opened(settings) as database:
        found = flow.coverage(database, wanted)
    if as_json:
        for cell in found.cells:
            say_json(cell.as_json())
        return
    if not found.cells:
        say("Nothing is known yet. 'stopsearch quickstart' brings a sample in, 'stopsearch plan' asks the publisher.")
        return
    show_matrix(found)
    note_listing(found)
