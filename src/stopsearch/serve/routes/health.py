"""
How the server is, for whoever runs it: alive, ready, and which version. No token, no limit, no personal detail.
"""

from __future__ import annotations

import platform
from typing import Any

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from stopsearch.clean.clean_stops import RULES_VERSION
from stopsearch.clean.identity import IDENTITY_VERSION
from stopsearch.serve.answers import JSON, SOFTWARE_VERSION
from stopsearch.serve.conditional import NO_STORE
from stopsearch.serve.problems import problem_answers
from stopsearch.serve.readiness import Readiness, needed_migration
from stopsearch.store.as_of import SNAPSHOT_VERSION

router = APIRouter(tags=["server"])

_LIVE = {"status": "live"}
_READY = {
    "status": "ready",
    "checks": {
        "database": "ready",
        "migrations": "0002",
        "reads_as": "stopsearch_reader",
        "redis": "ready",
        "ingestions": "running",
    },
}
_VERSION = {
    "software": "0.1.0",
    "migrations": "0002",
    "identity": 1,
    "rules": 1,
    "snapshot": 1,
    "python": "3.12.4",
}


def _example(description: str, example: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    return {200: {"description": description, "content": {JSON: {"schema": {"type": "object"}, "example": example}}}}


@router.get(
    "/health/live",
    summary="Whether the process answers",
    description="Answers without asking anything else. Fit for a liveness probe.",
    dependencies=[],
    responses={**_example("It does.", _LIVE), **problem_answers(414, 500, 503)},
)
async def live() -> Response:
    """
    Say that the process answers.
    """
    return _answer(_LIVE)


@router.get(
    "/health/ready",
    summary="Whether the server can answer questions",
    description="Looks at the database, at its migrations, and at what the mode needs; what was seen counts for a "
    "second. `degraded`: it answers, but slower (Redis is away) or without new data (ingestions have stopped). Fit "
    "for a readiness probe.",
    dependencies=[],
    responses={**_example("It can.", _READY), **problem_answers(414, 500, 503)},
)
async def ready(request: Request) -> Response:
    """
    Say whether the server can answer, and what it lacks.
    """
    seen = await _readiness(request).look()
    return _answer(
        {
            "status": "degraded" if seen.is_degraded else "ready",
            "checks": {
                "database": "ready",
                "migrations": seen.migration,
                "reads_as": seen.reads_as,
                "redis": seen.redis,
                "ingestions": seen.ingestions,
            },
        }
    )


@router.get(
    "/version",
    summary="Which version serves, and which versions its answers go by",
    description="`identity` is that of stops' ids, `rules` of the cleaning rules, `snapshot` of snapshots' ids, and "
    "`migrations` the newest one that this software knows.",
    dependencies=[],
    responses={**_example("The versions.", _VERSION), **problem_answers(414, 500, 503)},
)
async def version() -> Response:
    """
    Say which versions are at work.
    """
    return _answer(
        {
            "software": SOFTWARE_VERSION,
            "migrations": needed_migration(),
            "identity": IDENTITY_VERSION,
            "rules": RULES_VERSION,
            "snapshot": SNAPSHOT_VERSION,
            "python": platform.python_version(),
        }
    )


def _readiness(request: Request) -> Readiness:
    state = request.app.state
    readiness: Readiness | None = getattr(state, "readiness", None)
    if readiness is None:
        readiness = state.readiness = Readiness(
            state.database,
            state.settings,
            answers=getattr(state, "answers", None),
            runner=getattr(state, "runner", None),
        )
    return readiness


def _answer(body: dict[str, Any]) -> Response:
    return Response(msgspec.json.encode(body), media_type=JSON, headers={"Cache-Control": NO_STORE})
