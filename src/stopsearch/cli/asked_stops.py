"""
Which stops are asked for on the command line, of which snapshot: the same parameters as over HTTP, by the same table.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlencode

import typer

from stopsearch.domain.errors import BadQuery, RequestError

if TYPE_CHECKING:
    from stopsearch.serve.parameters import Asked

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


def asked_stops(
    *,
    forces: Sequence[str] | None,
    first: str | None,
    last: str | None,
    where: Sequence[str] | None,
    as_of: str | None,
    snapshot: str | None,
    known_forces: Collection[str] = (),
) -> Asked:
    """
    Read what was asked for.

    Args:
        where: Filters as NAME=VALUE.
        known_forces: Forces that the database knows beside those that everybody does.

    Raises:
        RequestError: A filter is unknown, or a value can't be meant; every fault is named.
    """
    from starlette.requests import Request

    from stopsearch.serve.parameters import FILTERS, MOMENT, read_query

    single = [("from", first), ("to", last), ("as_of", as_of), ("snapshot", snapshot)]
    pairs = [
        *(("force", force) for force in forces or ()),
        *((name, value) for name, value in single if value is not None),
        *map(_pair, where or ()),
    ]
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
