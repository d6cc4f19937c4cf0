"""
Stops: pages of them by any filter, and one with its history.
"""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

import msgspec
from fastapi import APIRouter, Request, Response
from starlette.responses import Response as PlainResponse

from stopsearch.domain.errors import BadQuery
from stopsearch.domain.filters import StopFilter
from stopsearch.flows.covered import covered
from stopsearch.flows.stop_history import StopHistory, find_stop
from stopsearch.serve.answers import (
    JSON,
    SOFTWARE_VERSION,
    base_url,
    meta_of,
    snapshot_headers,
)
from stopsearch.serve.conditional import cache_control, conditional_headers, etag_of, not_modified, not_modified_answer
from stopsearch.serve.cursor import Cursor, write_cursor
from stopsearch.serve.parameters import CURSOR, FILTERS, MOMENT, choice, flag, limit, openapi_parameters, read_query
from stopsearch.serve.plain_route import PlainRoute
from stopsearch.serve.problems import PROBLEMS, PROBLEMS_OF_ONE, problem
from stopsearch.serve.stop_examples import PAGE_EXAMPLES, STOP_EXAMPLE
from stopsearch.serve.stop_formats import FORMATS, Format, accepted_format
from stopsearch.serve.stop_pages import add_total, find_page, is_descending, read_asked, read_position
from stopsearch.store.export_rows import COLUMNS
from stopsearch.store.snapshots import Snapshot

_ALLOWED = (
    *FILTERS,
    limit(),
    choice(
        "sort", ("datetime", "-datetime"), "By time and id, the earliest first (default), or the latest (-datetime)."
    ),
    choice("fields", COLUMNS, "Only these fields, in this order, separated by commas.", is_repeatable=True),
    flag("total", "Whether meta.total counts the stops of all pages together. It is exact."),
    *MOMENT,
    CURSOR,
)
_STOP_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)

_ID_PARAMETER = {
    "name": "stop_id",
    "in": "path",
    "required": True,
    "description": "The stop's id, as /v1/stops gives it.",
    "schema": {"type": "string", "format": "uuid"},
}

router = APIRouter(prefix="/v1", tags=["stops"], route_class=PlainRoute)


def _content(*formats: Format) -> dict[str, Any]:
    return {each.media_types[0].partition(";")[0]: {"example": PAGE_EXAMPLES[each.name]} for each in formats}


@router.get(
    "/stops",
    summary="Stops, page by page",
    openapi_extra={"parameters": openapi_parameters(_ALLOWED)},
    responses={200: {"description": "One page of stops.", "content": _content(*FORMATS)}, **PROBLEMS},
    dependencies=[],
)
async def list_stops(request: Request) -> Response:
    """
    Give the stops that every given filter lets through, in the order of time and id.

    A page has `limit` stops, the last one fewer. Follow `next` until it is null: a walk gives every stop of its
    snapshot exactly once, at the same cost for each page, also while data comes in meanwhile. The format goes by
    `Accept` (JSON, NDJSON, CSV or GeoJSON), or by a suffix: `/v1/stops.csv`. NDJSON and CSV tell the next page in the
    `Link` header.

    Times are in UTC; `local_date` is the date in Europe/London, as which the publisher's forces write days. A month is
    that of the publisher's file. The columns and their values are those of the exports.
    """
    accepted = accepted_format(", ".join(request.headers.getlist("accept")))
    if accepted is None:
        return problem(
            request,
            kind="not_acceptable",
            status=406,
            detail="Stops can't be had in any format that the Accept header names.",
            remedy=f"Accept one of {', '.join(each.media_types[0] for each in FORMATS)}, or use a suffix.",
        )
    return await _answer(request, accepted)


def _add_suffix(each: Format) -> None:
    @router.get(
        f"/stops.{each.name}",
        name=f"list_stops_{each.name}",
        summary=f"Stops, page by page, as {each.name.upper()}",
        description=f"The same as /v1/stops, as {each.media_types[0]}, whatever the Accept header says.",
        openapi_extra={"parameters": openapi_parameters(_ALLOWED)},
        responses={200: {"description": "One page of stops.", "content": _content(each)}, **PROBLEMS},
        response_class=Response,  # of this one media type, and not of the usual one too
        dependencies=[],
    )
    async def list_stops_as(request: Request) -> Response:
        return await _answer(request, each)


for _each in FORMATS:
    _add_suffix(_each)


async def _answer(request: Request, form: Format) -> Response:
    reading = request.app.state.reading
    asked, word = await read_asked(request, _ALLOWED)
    cursor = read_position(request, asked, word)
    base = base_url(request)
    is_asked_of_now = cursor is None and asked.snapshot is None and asked.as_of is None
    if cursor is not None:
        snapshot = await reading.by_id(cursor.snapshot)
    elif is_asked_of_now and (cached := reading.cached()) and "if-none-match" not in request.headers:
        snapshot = cached[0]  # the page tells by itself whether that is current still
    else:
        snapshot = await reading.snapshot(asked)
    is_pinned = cursor is not None or asked.snapshot == snapshot.id
    query = f"{asked.canonical}&cursor={word}" if word else asked.canonical

    def etag_for(found: Snapshot) -> str:
        return etag_of(found.id, query, asked.path, base, SOFTWARE_VERSION, variant=form.name)

    if "if-none-match" in request.headers and not_modified(request, etag_for(snapshot)):
        return not_modified_answer(etag_for(snapshot), cache_control(is_pinned))
    after = cursor.last if cursor is not None else None
    question, page = await find_page(request, asked, snapshot, after, base=base, may_move=is_asked_of_now)
    snapshot = question.snapshot
    if asked.get("total"):
        await add_total(request, asked, question)
    following = None
    if page.last is not None:
        further = Cursor(snapshot=snapshot.id, is_descending=is_descending(asked), last=page.last)
        word = write_cursor(further, asked.canonical, request.app.state.cursor_key)
        # Neither needs to be written in another way for an address.
        following = f"{base}{asked.path}?{asked.canonical}{'&' if asked.canonical else ''}cursor={word}"
    headers = snapshot_headers(snapshot) | conditional_headers(etag_for(snapshot), is_pinned=is_pinned)
    if following is not None and not form.has_next:
        headers["Link"] = f'<{following}>; rel="next"'
    return PlainResponse(form.write(page, following, question.meta), media_type=form.media_types[0], headers=headers)


@router.get(
    "/stops/{stop_id}",
    summary="One stop, with its history",
    openapi_extra={"parameters": [_ID_PARAMETER, *openapi_parameters(MOMENT)]},
    responses={
        200: {"description": "The stop.", "content": {JSON: {"example": STOP_EXAMPLE}}},
        **PROBLEMS_OF_ONE,
    },
    dependencies=[],
)
async def get_stop(request: Request) -> Response:
    """
    Give a stop that the snapshot serves, or that any revision before served, and when and why it came and went.

    `stop` has the columns of /v1/stops; `history` one entry for each interval of revisions that served it, with the
    number of its record in the publisher's file, and in `differs` the values that were others then. `street` is known
    where the publisher's API told it; it is no part of a snapshot, and may become known later.
    """
    reading = request.app.state.reading
    asked = read_query(request, MOMENT)
    wanted = _read_id(request.path_params["stop_id"])
    snapshot = await reading.snapshot(asked)
    found: StopHistory = await reading.run(find_stop, snapshot, wanted)
    base = base_url(request)
    # The street is the one thing here that no snapshot settles: the tag tells it, and nobody keeps the answer unasked.
    street = f"{found.street.id} {found.street.name}" if found.street else ""
    etag = etag_of(snapshot.id, asked.canonical, asked.path, base, SOFTWARE_VERSION, variant=street)
    if not_modified(request, etag):
        return not_modified_answer(etag, cache_control(False))
    of_month = StopFilter(forces=(found.revision.force,), first=found.revision.month, last=found.revision.month)
    meta = meta_of(asked, snapshot, base) | {"coverage": covered(snapshot, of_month).as_json(with_gaps=False)}
    content = {"data": found.as_json(), "next": None, "meta": meta}
    return PlainResponse(
        msgspec.json.encode(content),
        media_type=JSON,
        headers=snapshot_headers(snapshot) | conditional_headers(etag, is_pinned=False),
    )


def _read_id(text: str) -> UUID:
    if not _STOP_ID.fullmatch(text):
        reason = "it must be written as 8-4-4-4-12 hexadecimal digits"
        raise BadQuery(
            f"'{text[:60]}' is no id of a stop: {reason}.",
            remedy="Ids are those that /v1/stops gives.",
            faults=(("stop_id", text[:60], reason),),
        )
    return UUID(text)
