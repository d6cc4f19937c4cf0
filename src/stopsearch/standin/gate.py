"""
What every request passes before and after its route: the count, the rate limit, and what goes wrong on order.
"""

from __future__ import annotations

import asyncio
import time
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stopsearch.listening import is_loopback
from stopsearch.standin.answers import empty_answer, html_answer
from stopsearch.standin.faults import Faults, Spoil, Trouble
from stopsearch.standin.limit import LeakyBuckets
from stopsearch.standin.stats import Arrival, Stats

CONTROL = "/_standin"


class Gate:
    """
    Wraps the routes; control requests pass it uncounted and unspoiled, from this machine only.
    """

    def __init__(
        self, app: ASGIApp, *, faults: Faults, stats: Stats, buckets: LeakyBuckets | None, latency_s: float
    ) -> None:
        self._app = app
        self._faults = faults
        self._stats = stats
        self._buckets = buckets
        self._latency_s = latency_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """
        Serve one request.
        """
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        host, port = scope.get("client") or ("", 0)
        path: str = scope["path"]
        if path.startswith(CONTROL):
            control = self._app if is_loopback(host) else empty_answer(403)
            await control(scope, receive, send)
            return
        query = parse_qs(scope["query_string"].decode("latin-1"))
        force, month = query.get("force", [""])[0], query.get("date", [""])[0]
        agent = next((value for name, value in scope["headers"] if name == b"user-agent"), b"")
        at, status, limited = time.monotonic(), 0, False

        async def recorded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._stats.began()
        try:
            in_api = path.startswith("/api/")
            if in_api and self._buckets is not None and not self._buckets.admit(host):
                limited = True
                await empty_answer(429)(scope, receive, recorded)
                return
            delay_s, trouble = self._faults.meet(path, force, month)
            delay_s += self._latency_s if in_api else 0.0
            if delay_s and await _client_left_within(delay_s, receive):
                return
            await self._answer(trouble, scope, receive, recorded, transport_of=send)
        finally:
            self._stats.ended(
                Arrival(
                    at=at,
                    path=path,
                    force=force,
                    month=month,
                    status=status,
                    limited=limited,
                    client=f"{host}:{port}",
                    user_agent=agent.decode("latin-1"),
                )
            )

    async def _answer(
        self, trouble: Trouble | None, scope: Scope, receive: Receive, send: Send, *, transport_of: Send
    ) -> None:
        if trouble is None or trouble.spoil is None:
            await self._app(scope, receive, send)
        elif trouble.spoil is Spoil.DROP:
            _sever(transport_of)
        elif trouble.spoil in (Spoil.STATUS, Spoil.HANG):
            await empty_answer(trouble.status, trouble.headers)(scope, receive, send)
        elif trouble.spoil is Spoil.HTML:
            await html_answer()(scope, receive, send)
        else:
            await self._answer_part(trouble, scope, receive, send)

    async def _answer_part(self, trouble: Trouble, scope: Scope, receive: Receive, send: Send) -> None:
        start: Message = {}
        body = b""

        async def gather(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = message
            else:
                body += message.get("body", b"")

        cut = trouble.spoil is Spoil.CUT_OFF
        # A gzipped body that is cut says so itself. To try a text that ends too soon, the text must be sent plain.
        headers = [(name, value) for name, value in scope["headers"] if cut or name != b"accept-encoding"]
        await self._app({**scope, "headers": headers}, receive, gather)
        part = body[: int(len(body) * trouble.share)]
        if not cut:
            kept = [(name, value) for name, value in start["headers"] if name != b"content-length"]
            start = {**start, "headers": [*kept, (b"content-length", b"%d" % len(part))]}
        await send(start)
        # Where more is promised and the call then returns, the server closes the connection.
        await send({"type": "http.response.body", "body": part, "more_body": cut})


async def _client_left_within(seconds: float, receive: Receive) -> bool:
    """
    Wait, but no longer than the client does, so that a hang leaves nothing behind.
    """
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        try:
            message = await asyncio.wait_for(receive(), left)
        except TimeoutError:
            return False
        if message["type"] == "http.disconnect":
            return True
    return False


def _sever(send: Send) -> None:
    # ASGI has no word for closing a connection without an answer. Uvicorn's `send` is a method of the object that
    # holds the connection; elsewhere the server answers 500, which is as good for a test of retries.
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is not None:
        transport.abort()
