"""
`stopsearch vocabulary`: the words that fields are given in, as filters take them.
"""

from __future__ import annotations

import difflib
from typing import Annotated

import typer

from stopsearch.cli.arguments import AsJson
from stopsearch.cli.opening import begin
from stopsearch.cli.terminal import safe, say, say_json
from stopsearch.domain.errors import RequestError


def vocabulary(
    field: Annotated[
        str | None, typer.Argument(metavar="FIELD", help="Only this field. Without it: all.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """
    Show the labels of each field, with their broad groups.

    They are the publisher's words; filters take them exactly, and 'none' for stops without one. With --json, one object
    a field, one a line.
    """
    begin()
    from stopsearch.flows.vocabulary import vocabulary as flow

    fields = {entry["field"]: entry for entry in flow()}
    if field is not None and field not in fields:
        near = difflib.get_close_matches(field, fields, n=3, cutoff=0.4) or list(fields)
        raise RequestError(f"No field '{field}' has a list of labels.", remedy=f"Did you mean {' or '.join(near)}?")
    for place, entry in enumerate([fields[field]] if field is not None else fields.values()):
        if as_json:
            say_json(entry)
            continue
        if place:
            say()
        group = f" (groups: {entry['group_field']})" if entry["group_field"] else ""
        say(f"[bold]{entry['field']}[/bold]{group}")
        for label in entry["labels"]:
            of_group = f" [dim]{safe(label['group'])}[/dim]" if label["group"] else ""
            say(f"  {safe(label['label'])}{of_group}")
