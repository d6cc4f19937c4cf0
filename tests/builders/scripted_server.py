"""
A small server that gives answers which were written down before, in their order: what a real one does on bad days.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from stopsearch.standin.serve import serving_in_thread

Answer = Response | Callable[[Request], Response]


@dataclass(kw_only=True)
class ScriptedServer:
    """
    A server, and the requests that it was sent. The last answer is given again and again.
    """

    url: str = ""
    answers: list[Answer]
    requests: list[Request] = field(default_factory=list)

    def answer(self, request: Request) -> Response:
        """
        Give the next answer.
        """
        answer = self.answers[min(len(self.requests), len(self.answers) - 1)]
        self.requests.append(request)
        return answer if isinstance(answer, Response) else answer(request)


@contextmanager
def scripted_server(*answers: Answer) -> Iterator[ScriptedServer]:
    """
    Serve until the block ends.
    """
    server = ScriptedServer(answers=list(answers))

    async def serve(request: Request) -> Response:
        return server.answer(request)

    app = Starlette(routes=[Route("/{path:path}", serve, methods=["GET", "POST"])])
    with serving_in_thread(app) as server.url:
        yield server


def page(*rows: Any, next: str | None = None, **meta: Any) -> Response:
    """
    Give a page, of the snapshot "00…" unless another is told.
    """
    told = {"snapshot": {"id": "0" * 64, "served_from": "2026-01-01T00:00:00+00:00"}, **meta}
    return JSONResponse({"data": list(rows), "next": next, "meta": told})


def problem(status: int, *, retry_after: str | None = None, kind: str = "too_busy") -> Response:
    """
    Give a problem.
    """
    body = {"type": f"/problems/{kind}", "title": "It is busy", "status": status, "detail": "Busy.", "remedy": "Wait."}
    headers = {"Retry-After": retry_after} if retry_after is not None else None
    return JSONResponse(body, status_code=status, headers=headers, media_type="application/problem+json")


def broken_off(begin: bytes, **headers: str) -> Response:
    """
    Give an answer that ends in the middle: its length is promised, and the connection is closed before.
    """

    async def pieces() -> AsyncIterator[bytes]:
        yield begin
        raise ConnectionAbortedError("the server went away")

    return StreamingResponse(
        pieces(),
        media_type="application/json",
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )
