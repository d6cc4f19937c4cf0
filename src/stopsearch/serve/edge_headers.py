"""
The headers that every answer has, problems and faults included, and answers without their bodies for HEAD.
"""

from __future__ import annotations

import os
import re
from itertools import count

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# What pages of other origins may read of an answer, beside what they always may.
EXPOSED_HEADERS = (
    "Content-Disposition",
    "Deprecation",
    "ETag",
    "Link",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "Stopsearch-Served-From",
    "Stopsearch-Snapshot",
    "Sunset",
    "X-Request-Id",
)

# Pages for people bring scripts and styles with them, and say themselves what they need.
_PAGES = ("/docs", "/redoc")
_NOTHING = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
# Ids tell requests apart, also those of several processes; they need not be hard to guess.
_PROCESS = os.urandom(4).hex().encode("ascii")
_REQUESTS = count(1)


class EdgeHeaders:
    """
    Gives each request an id and each answer its headers, and answers HEAD as GET without the body.

    The id is the client's own X-Request-Id where it is plain, else a new one; handlers find it in
    `request.state.request_id`.

    Args:
        is_open: Whether pages of any origin may embed answers.
    """

    def __init__(self, app: ASGIApp, *, is_open: bool = False) -> None:
        self._app = app
        self._fixed = [
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"cross-origin-resource-policy", b"cross-origin" if is_open else b"same-origin"),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id.decode("ascii")
        added = [*self._fixed, (b"x-request-id", request_id)]
        is_page = scope["path"].startswith(_PAGES)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", ()), *added]
                if not is_page and b"content-security-policy" not in dict(headers):
                    headers.append(_NOTHING)
                message = {**message, "headers": headers}
            await send(message)

        if scope["method"] == "HEAD":
            await _answer_head(self._app, scope, receive, send_with_headers)
        else:
            await self._app(scope, receive, send_with_headers)


def _request_id(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            if _REQUEST_ID.fullmatch(value):
                return bytes(value)
            break
    return b"%s%08x" % (_PROCESS, next(_REQUESTS))


async def _answer_head(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """
    Ask the application as for GET, and leave its body out; a stream is told that the client has gone, and ends.
    """
    is_over = False

    async def send_head(message: Message) -> None:
        nonlocal is_over
        if message["type"] == "http.response.start":
            await send(message)
        elif not is_over:
            is_over = True
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def receive_end() -> Message:
        return {"type": "http.disconnect"} if is_over else await receive()

    await app({**scope, "method": "GET"}, receive_end, send_head)
