"""
What every answer says of itself: its snapshot, what it covers, how it is cited, and how long it may be kept.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any
from urllib.parse import urlencode

import msgspec
from psycopg import Connection
from starlette.requests import Request
from starlette.responses import Response

from stopsearch.domain.filters import StopFilter
from stopsearch.domain.licence import LICENCE
from stopsearch.flows.covered import covered
from stopsearch.serve.answer_cache import Answer, answer_key
from stopsearch.serve.conditional import cache_control, conditional_headers, etag_of, not_modified, not_modified_answer
from stopsearch.serve.parameters import Asked, Parameter
from stopsearch.store.snapshots import Snapshot

JSON = "application/json"
SOFTWARE_VERSION = version("stopsearch")

_HOST = re.compile(r"[A-Za-z0-9.\-]{1,253}(?::\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::\d{1,5})?", re.ASCII)
_KEPT_METAS = 512


@dataclass(frozen=True, kw_only=True)
class Made:
    """
    What a route has found: the data, and what its meta says beside what every meta does.

    Args:
        data: What msgspec can write as JSON; `msgspec.Raw` where it is written already.
        next: The query of the next page, beside the canonical one; None: there is none.
        extra: Further entries of meta.
    """

    data: Any
    next: dict[str, str] | None = None
    extra: dict[str, Any] = field(default_factory=dict)


Make = Callable[[Connection, Snapshot, Asked], Made]


async def answer_of_snapshot(
    request: Request,
    allowed: Iterable[Parameter],
    make: Make,
    *,
    grouped: bool = False,
    is_costly: bool = False,
) -> Response:
    """
    Answer a reading request from its snapshot: read the query, find the snapshot, and make the data where the client
    does not hold it already.

    Args:
        make: Finds the data; it runs in a thread, with a connection that can only read.
        grouped: Whether meta names each gap.
        is_costly: Whether the answer is kept by snapshot, for whoever asks the same.
    """
    reading = request.app.state.reading
    asked = await reading.read_query(request, allowed)
    snapshot = await reading.snapshot(asked)
    base = base_url(request)
    etag = etag_of(snapshot.id, canonical_and_cursor(asked), asked.path, base, SOFTWARE_VERSION)
    is_pinned = asked.snapshot is not None and len(asked.snapshot) == len(snapshot.id)
    if not_modified(request, etag):
        return not_modified_answer(etag, cache_control(is_pinned))

    async def made() -> Answer:
        found = await reading.run(make, snapshot, asked)
        meta = meta_of(asked, snapshot, base, grouped=grouped) | found.extra
        following = page_url(base, asked, snapshot, found.next) if found.next is not None else None
        return Answer(
            content=msgspec.json.encode({"data": found.data, "next": following, "meta": meta}), media_type=JSON
        )

    answer = await _kept(request, asked, snapshot, base, made) if is_costly else await made()
    return Response(
        answer.content,
        media_type=answer.media_type,
        headers=snapshot_headers(snapshot) | conditional_headers(etag, is_pinned=is_pinned),
    )


async def _kept(
    request: Request, asked: Asked, snapshot: Snapshot, base: str, make: Callable[[], Awaitable[Answer]]
) -> Answer:
    key = answer_key(SOFTWARE_VERSION, snapshot.id, asked.path, canonical_and_cursor(asked), base, "json")
    kept: Answer = await request.app.state.answers.get_or_make(key, make)
    return kept


def canonical_and_cursor(asked: Asked) -> str:
    """
    Give what tells one answer of a snapshot from another: the canonical query, and where its page begins.
    """
    cursor = asked.get("cursor")
    return f"{asked.canonical}&cursor={cursor}" if cursor else asked.canonical


def snapshot_headers(snapshot: Snapshot) -> dict[str, str]:
    """
    Give the headers by which every answer names its snapshot, whatever its format.
    """
    return {"Stopsearch-Snapshot": snapshot.id, "Stopsearch-Served-From": snapshot.served_from.isoformat()}


def base_url(request: Request) -> str:
    """
    Give the address of this server, as people reach it: the setting, or the one that was asked.
    """
    public: str | None = request.app.state.settings.public_url
    if public is not None:
        return public
    host = request.headers.get("host", "")
    if not _HOST.fullmatch(host):
        server = request.scope.get("server") or ("localhost", None)
        host = f"{server[0]}:{server[1]}" if server[1] else str(server[0])
    return f"{request.scope['scheme']}://{host}"  # request.url would be put together for it


def page_url(base: str, asked: Asked, snapshot: Snapshot, further: dict[str, str]) -> str:
    """
    Give the whole address of another page of the same question, pinned to the same snapshot.
    """
    pinned = {} if "cursor" in further else {"snapshot": snapshot.id}
    query = "&".join(filter(None, (asked.canonical, urlencode({**pinned, **further}))))
    return f"{base}{asked.path}?{query}"


_metas: OrderedDict[tuple[Any, ...], dict[str, Any]] = OrderedDict()


def meta_of(asked: Asked, snapshot: Snapshot, base: str, *, grouped: bool = False) -> dict[str, Any]:
    """
    Give what every answer's meta says: snapshot, coverage, licence, citation, query. Do not change what it gives.
    """
    # Two databases in one process may serve one snapshot, each since another instant.
    key = (snapshot.id, snapshot.served_from, asked.path, asked.canonical, base, grouped)
    meta = _metas.get(key)
    if meta is None:
        meta = _metas[key] = {
            "snapshot": {"id": snapshot.id, "served_from": snapshot.served_from.isoformat()},
            "query": asked.canonical,
            "coverage": covered(snapshot, asked.filter).as_json(with_gaps=grouped),
            "licence": LICENCE,
            "citation": citation(asked, snapshot, base),
        }
        if len(_metas) > _KEPT_METAS:
            _metas.popitem(last=False)
    return meta


def citation(asked: Asked, snapshot: Snapshot, base: str) -> str:
    """
    Give a ready citation of an answer: source, licence, snapshot, and the address that gives it again.
    """
    query = "&".join(filter(None, (asked.canonical, f"snapshot={snapshot.id}")))
    return (
        "Stop and search records published by police forces on data.police.uk, under the Open Government Licence "
        f"v3.0; served by stopsearch, snapshot {snapshot.id[:12]} of {snapshot.served_from:%Y-%m-%d %H:%M} UTC. "
        f"{base}{asked.path}?{query}"
    )


def coverage_of(snapshot: Snapshot, asked: StopFilter) -> dict[str, Any]:
    """
    Give what a question covers, with its gaps, as answers carry it.
    """
    return covered(snapshot, asked).as_json(with_gaps=True)
