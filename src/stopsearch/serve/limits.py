"""
What stands around the application: bounds on what a client may ask, how often, and how much it may send.

Each layer is plain ASGI and does nothing that a request does not need: together they cost some microseconds.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stopsearch.serve.clients import Allowance, ClientNames
from stopsearch.serve.compression import Compression
from stopsearch.serve.edge_headers import EXPOSED_HEADERS, EdgeHeaders
from stopsearch.serve.problems import problem
from stopsearch.settings import Settings

MOST_BODY_BYTES = 1024 * 1024
BODY_PATIENCE_S = 10.0
MOST_TARGET_BYTES = 8192


def edge_around(app: ASGIApp, settings: Settings) -> ASGIApp:
    """
    Put around an application what every request passes: headers, CORS, limits, and compression.
    """
    app = Compression(app)
    app = BodyLimit(app)
    if settings.client_requests_per_s > 0:
        app = ClientLimits(
            app,
            allowance=Allowance(per_s=settings.client_requests_per_s, burst=settings.client_burst),
            names=ClientNames(settings.trusted_proxies),
        )
    app = OneHost(TargetLimit(app))
    if settings.cors_origins:
        app = CORSMiddleware(
            app,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "HEAD", "OPTIONS"),
            allow_headers=("If-None-Match", "X-Request-Id"),
            expose_headers=EXPOSED_HEADERS,
            allow_credentials=False,
            max_age=86_400,
        )
    return EdgeHeaders(app, is_open="*" in settings.cors_origins)


async def refuse(
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    kind: str,
    status: int,
    detail: str,
    remedy: str,
    headers: dict[str, str] | None = None,
) -> None:
    """
    Answer with a problem, without asking the application.
    """
    # An address that is too long is not sent back whole.
    short = {**scope, "path": scope["path"][:200]}
    answer = problem(Request(short), kind=kind, status=status, detail=detail, remedy=remedy, headers=headers)
    await answer(scope, receive, send)


class OneHost:
    """
    Refuses requests that name more than one host: somebody in between may have gone by another one than the answer.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and [name for name, _ in scope["headers"]].count(b"host") > 1:
            await refuse(
                scope,
                receive,
                send,
                kind="bad_request",
                status=400,
                detail="The request names more than one host.",
                remedy="Send one Host header.",
            )
            return
        await self._app(scope, receive, send)


class TargetLimit:
    """
    Refuses addresses that are longer than any question needs.
    """

    def __init__(self, app: ASGIApp, *, most_bytes: int = MOST_TARGET_BYTES) -> None:
        self._app = app
        self._most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and target_bytes(scope) > self._most_bytes:
            await refuse(
                scope,
                receive,
                send,
                kind="target_too_long",
                status=414,
                detail=f"The address is longer than {self._most_bytes:,} bytes.",
                remedy="Leave filters out, or ask in parts.",
            )
            return
        await self._app(scope, receive, send)


def target_bytes(scope: Scope) -> int:
    """
    Give the length of a request's address, without the host.
    """
    return len(scope.get("raw_path") or scope["path"]) + len(scope.get("query_string", b""))


class ClientLimits:
    """
    Refuses requests of a client that has used its allowance up, and tells every other one how much is left.

    Health is told to anybody at any time: a probe that is refused would take a healthy server away.
    """

    def __init__(self, app: ASGIApp, *, allowance: Allowance, names: ClientNames) -> None:
        self._app = app
        self._allowance = allowance
        self._policy = (b"ratelimit-policy", b'"client";q=%d;w=%d' % (allowance.burst, allowance.whole_after_s))
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _is_exempt(scope["path"]):
            await self._app(scope, receive, send)
            return
        verdict = self._allowance.take(self._names.name_of(scope), monotonic())
        told = [self._policy, (b"ratelimit", b'"client";r=%d;t=%d' % (verdict.remaining, verdict.wait_s))]

        async def send_told(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *told]}
            await send(message)

        if verdict.may_pass:
            await self._app(scope, receive, send_told)
            return
        await refuse(
            scope,
            receive,
            send_told,
            kind="too_many_requests",
            status=429,
            detail="This client has asked more often than it may.",
            remedy=f"Ask again in {verdict.wait_s} s. Larger pages and exports need fewer requests.",
            headers={"Retry-After": str(verdict.wait_s)},
        )


def _is_exempt(path: str) -> bool:
    return path.startswith("/health/") or path == "/version"


class BodyLimit:
    """
    Reads a request's body before the application is asked, so that neither its size nor its pace is felt there.
    """

    def __init__(self, app: ASGIApp, *, most_bytes: int = MOST_BODY_BYTES, patience_s: float = BODY_PATIENCE_S) -> None:
        self._app = app
        self._most_bytes = most_bytes
        self._patience_s = patience_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _has_body(scope):
            await self._app(scope, receive, send)
            return
        if _declared_bytes(scope) > self._most_bytes:
            await self._refuse_large(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._patience_s):
                body = await self._read(receive)
        except TimeoutError:
            await refuse(
                scope,
                receive,
                send,
                kind="body_too_slow",
                status=408,
                detail=f"The body did not come within {self._patience_s:g} s.",
                remedy="Send it again, at once.",
                headers={"Connection": "close"},
            )
            return
        except _ClientLeft:
            return
        if body is None:
            await self._refuse_large(scope, receive, send)
            return
        await self._app(scope, _replayed(body, receive), send)

    async def _read(self, receive: Receive) -> bytes | None:
        """
        Read a body whole; None: it is too large.
        """
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _ClientLeft
            body += message.get("body", b"")
            if len(body) > self._most_bytes:
                return None
            if not message.get("more_body", False):
                return bytes(body)

    async def _refuse_large(self, scope: Scope, receive: Receive, send: Send) -> None:
        await refuse(
            scope,
            receive,
            send,
            kind="body_too_large",
            status=413,
            detail=f"The body is larger than {self._most_bytes:,} bytes.",
            remedy="Ask for less at once.",
            # What is left of the body is not read.
            headers={"Connection": "close"},
        )


class _ClientLeft(Exception):
    pass


def _has_body(scope: Scope) -> bool:
    return any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])


def _declared_bytes(scope: Scope) -> float:
    declared = [value for name, value in scope["headers"] if name == b"content-length"]
    if not declared:
        return 0
    # The server has read it as a number; a longer one than this is too large, whatever it is.
    return int(declared[0]) if declared[0].isdigit() and len(declared[0]) < 19 else float("inf")


def _replayed(body: bytes, receive: Receive) -> Receive:
    given: list[dict[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return given.pop() if given else await receive()

    return replay
