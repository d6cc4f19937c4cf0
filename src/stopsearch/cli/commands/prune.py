"""
`stopsearch prune`: delete the kept bodies that nothing rests on, by the settings.
"""

from __future__ import annotations

from stopsearch.cli.arguments import AsJson
from stopsearch.cli.as_json import plain
from stopsearch.cli.opening import begin, need_something_held, opened
from stopsearch.cli.terminal import many, say, say_json


def prune(as_json: AsJson = False) -> None:
    """
    Delete old bodies that nothing rests on.

    Old is what was kept for longer than STOPSEARCH_BODY_RETENTION_DAYS. A body is what the publisher sent for one
    force-month, as it came. Those that a revision rests on are never deleted, and without the setting nothing is.
    """
    settings = begin()
    need_something_held(settings, is_named=False)
    from stopsearch.flows import prune as flow

    with opened(settings) as database:
        report = flow.prune(database, settings)
    if as_json:
        say_json(plain(report))
    elif report.kept_before is None:
        say("Nothing was deleted: STOPSEARCH_BODY_RETENTION_DAYS is not set, so every body is kept.")
    else:
        many_bodies = many(report.bodies, "body", "bodies")
        say(f"{many_bodies} deleted, kept before {report.kept_before:%Y-%m-%d %H:%M} UTC and under no revision.")
