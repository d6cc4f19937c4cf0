"""
`stopsearch reprocess`: rebuild force-months from what the publisher sent, with today's rules.
"""

from __future__ import annotations

import typer

from stopsearch.cli.arguments import AsJson, Forces, From, To, read_wanted
from stopsearch.cli.opening import begin, need_something_held, opened
from stopsearch.cli.progress import counted


def reprocess(force: Forces = None, first: From = None, last: To = None, as_json: AsJson = False) -> None:
    """
    Rebuild force-months with today's rules.

    They are made anew from what the publisher sent, which is kept. For after an upgrade that changed the rules. What
    comes out differently is a revision of cause "rules"; the publisher is not asked. Exit code 7: something could not
    be rebuilt; its last revision stays.
    """
    settings = begin()
    wanted = read_wanted(settings, force, first, last)
    need_something_held(settings, is_named=False)
    from stopsearch.cli.rebuilt import show_rebuilt
    from stopsearch.flows import rebuild
    from stopsearch.flows.batches import Trigger

    with opened(settings) as database, counted("rebuilt") as progress:
        report = rebuild.reprocess(database, settings, wanted, trigger=Trigger(name="reprocess"), progress=progress)
    raise typer.Exit(show_rebuilt(report, as_json=as_json, nothing="Nothing of that is held."))
