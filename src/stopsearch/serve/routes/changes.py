"""
What changed, for whoever keeps a copy: stops added and withdrawn between two snapshots, and the feed of revisions.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from fastapi import APIRouter, Request, Response
from psycopg import Connection

from stopsearch.domain.errors import BadQuery
from stopsearch.domain.states import Standing
from stopsearch.flows.arrivals import Arrivals, arrival_json, list_arrivals
from stopsearch.flows.changes import changed_stops, changes_between
from stopsearch.serve.answers import (
    SOFTWARE_VERSION,
    Made,
    answer_of_snapshot,
    base_url,
    canonical_and_cursor,
    page_url,
    snapshot_headers,
)
from stopsearch.serve.conditional import (
    cache_control,
    conditional_headers,
    etag_of,
    not_modified,
    not_modified_answer,
)
from stopsearch.serve.live_answers import answer_now, live_url
from stopsearch.serve.parameters import CURSOR, MOMENT, MONTHS, Asked, limit, openapi_parameters
from stopsearch.serve.places import next_page, place_asked
from stopsearch.serve.problems import PROBLEMS
from stopsearch.serve.routes.revisions import EXAMPLE_CHANGE, EXAMPLE_REVISION, arrival_parts, read_arrival
from stopsearch.serve.since import SINCE, SINCE_SNAPSHOT, asked_since
from stopsearch.store.changes import Change
from stopsearch.store.snapshots import Snapshot

NDJSON = "application/x-ndjson"

_CHANGES, _MOST_CHANGES = 100, 1000
_REVISIONS, _MOST_REVISIONS = 100, 1000
_OF_CHANGES = (SINCE_SNAPSHOT, *MONTHS, limit(most=_MOST_CHANGES, default=_CHANGES), CURSOR, *MOMENT)
_OF_FEED = (*MONTHS, SINCE, limit(most=_MOST_REVISIONS, default=_REVISIONS), CURSOR)

router = APIRouter(prefix="/v1", tags=["data"], dependencies=[])


@router.get(
    "/changes",
    summary="Stops added and withdrawn between two snapshots",
    openapi_extra={"parameters": openapi_parameters(_OF_CHANGES)},
    responses={
        200: {
            "description": "One object a change, by the stops' ids; of one id, what was withdrawn comes first.",
            "content": {
                "application/json": {"example": {"data": [EXAMPLE_CHANGE], "next": None}},
                NDJSON: {"example": EXAMPLE_CHANGE},
            },
        },
        **PROBLEMS,
    },
)
@router.get("/changes.ndjson", include_in_schema=False)
async def get_changes(request: Request) -> Response:
    """
    Give the stops that the snapshot `since` has and the other has not, and the other way round.

    Take the withdrawn stops of all pages out of your copy of `since`, by id, then put the added ones in: what you have
    then is exactly the snapshot that the answer names. A stop of which a value changed, by new rules say, is both
    withdrawn and added. `since` may also be the newer one: then the way leads back. JSON lines by
    `/v1/changes.ndjson` or by Accept: one change a line, and the next page in the `Link` header.
    """
    asked = await request.app.state.reading.read_query(request, _OF_CHANGES)
    since = await asked_since(request, asked)
    if not isinstance(since, Snapshot):
        reason = "it must be given: the id of the snapshot that you hold"
        raise BadQuery(
            "It was not said what the changes are to be told since.",
            remedy="Give since= the id of the snapshot that you hold; /v1/snapshots lists them.",
            faults=(("since", "", reason),),
        )

    def make(connection: Connection, snapshot: Snapshot, asked: Asked) -> Made:
        place = place_asked(request, asked, snapshot)
        found = changes_between(
            connection,
            since,
            snapshot,
            asked.filter,
            after=(UUID(place[0]), Change(place[1])) if place else None,
            limit=asked.get("limit", _CHANGES),
        )
        following = None
        if found.next is not None:
            following = next_page(request, asked, snapshot, str(found.next[0]), found.next[1].value)
        return Made(
            data=changed_stops(connection, found),
            next=following,
            extra={"since": {"id": since.id, "served_from": since.served_from.isoformat()}},
        )

    if _wants_lines(request):
        return await _lines(request, asked, make)
    return await answer_of_snapshot(request, _OF_CHANGES, make)


@router.get(
    "/changes/revisions",
    summary="The feed of revisions: what came since",
    openapi_extra={"parameters": openapi_parameters(_OF_FEED)},
    responses={
        200: {
            "description": "One object a revision that changed what is served, the oldest first.",
            "content": {"application/json": {"example": {"data": [EXAMPLE_REVISION], "next": None}}},
        },
        **PROBLEMS,
    },
)
async def get_feed(request: Request) -> Response:
    """
    Give the revisions that changed what is served after a snapshot or an instant, the oldest first.

    Follow `next` while there is one; then ask `meta.poll` again later: it gives what came since the last that you saw,
    none twice and none left out. `meta.snapshot` names what is served now: `/v1/changes` leads from the snapshot that
    you hold to it. The feed is about now, so it may not be cached.
    """
    asked = await request.app.state.reading.read_query(request, _OF_FEED)
    since = await asked_since(request, asked)
    base = base_url(request)

    def find(connection: Connection) -> Arrivals:
        place = place_asked(request, asked, None)
        return list_arrivals(
            connection,
            None,
            asked.filter,
            # By the instant, as a set of revisions may come back: what came after it first was served is told again.
            since=since.served_from if isinstance(since, Snapshot) else since,
            standings=(Standing.SERVED,),
            newest_first=False,
            after=read_arrival(place) if place else None,
            limit=asked.get("limit", _REVISIONS),
        )

    found: Arrivals = await request.app.state.reading.run(find)
    # Looked at after the feed, so that it serves every revision that the feed tells, and none is never fetched.
    current: Snapshot = (await request.app.state.reading.current())[0]
    last = found.entries[-1].served_from if found.entries else _instant_of(since)
    made = Made(
        data=[arrival_json(entry, is_served=entry.is_current) for entry in found.entries],
        next=next_page(request, asked, None, *arrival_parts(found.next)) if found.next else None,
        extra={
            "snapshot": {"id": current.id, "served_from": current.served_from.isoformat()},
            "poll": _poll(base, asked, last),
        },
    )
    return await answer_now(request, asked, lambda _connection, _asked: made)


def _instant_of(since: Snapshot | datetime | None) -> datetime | None:
    return since.served_from if isinstance(since, Snapshot) else since


def _poll(base: str, asked: Asked, last: datetime | None) -> str:
    others = "&".join(part for part in asked.canonical.split("&") if part and not part.startswith("since="))
    return live_url(base, replace(asked, canonical=others), {"since": last.isoformat()} if last else {})


def _wants_lines(request: Request) -> bool:
    return request.url.path.endswith(".ndjson") or NDJSON in request.headers.get("accept", "")


async def _lines(request: Request, asked: Asked, make: Any) -> Response:
    reading = request.app.state.reading
    snapshot = await reading.snapshot(asked)
    base = base_url(request)
    etag = etag_of(snapshot.id, canonical_and_cursor(asked), asked.path, base, SOFTWARE_VERSION, variant=NDJSON)
    is_pinned = asked.snapshot is not None and len(asked.snapshot) == len(snapshot.id)
    if not_modified(request, etag):
        return not_modified_answer(etag, cache_control(is_pinned))
    found: Made = await reading.run(make, snapshot, asked)
    headers = snapshot_headers(snapshot) | conditional_headers(etag, is_pinned=is_pinned)
    if found.next is not None:
        headers["Link"] = f'<{page_url(base, asked, snapshot, found.next)}>; rel="next"'
    lines = b"".join(msgspec.json.encode(change) + b"\n" for change in found.data)
    return Response(lines, media_type=NDJSON, headers=headers)
