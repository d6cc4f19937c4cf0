"""
Requests put to a piece of ASGI as a server would put them, and what it sent back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send


@dataclass(kw_only=True)
class Sent:
    """
    What came back: one answer.
    """

    messages: list[Message] = field(default_factory=list)

    @property
    def status(self) -> int:
        """
        Give the status.
        """
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        """
        Give the headers; of a repeated one all values, as HTTP joins them.
        """
        joined: dict[str, str] = {}
        for name, value in self.messages[0]["headers"]:
            key = name.decode("latin-1")
            assert key == key.lower()
            joined[key] = f"{joined[key]}, {value.decode('latin-1')}" if key in joined else value.decode("latin-1")
        return joined

    @property
    def body(self) -> bytes:
        """
        Give the whole body.
        """
        return b"".join(message.get("body", b"") for message in self.messages[1:])


def call(
    app: ASGIApp,
    path: str = "/v1/stops",
    *,
    method: str = "GET",
    query: str = "",
    headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    client: tuple[str, int] | None = ("192.0.2.7", 50000),
    body: Sequence[bytes] = (),
) -> Sent:
    """
    Ask, and wait for the answer. The body comes in the pieces that are given.
    """
    given = headers.items() if isinstance(headers, Mapping) else headers
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in given],
        "client": client,
        "server": ("127.0.0.1", 8000),
        "state": {},
    }
    pieces = list(body) or [b""]
    sent = Sent()

    async def receive() -> Message:
        if not pieces:
            return {"type": "http.disconnect"}
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    async def send(message: Message) -> None:
        sent.messages.append(message)

    asyncio.run(_asked(app, scope, receive, send))
    return sent


async def _asked(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    async with asyncio.timeout(20):
        await app(scope, receive, send)


def answering(
    body: bytes | Sequence[bytes] = b"{}",
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    seen: list[Any] | None = None,
) -> ASGIApp:
    """
    Give an application that answers each request alike, whole or in pieces, and notes down what it was asked.
    """
    pieces = [body] if isinstance(body, bytes) else list(body)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if seen is not None:
            seen.append((scope["method"], scope["path"], (await receive()).get("body", b"")))
        own = {name.lower(): value for name, value in (headers or {}).items()}
        fixed = {"content-type": "application/json", **own}
        if len(pieces) == 1:
            fixed["content-length"] = str(len(pieces[0]))
        raw = [(name.encode(), value.encode()) for name, value in fixed.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        for number, piece in enumerate(pieces):
            await send({"type": "http.response.body", "body": piece, "more_body": number + 1 < len(pieces)})

    return app
