"""
Answers about now, which no snapshot stands for: nobody may keep them, and they are not cited.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import msgspec
from psycopg import Connection
from starlette.requests import Request
from starlette.responses import Response

from stopsearch.domain.errors import BadQuery
from stopsearch.domain.licence import LICENCE
from stopsearch.serve.answers import JSON, Made, base_url
from stopsearch.serve.parameters import Asked, Parameter, flag

NO_STORE = {"Cache-Control": "no-store"}


def live(what: str) -> Parameter:
    """
    Give the parameter that asks for now in place of a snapshot.
    """
    return flag(
        "live",
        f"Tell {what} as it stands now, in place of what a snapshot knows. Such an answer is not kept and not cited.",
    )


async def answer_now(request: Request, asked: Asked, make: Callable[[Connection, Asked], Made]) -> Response:
    """
    Answer a reading request from what stands now.

    Args:
        make: Finds the data; it runs in a thread, with a connection that can only read.

    Raises:
        BadQuery: A snapshot or an instant was asked for as well.
    """
    faults = tuple(
        (name, str(value), "live=true is about now: it has no instant and no snapshot")
        for name, value in (("as_of", asked.as_of), ("snapshot", asked.snapshot))
        if value is not None
    )
    if faults:
        raise BadQuery(faults[0][2], remedy="Leave one of the two out.", faults=faults)
    found: Made = await request.app.state.reading.run(make, asked)
    base = base_url(request)
    meta: dict[str, Any] = {"live": True, "query": asked.canonical, "licence": LICENCE, **found.extra}
    following = live_url(base, asked, found.next) if found.next is not None else None
    content = msgspec.json.encode({"data": found.data, "next": following, "meta": meta})
    return Response(content, media_type=JSON, headers=NO_STORE)


def live_url(base: str, asked: Asked, further: dict[str, str]) -> str:
    """
    Give the whole address of another page of a question about now.
    """
    query = "&".join(filter(None, (asked.canonical, urlencode(further))))
    return f"{base}{asked.path}?{query}"
