"""
Which stops are asked for on the command line, of which snapshot: the same parameters as over HTTP, by the same table.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlencode

import typer

from stopsearch.cli.arguments import read_wanted
from stopsearch.cli.opening import need_something_held, opened
from stopsearch.domain.errors import BadQuery, RequestError
from stopsearch.settings import Settings

if TYPE_CHECKING:
    from psycopg import Connection

    from stopsearch.domain.filters import StopFilter
    from stopsearch.serve.parameters import Asked
    from stopsearch.store.snapshots import Snapshot

Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        "-w",
        metavar="NAME=VALUE",
        help="A further filter, by its name over HTTP: outcome=Arrest, gender=none, located=false, "
        "datetime_from=2020-02-01, bbox=-1.2,52.5,-1.0,52.7. Give it again for more.",
    ),
]
AsOf = Annotated[
    str | None,
    typer.Option(
        "--as-of", metavar="INSTANT", help="As it was served then: 2026-03-31T12:00:00Z, or a date, whose end counts."
    ),
]
InSnapshot = Annotated[
    str | None, typer.Option("--snapshot", metavar="ID", help="Of this snapshot, by its id or its first 12 digits.")
]


@contextmanager
def opened_question(
    settings: Settings,
    *,
    forces: Sequence[str] | None,
    first: str | None,
    last: str | None,
    where: Sequence[str] | None = None,
    as_of: str | None,
    snapshot: str | None,
) -> Iterator[tuple[Connection, Snapshot, StopFilter]]:
    """
    Read what was asked for, and give a connection, the snapshot that it is asked of, and the filter.

    Where no database has been made yet, none is.

    Args:
        where: Further filters, as NAME=VALUE.

    Raises:
        RequestError: A filter is unknown, or a value can't be meant; every fault is named.
    """
    wanted = read_wanted(settings, forces, first, last)
    need_something_held(settings, is_named=snapshot is not None)
    from stopsearch.flows.asked_snapshot import asked_snapshot
    from stopsearch.store.forces import known_forces

    single = [("from", first), ("to", last), ("as_of", as_of), ("snapshot", snapshot)]
    pairs = [
        *(("force", force) for force in wanted.forces),
        *((name, value) for name, value in single if value is not None),
        *map(_pair, where or ()),
    ]
    with opened(settings) as database, database.connect(autocommit=True) as connection:
        asked = _read(pairs, known_forces=known_forces(connection))
        yield connection, asked_snapshot(connection, as_of=asked.as_of, snapshot=asked.snapshot), asked.filter


def _read(pairs: list[tuple[str, str]], *, known_forces: Collection[str]) -> Asked:
    from starlette.requests import Request

    from stopsearch.serve.parameters import FILTERS, MOMENT, read_query

    query = urlencode(pairs).encode()
    request = Request({"type": "http", "method": "GET", "path": "/v1/stops", "headers": [], "query_string": query})
    try:
        return read_query(request, (*FILTERS, *MOMENT), known_forces=known_forces)
    except BadQuery as error:
        raise BadQuery(
            error.message, remedy="'stopsearch serve' describes every filter at /docs.", faults=error.faults
        ) from None


def _pair(text: str) -> tuple[str, str]:
    name, mark, value = text.partition("=")
    if not mark or not name.strip():
        raise RequestError(f"--where '{text}' is no filter.", remedy="Write it as NAME=VALUE: outcome=Arrest.")
    return name.strip(), value
