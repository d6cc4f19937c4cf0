"""
A finished file as an answer, whole or one range of it (RFC 9110, section 14).
"""

from __future__ import annotations

import asyncio
import os
import re
from typing import BinaryIO

import anyio.to_thread
import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from stopsearch.flows.ready_exports import ReadyExport
from stopsearch.serve.export_stream import ClientLeft, ClientStalled, send_watched
from stopsearch.serve.problems import problem
from stopsearch.telemetry.events import Event

log = structlog.get_logger()

# Large enough that the file is the limit and not the calls; small enough that a client need not take in much a time.
_READ_BYTES = 1 << 18

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


class FileAnswer(Response):
    """
    A file that was opened before, so that whoever removes it meanwhile takes nothing away.
    """

    def __init__(
        self,
        file: BinaryIO,
        *,
        first: int,
        bytes: int,
        status: int,
        headers: dict[str, str],
        media_type: str,
        stall_s: float,
    ) -> None:
        self.status_code = status
        self.media_type = media_type
        self.background = None
        self.body = b""
        self.init_headers(headers)
        self.headers["content-length"] = str(bytes)
        self._file = file
        self._first = first
        self._bytes = bytes
        self._stall_s = stall_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """
        Send it. Cut short, it is shorter than its head says, and so never taken for whole.
        """
        try:
            await send_watched(self._feed, receive, send, stall_s=self._stall_s)
        except (ClientLeft, ClientStalled) as end:
            reason = "left" if isinstance(end, ClientLeft) else "stalled"
            tell = log.info if reason == "left" else log.warning
            tell(Event.EXPORT_CUT, path=scope["path"], reason=reason, rows=None, bytes=None)
        finally:
            await anyio.to_thread.run_sync(self._file.close)

    async def _feed(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await anyio.to_thread.run_sync(self._file.seek, self._first)
        left = self._bytes
        block = await self._read(left)
        while left > 0:
            if not block:
                raise EOFError("The file is shorter than it was.")
            left -= len(block)
            # The next block is read while this one is sent.
            reading = asyncio.ensure_future(self._read(left))
            try:
                await send({"type": "http.response.body", "body": block, "more_body": left > 0})
            finally:
                block = await asyncio.shield(reading)
        if not self._bytes:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _read(self, most: int) -> bytes:
        return await anyio.to_thread.run_sync(self._file.read, min(_READ_BYTES, most)) if most else b""


async def file_answer(
    request: Request, ready: ReadyExport, *, headers: dict[str, str], media_type: str, stall_s: float
) -> Response:
    """
    Give a finished file as an answer, or the range of it that is asked for.

    A range of another unit, several ranges, and one that is bound to another tag are answered by the whole file, as
    the standard lets a server do.

    Args:
        headers: Those of the answer; among them its ETag.
    """
    file = await anyio.to_thread.run_sync(_open, ready)
    size = os.fstat(file.fileno()).st_size
    headers = {**headers, "Accept-Ranges": "bytes"}
    asked = _asked_range(request, headers["ETag"], size)
    if asked is None:
        return FileAnswer(
            file, first=0, bytes=size, status=200, headers=headers, media_type=media_type, stall_s=stall_s
        )
    first, past = asked
    if first >= past:
        file.close()
        return problem(
            request,
            kind="range_not_satisfiable",
            status=416,
            detail=f"The file has {size:,} bytes; no byte of what was asked for is among them.",
            remedy=f"Ask for a range of bytes from 0 to {max(0, size - 1)}, or for the whole file.",
            headers={"Content-Range": f"bytes */{size}", "Accept-Ranges": "bytes"},
        )
    return FileAnswer(
        file,
        first=first,
        bytes=past - first,
        status=206,
        headers={**headers, "Content-Range": f"bytes {first}-{past - 1}/{size}"},
        media_type=media_type,
        stall_s=stall_s,
    )


def _open(ready: ReadyExport) -> BinaryIO:
    return ready.path.open("rb", buffering=0)  # it is read in blocks of our own


def _asked_range(request: Request, etag: str, size: int) -> tuple[int, int] | None:
    """
    Give the first byte that is asked for and the one past the last; None: the whole file. An empty one can't be met.
    """
    given = request.headers.get("range")
    match = _RANGE.fullmatch(given.strip()) if given else None
    if match is None or not any(match.groups()):
        return None
    bound = request.headers.get("if-range")
    if bound is not None and bound.strip() != etag:
        return None
    first, last = match.groups()
    if not first:
        return max(0, size - int(last)), size if int(last) else 0
    if last and int(last) < int(first):
        return None
    return int(first), min(size, int(last) + 1) if last else size
