"""
Snapshots: what is or was served, by ids that give the same answers for ever.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Request, Response
from psycopg import Connection

from stopsearch.domain.errors import UnknownSnapshot
from stopsearch.domain.instants import read_local
from stopsearch.flows.snapshot_summary import ID_IS, kept_json, snapshot_summary
from stopsearch.serve.answers import JSON, SOFTWARE_VERSION, Made, base_url, citation, meta_of, snapshot_headers
from stopsearch.serve.conditional import (
    cache_control,
    conditional_headers,
    etag_of,
    not_modified,
    not_modified_answer,
)
from stopsearch.serve.live_answers import answer_now
from stopsearch.serve.parameters import Asked, Parameter, flag, limit, openapi_parameters, read_query
from stopsearch.serve.problems import PROBLEMS, PROBLEMS_OF_ONE
from stopsearch.store.snapshots import SHORTEST_ID, list_snapshots

_SNAPSHOTS, _MOST_SNAPSHOTS = 20, 200
_OF_LIST = (
    limit(most=_MOST_SNAPSHOTS, default=_SNAPSHOTS),
    Parameter(
        name="before",
        read=lambda value: read_local(value, name="before"),
        schema={"type": "string"},
        description="Only snapshots that were first served before this instant (with its zone).",
        is_canonical=False,
    ),
)
_OF_ONE = (flag("revisions", "Whether to add what the id is made of: force, month, content digest, rules version."),)
_KEPT = {
    "id": "969197c69187dcdc59bcd368dcb71b9e0c5ea7c9e0602508d21bb1b9778b2e60",
    "served_from": "2026-11-24T22:41:42.390887+00:00",
    "stops": 78913,
    "force_months": 222,
    "first_month": "2019-01",
    "last_month": "2024-12",
}
_EXAMPLE_OF_LIST = {"data": [{**_KEPT, "current": True}], "next": None, "meta": {"live": True}}
_EXAMPLE_OF_ONE = {
    "data": {
        **_KEPT,
        "doubtful": 0,
        "listed_at": None,
        "forces": [
            {"id": "durham", "first_held": "2019-01", "last_held": "2020-12", "held": 18, "missing": 54, "stops": 3322}
        ],
        "id_is": ID_IS,
    },
    "next": None,
}

router = APIRouter(prefix="/v1", tags=["data"], dependencies=[])


@router.get(
    "/snapshots",
    summary="The snapshots that were given out",
    openapi_extra={"parameters": openapi_parameters(_OF_LIST)},
    responses={
        200: {
            "description": "The newest first.",
            "content": {"application/json": {"example": _EXAMPLE_OF_LIST}},
        },
        **PROBLEMS,
    },
)
async def get_snapshots(request: Request) -> Response:
    """
    Give the snapshots that can be asked for by id, the newest first, and which of them is current.

    A snapshot is the set of the revisions that are served at an instant. It is kept the first time that anybody is
    answered from it, also by `as_of`. The list changes, so it may not be cached; what each id gives never does.
    """
    asked = read_query(request, _OF_LIST)
    current = (await request.app.state.reading.current())[0]

    def make(connection: Connection, asked: Asked) -> Made:
        length = asked.get("limit", _SNAPSHOTS)
        before: datetime | None = asked.get("before")
        found = list_snapshots(connection, limit=length + 1, before=before)
        page = found[:length]
        return Made(
            data=[kept_json(kept, current_id=current.id) for kept in page],
            next={"before": page[-1].served_from.isoformat()} if len(found) > length else None,
        )

    return await answer_now(request, asked, make)


@router.get(
    "/snapshots/{snapshot_id}",
    summary="One snapshot, and what its id is made of",
    openapi_extra={"parameters": openapi_parameters(_OF_ONE)},
    responses={
        200: {
            "description": "What it serves, by force.",
            "content": {"application/json": {"example": _EXAMPLE_OF_ONE}},
        },
        **PROBLEMS_OF_ONE,
    },
)
async def get_snapshot(
    request: Request,
    snapshot_id: Annotated[str, Path(description="Its id, or the first 12 digits of it at least.", max_length=64)],
) -> Response:
    """
    Give one snapshot: what it serves, by force, and how anybody can make its id again.

    With `revisions=true` it names every revision that it serves, with the digests that the id is made from.
    """
    asked = read_query(request, _OF_ONE)
    if not re.fullmatch(rf"[0-9a-f]{{{SHORTEST_ID},64}}", snapshot_id, re.ASCII):
        raise UnknownSnapshot(
            f"No snapshot has the id '{snapshot_id[:64]}'.", remedy="An id is 64 hexadecimal digits; 12 are enough."
        )
    snapshot = await request.app.state.reading.by_id(snapshot_id)
    asked = replace(asked, path=f"/v1/snapshots/{snapshot.id}")
    base = base_url(request)
    etag = etag_of(snapshot.id, asked.canonical, asked.path, base, SOFTWARE_VERSION)
    is_pinned = snapshot_id == snapshot.id
    if not_modified(request, etag):
        return not_modified_answer(etag, cache_control(is_pinned))
    # The path names the snapshot already.
    meta = meta_of(asked, snapshot, base) | {
        "citation": citation(asked, snapshot, base).rpartition("?")[0]
        + (f"?{asked.canonical}" if asked.canonical else "")
    }
    data = snapshot_summary(snapshot, with_revisions=asked.get("revisions", False))
    return Response(
        msgspec.json.encode({"data": data, "next": None, "meta": meta}),
        media_type=JSON,
        headers=snapshot_headers(snapshot) | conditional_headers(etag, is_pinned=is_pinned),
    )
