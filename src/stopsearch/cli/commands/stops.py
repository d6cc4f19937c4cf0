"""
`stopsearch stops`: the stops that a filter lets through, without a server.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from stopsearch.cli.arguments import AsJson, Forces, From, To
from stopsearch.cli.asked_stops import AsOf, InSnapshot, Where, opened_question
from stopsearch.cli.figures import coverage_line, meta_of
from stopsearch.cli.opening import begin
from stopsearch.cli.terminal import note, safe, say, say_json, table

if TYPE_CHECKING:
    from psycopg import Connection

    from stopsearch.flows.find_stops import Pages

_LONDON = ZoneInfo("Europe/London")
_PAGE = 1000
_COLUMNS = ("force", "type", "gender", "age_range", "object_of_search", "outcome")


def stops(
    force: Forces = None,
    first: From = None,
    last: To = None,
    where: Where = None,
    as_of: AsOf = None,
    snapshot: InSnapshot = None,
    latest: Annotated[bool, typer.Option("--latest", help="The latest first.")] = False,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="How many are shown at most.")] = 20,
    as_json: AsJson = False,
) -> None:
    """
    Show the stops that a filter lets through, by time.

    Filters are those of the HTTP API: all must hold, and of one that is given twice either value will do. Times are
    local. With --json, one object a stop, one a line, with every column. For all of them in a file there is
    'stopsearch export'.
    """
    settings = begin()
    with opened_question(
        settings, forces=force, first=first, last=last, where=where, as_of=as_of, snapshot=snapshot
    ) as (connection, found, asked):
        from stopsearch.flows.find_stops import Pages

        pages = Pages(found, asked, limit=min(limit + 1, _PAGE), is_descending=latest)
        shown: list[Mapping[str, Any]] = []
        is_more = False
        for number, stop in enumerate(_walk(connection, pages)):
            is_more = number == limit
            if is_more:
                break
            if as_json:
                say_json(stop)
            else:
                shown.append(stop)
    if shown:
        table(
            [("local time", "left"), *((_heading(name), "left") for name in _COLUMNS)], [_row(stop) for stop in shown]
        )
    elif not as_json:
        say("No stop is as asked for.")
    if is_more:
        note(f"There are more than these {limit:,}: raise --limit, or take all with 'stopsearch export'.")
    note(coverage_line(meta_of(found, asked, {})))
    note(f"snapshot {found.id}")


def _walk(connection: Connection, pages: Pages) -> Iterator[dict[str, Any]]:
    page = pages.find(connection)
    yield from page.stops()
    while page.last is not None:
        page = pages.find(connection, page.last)
        yield from page.stops()


def _heading(name: str) -> str:
    return {"object_of_search": "object", "age_range": "age"}.get(name, name)


def _row(stop: Mapping[str, Any]) -> list[str]:
    at = datetime.fromisoformat(stop["datetime"]).astimezone(_LONDON)
    # Some forces give dates alone, which stand at midnight: no time is shown that nobody gave.
    local = f"{at:%Y-%m-%d}" if stop["is_month_date_only"] else f"{at:%Y-%m-%d %H:%M}"
    return [local, *(safe(stop[name] or "") for name in _COLUMNS)]
