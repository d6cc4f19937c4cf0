"""
What is held and what is not, force by month.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from psycopg import Connection

from stopsearch.flows.coverage import Coverage, coverage_now
from stopsearch.flows.plan import Wanted
from stopsearch.flows.snapshot_coverage import matrix_of, snapshot_coverage
from stopsearch.serve.answers import Made, answer_of_snapshot
from stopsearch.serve.live_answers import answer_now, live
from stopsearch.serve.parameters import MOMENT, MONTHS, Asked, choice, openapi_parameters
from stopsearch.serve.problems import PROBLEMS
from stopsearch.store.as_of import one_snapshot
from stopsearch.store.snapshots import Snapshot

_ALLOWED = (
    *MONTHS,
    choice("form", ("cells", "matrix"), "cells (default): one object a force-month; matrix: one letter a force-month."),
    *MOMENT,
    live("what is held"),
)
_EXAMPLE = {
    "data": [
        {
            "force": "durham",
            "month": "2020-02",
            "state": "held",
            "flags": ["restated"],
            "revision": 2,
            "received": 135,
            "stored": 135,
            "rejected": 0,
        },
        {
            "force": "greater-manchester",
            "month": "2020-02",
            "state": "not_listed",
            "flags": [],
            "revision": None,
            "received": None,
            "stored": None,
            "rejected": None,
        },
    ],
    "next": None,
}

router = APIRouter(prefix="/v1", tags=["data"])


@router.get(
    "/coverage",
    summary="What is held and what is not, force by month",
    openapi_extra={"parameters": openapi_parameters(_ALLOWED)},
    responses={
        200: {"description": "One cell a force-month.", "content": {"application/json": {"example": _EXAMPLE}}},
        **PROBLEMS,
    },
    dependencies=[],
)
async def get_coverage(request: Request) -> Response:
    """
    Give a cell for every force and month that is asked for, or that the snapshot knows of, with no gap.

    A force-month that is not held has one of six states, each another kind of missing: `due` (listed, not fetched
    yet), `empty` (listed, but the publisher gave no record), `failed`, `refused` (too many records were rejected),
    `not_listed` and `out_of_window` (older than the publisher serves). Its counts are null: **none of them means zero
    stops**. While `meta.listed_at` is null, the publisher has not been asked yet what it lists, and `not_listed` says
    only that nothing is held. What was missing is told as it was when the snapshot was first given out; `live=true`
    tells it as it is now, from the first to the last month that is known.
    """
    asked = await request.app.state.reading.read_query(request, _ALLOWED)
    if asked.get("live"):
        return await answer_now(request, asked, _of_now)
    return await answer_of_snapshot(request, _ALLOWED, _of_snapshot)


def _of_snapshot(_: Connection, snapshot: Snapshot, asked: Asked) -> Made:
    return _made(snapshot_coverage(snapshot, asked.filter), asked)


def _of_now(connection: Connection, asked: Asked) -> Made:
    wanted = Wanted(forces=asked.filter.forces, first=asked.filter.first, last=asked.filter.last)
    with one_snapshot(connection):
        return _made(coverage_now(connection, wanted), asked)


def _made(found: Coverage, asked: Asked) -> Made:
    data: Any = matrix_of(found) if asked.get("form") == "matrix" else [cell.as_json() for cell in found.cells]
    return Made(
        data=data,
        extra={
            "totals": {str(state): count for state, count in found.totals.items()},
            "listed_at": found.listed_at.isoformat() if found.listed_at else None,
        },
    )
