"""
Answers compressed with gzip, for clients that take it: whole ones, and streams piece by piece.
"""

from __future__ import annotations

import zlib
from functools import lru_cache

import anyio.to_thread
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LEAST_BYTES = 1024
# On a page of a hundred stops, level 4 takes twice the time for a tenth fewer bytes.
LEVEL = 1
# From here on, compressing takes longer than other requests should have to wait for.
_IN_THREAD_BYTES = 128 * 1024

# What is text, however it is called. Events are sent one by one and must not wait for a full block.
_TEXT = ("application/json", "application/x-ndjson", "application/ndjson", "application/javascript")


class Compression:
    """
    Compresses answers that are text and not small, and says so to caches.

    An answer's strong tag becomes a weak one, for its bytes are others. Files that are compressed already, parts of
    files, and streams of events are left as they are.
    """

    def __init__(self, app: ASGIApp, *, least_bytes: int = LEAST_BYTES) -> None:
        self._app = app
        self._least_bytes = least_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = b",".join([value for name, value in scope["headers"] if name == b"accept-encoding"])
        if given and takes_gzip(given):
            await self._app(scope, receive, _Compressed(send, self._least_bytes).send)
        else:
            await self._app(scope, receive, _uncompressed(send))


@lru_cache(maxsize=256)
def takes_gzip(accept_encoding: bytes) -> bool:
    """
    Tell whether an Accept-Encoding header takes gzip: by its name, or by *, and not with a weight of nought.
    """
    weights: dict[str, float] = {}
    for part in accept_encoding.decode("latin-1").lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    weight = float(parameter[2:])
                except ValueError:
                    weight = 0.0
        weights["gzip" if name == "x-gzip" else name] = weight
    return weights.get("gzip", weights.get("*", 0.0)) > 0


def _uncompressed(send: Send) -> Send:
    async def send_uncompressed(message: Message) -> None:
        if message["type"] == "http.response.start" and not _varies(message):
            headers = MutableHeaders(raw=list(message.get("headers", ())))
            if _is_compressible(message["status"], headers):
                headers.add_vary_header("Accept-Encoding")
                message = {**message, "headers": headers.raw}
        await send(message)

    return send_uncompressed


def _varies(message: Message) -> bool:
    """
    Tell whether an answer says already that it differs by Accept-Encoding, as most do: this is asked of each.
    """
    return b"Accept-Encoding" in dict(message.get("headers", ())).get(b"vary", b"")


def _is_compressible(status: int, headers: MutableHeaders) -> bool:
    if status in (204, 206) or "content-encoding" in headers or "content-range" in headers:
        return False
    if status == 304:
        return True
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if "no-transform" in headers.get("cache-control", "") or media_type == "text/event-stream":
        return False
    return media_type.startswith("text/") or media_type.endswith("+json") or media_type in _TEXT


class _Compressed:
    """
    One answer on its way to a client that takes gzip.
    """

    def __init__(self, send: Send, least_bytes: int) -> None:
        self._send = send
        self._least_bytes = least_bytes
        self._start: Message | None = None  # held back until the first piece of the body tells whether it is small
        self._compressor: zlib._Compress | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._begin(message)
        elif message["type"] != "http.response.body":
            await self._send_start()
            await self._send(message)
        elif self._start is not None:
            await self._send_first(message)
        elif self._compressor is not None:
            await self._send_piece(message)
        else:
            await self._send(message)

    async def _begin(self, message: Message) -> None:
        headers = MutableHeaders(raw=list(message.get("headers", ())))
        if not _is_compressible(message["status"], headers):
            await self._send(message)
            return
        headers.add_vary_header("Accept-Encoding")
        message = {**message, "headers": headers.raw}
        if message["status"] == 304:
            _weaken(headers)  # the tag that the compressed answer had
            await self._send(message)
            return
        self._start = message

    async def _send_start(self) -> None:
        start, self._start = self._start, None
        if start is not None:
            await self._send(start)

    async def _send_first(self, message: Message) -> None:
        body, is_more = message.get("body", b""), message.get("more_body", False)
        if not is_more and len(body) < self._least_bytes:
            await self._send_start()
            await self._send(message)
            return
        assert self._start is not None  # asked before
        headers = MutableHeaders(raw=self._start["headers"])
        headers["Content-Encoding"] = "gzip"
        del headers["Content-Length"]
        del headers["Accept-Ranges"]
        _weaken(headers)
        self._compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
        if not is_more:
            compressed = await self._compress(body, is_last=True)
            headers["Content-Length"] = str(len(compressed))
            await self._send_start()
            await self._send({"type": "http.response.body", "body": compressed, "more_body": False})
            return
        await self._send_start()
        await self._send_piece(message)

    async def _send_piece(self, message: Message) -> None:
        is_more = message.get("more_body", False)
        compressed = await self._compress(message.get("body", b""), is_last=not is_more)
        if compressed or not is_more:
            await self._send({"type": "http.response.body", "body": compressed, "more_body": is_more})

    async def _compress(self, body: bytes, *, is_last: bool) -> bytes:
        compressor = self._compressor
        assert compressor is not None  # made before

        def compress() -> bytes:
            return compressor.compress(body) + (compressor.flush() if is_last else b"")

        return await anyio.to_thread.run_sync(compress) if len(body) >= _IN_THREAD_BYTES else compress()


def _weaken(headers: MutableHeaders) -> None:
    etag = headers.get("etag")
    if etag is not None and not etag.startswith("W/"):
        headers["ETag"] = f"W/{etag}"
