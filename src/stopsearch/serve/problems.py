"""
The one place where errors become answers: problem details as RFC 9457 has them, with the status of each kind.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from stopsearch.domain.errors import StopSearchError, Transient
from stopsearch.telemetry.events import Event
from stopsearch.telemetry.faults import describe_fault, format_frames

MEDIA_TYPE = "application/problem+json"

_log = structlog.get_logger()

# What a terminal, a log or a page acts on in place of showing it: controls, changes of direction, lone surrogates.
_ACTED_ON = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_MOST_TOLD = 1000

# Everything else that was asked for and can't be meant is a 422.
STATUS: dict[str, int] = {
    "run_already_active": 409,
    "batch_ended": 409,
    "query_too_slow": 503,
    "store_unavailable": 503,
    "schema_out_of_date": 503,
    "server_busy": 503,
    "store": 500,
    "config": 500,
    "error": 500,
    "token_refused": 401,
    "access_off": 403,
    "access_refused": 403,
    "not_acceptable": 406,
}

# Named by a path, a thing that is not there is a 404; named by a parameter, it is a value that can't be meant.
_NAMED = frozenset(
    {"unknown_force", "unknown_snapshot", "unknown_stop", "unknown_batch", "unknown_revision", "unknown_letter"}
)

_TITLES: dict[int, str] = {
    400: "The request is not HTTP as this server understands it",
    401: "A token is needed",
    403: "This is off on this server",
    404: "There is no such thing",
    405: "The method is not for this address",
    406: "It can't be had in this format",
    408: "The body came too slowly",
    409: "It is busy",
    413: "The body is too large",
    414: "The address is too long",
    415: "The body is in another format",
    416: "The file has no such part",
    422: "What was asked for can't be meant",
    429: "Too many requests",
    431: "The head of the request is too large",
    500: "A fault of the server",
    503: "It can't be answered now",
}

# Where the kind says more than the status does.
_TITLES_OF_KIND: dict[str, str] = {
    "rate_refused": "The figure would mislead, so it is not given",
    "query_too_slow": "It takes longer than an answer may",
    "batch_ended": "It has ended",
}

_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "description": "The kind of trouble, as a relative address."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong with this very request."},
        "remedy": {"type": "string", "description": "What to do about it."},
        "instance": {"type": "string", "description": "The path that was asked for."},
        "errors": {
            "type": "array",
            "description": "Each parameter or field at fault.",
            "items": {
                "type": "object",
                "properties": {
                    "parameter": {"type": "string"},
                    "value": {"type": "string"},
                    "reason": {"type": "string"},
                },
            },
        },
    },
}


def problem_answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """
    Give the declarations of some problems for a route's `responses`.
    """
    return {
        status: {"description": _TITLES[status], "content": {MEDIA_TYPE: {"schema": _SCHEMA}}} for status in statuses
    }


# What every reading route may answer beside what it is for.
PROBLEMS = problem_answers(406, 414, 422, 429, 500, 503)
# What a route that names a thing in its path may answer.
PROBLEMS_OF_ONE = problem_answers(404, 406, 414, 422, 429, 500, 503)
# What a route behind the token may answer.
PROBLEMS_BEHIND_TOKEN = problem_answers(400, 401, 403, 404, 408, 409, 413, 414, 415, 422, 429, 500, 503)


def problem(
    request: Request,
    *,
    kind: str,
    status: int,
    detail: str,
    remedy: str = "",
    errors: list[dict[str, str]] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """
    Give one problem as an answer.
    """
    body: dict[str, Any] = {
        "type": f"/problems/{kind}",
        "title": _TITLES_OF_KIND.get(kind) or _TITLES.get(status, "Trouble"),
        "status": status,
        "detail": _told(detail),
    }
    if remedy:
        body["remedy"] = _told(remedy)
    body["instance"] = _told(request.url.path)
    if errors:
        body["errors"] = [{name: _told(text) for name, text in error.items()} for error in errors]
    return Response(
        msgspec.json.encode(body),
        status_code=status,
        media_type=MEDIA_TYPE,
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def _told(text: str) -> str:
    """
    Give a text as it may be told, for it may repeat what anybody sent: in characters that are only shown, and not long.
    """
    clean = _ACTED_ON.sub("\N{REPLACEMENT CHARACTER}", text[: _MOST_TOLD + 1])
    return clean if len(text) <= _MOST_TOLD else f"{clean[:_MOST_TOLD]}…"


def status_of(error: StopSearchError, request: Request) -> int:
    """
    Decide the status of an error.
    """
    if error.kind in _NAMED and request.path_params:
        return 404
    if error.kind in STATUS:
        return STATUS[error.kind]
    return 503 if isinstance(error, Transient) else 422


def handle_errors(app: FastAPI) -> None:
    """
    Make every error that leaves a route of this app a problem.
    """
    app.add_exception_handler(StopSearchError, answer_error)
    app.add_exception_handler(HTTPException, _of_framework)
    app.add_exception_handler(RequestValidationError, _of_body)
    app.add_exception_handler(Exception, answer_fault)


async def answer_error(request: Request, error: Exception) -> Response:
    """
    Give an error that was raised on purpose as a problem.
    """
    assert isinstance(error, StopSearchError)  # registered for nothing else
    status = status_of(error, request)
    headers: dict[str, str] = dict(getattr(error, "headers", None) or {})
    if status == 401:
        headers.setdefault("WWW-Authenticate", 'Bearer realm="stopsearch"')
    if status == 503:
        headers.setdefault("Retry-After", str(getattr(error, "retry_after_s", None) or 5))
    if status >= 500:
        _log.warning(Event.REQUEST_FAILED, path=_told(request.url.path), kind=error.kind, status=status)
    faults = [
        {"parameter": name, "value": value, "reason": reason} for name, value, reason in getattr(error, "faults", ())
    ]
    if status == 500:
        # What the database or the settings say is for the operator, who has it in the log.
        return problem(request, kind=error.kind, status=status, detail="The server can't answer this.", headers=headers)
    return problem(
        request,
        kind=error.kind,
        status=status,
        detail=error.message,
        remedy=error.remedy,
        errors=faults or None,
        headers=headers,
    )


async def _of_framework(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # registered for nothing else
    kinds = {404: "not_found", 405: "method_not_allowed"}
    remedies = {404: "/docs and /openapi.json list every address.", 405: "The Allow header names those that are."}
    details = {404: f"Nothing is at {request.url.path}.", 405: f"{request.method} is not answered here."}
    headers = dict(error.headers or {})
    if headers.get("Allow") == "GET":
        headers["Allow"] = "GET, HEAD"  # HEAD is answered around the routes
    return problem(
        request,
        kind=kinds.get(error.status_code, f"http_{error.status_code}"),
        status=error.status_code,
        detail=details.get(error.status_code, str(error.detail)),
        remedy=remedies.get(error.status_code, ""),
        headers=headers,
    )


async def _of_body(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # registered for nothing else
    is_of_body = any(fault["loc"][0] == "body" for fault in error.errors())
    faults = [
        {
            "parameter": ".".join(str(part) for part in fault["loc"][0 if fault["loc"][0] == "body" else 1 :]),
            # What was sent is not repeated: it may be a secret in the wrong place.
            "value": "",
            "reason": str(fault["msg"]).removeprefix("Value error, "),
        }
        for fault in error.errors()[:20]
    ]
    return problem(
        request,
        kind="bad_body" if is_of_body else "bad_query",
        status=422,
        detail="; ".join(f"{fault['parameter']}: {fault['reason']}" for fault in faults[:5]),
        remedy="Send one JSON object, as Content-Type: application/json; /docs describes it."
        if is_of_body
        else "/docs describes the parameters of this request.",
        errors=faults,
    )


async def answer_fault(request: Request, error: Exception) -> Response:
    """
    Give a fault of ours as a problem that tells nothing of it, and log where it was.
    """
    # A fault of ours: the client learns that, the operator where.
    _log.error(
        Event.REQUEST_BROKE,
        path=_told(request.url.path),
        fault=describe_fault(error),
        exception=format_frames(error),
    )
    return problem(
        request,
        kind="server_fault",
        status=500,
        detail="The server met a fault of its own.",
        remedy="It was logged. If it comes back, please report it.",
    )
