"""
An export on its way to its client: the next chunk is read while the last one is sent, and no further.

A chunk is read whole before any of it is sent, so that no connection to the database waits for a client. What fails on
the way cuts the connection: a body without its end is never taken for a whole one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from time import monotonic

import anyio.to_thread
import structlog
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from stopsearch.domain.errors import StopSearchError
from stopsearch.flows.asked_export import AskedExport
from stopsearch.flows.write_export import ExportReader, ExportText
from stopsearch.serve.export_desk import ExportDesk, Turn
from stopsearch.store.export_rows import ChunkRows
from stopsearch.telemetry.events import Event
from stopsearch.telemetry.faults import describe_fault

log = structlog.get_logger()

# What a client has to take in within the time that it may stall: at a minute, a kilobyte a second.
_SENT_BYTES = 1 << 16
_NEARLY = 0.9


class ClientStalled(Exception):
    """
    The client took nothing in for longer than it may.
    """


class ClientLeft(Exception):
    """
    The client has gone.
    """


async def send_watched(
    feed: Callable[[Send], Awaitable[None]], receive: Receive, send: Send, *, stall_s: float
) -> None:
    """
    Send a body for as long as its client is there and takes it in.

    Raises:
        ClientLeft: The client has gone.
        ClientStalled: It took nothing in for so many seconds.
    """

    waited_s = 0.0

    async def send_in_time(message: Message) -> None:
        nonlocal waited_s
        try:
            for part in _parted(message):
                began = monotonic()
                async with asyncio.timeout(stall_s):
                    await send(part)
                waited_s = max(waited_s, monotonic() - began)
        except TimeoutError:
            raise ClientStalled from None

    async def client_gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    feeding = asyncio.ensure_future(feed(send_in_time))
    watching = asyncio.ensure_future(client_gone())
    try:
        await asyncio.wait((feeding, watching), return_when=asyncio.FIRST_COMPLETED)
        if not feeding.done():
            # The server beneath has a like bound: a client that it cut off for stalling did not leave by itself.
            raise ClientStalled if waited_s >= stall_s * _NEARLY else ClientLeft
        await feeding
    finally:
        for task in (feeding, watching):
            task.cancel()
        await asyncio.gather(feeding, watching, return_exceptions=True)


def _parted(message: Message) -> Iterator[Message]:
    """
    Part a large body, so that a client that takes it in slowly is not thought to take nothing in.
    """
    body = message.get("body", b"")
    if len(body) <= _SENT_BYTES:
        yield message
        return
    for first in range(0, len(body), _SENT_BYTES):
        is_last = first + _SENT_BYTES >= len(body)
        part = body[first : first + _SENT_BYTES]
        yield {**message, "body": part, "more_body": message.get("more_body", False) or not is_last}


class ExportStream(Response):
    """
    The text of an export, written while it is sent. It holds a turn until it ends, however it does.
    """

    def __init__(
        self, asked: AskedExport, *, first: ChunkRows | None, desk: ExportDesk, turn: Turn, headers: dict[str, str]
    ) -> None:
        self.status_code = 200
        self.media_type = asked.format.media_type
        self.background = None
        self.body = b""
        self.init_headers(headers)
        del self.headers["content-length"]  # not known before its end
        self._asked = asked
        self._first = first
        self._desk = desk
        self._turn = turn
        self._text = ExportText(asked)
        self._sent_bytes = 0

    @classmethod
    async def begin(cls, asked: AskedExport, *, desk: ExportDesk, headers: dict[str, str]) -> ExportStream:
        """
        Read the first chunk, so that what fails at once is answered as a problem, and be ready to be sent.

        Raises:
            ServerBusy: As many exports are written as may be at once.
            StopSearchError: The first chunk can't be read.
        """
        turn = desk.take_turn()
        try:
            first = await desk.reading.run(ExportReader(asked).read, asked.chunks[0]) if asked.chunks else None
        except BaseException:  # whatever ended it, the turn is another's
            turn.free()
            raise
        return cls(asked, first=first, desk=desk, turn=turn, headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """
        Send it. Where it is not sent to its end, the server closes the connection: nothing told it that this is all.
        """
        try:
            await send_watched(self._feed, receive, send, stall_s=self._desk.stall_s)
        except ClientLeft:
            self._tell_cut(scope, "left")
        except ClientStalled:
            self._tell_cut(scope, "stalled")
        except StopSearchError as error:
            self._tell_cut(scope, error.kind)
        except Exception as error:  # a fault of ours: the head is sent, so that no problem can be answered any more
            self._tell_cut(scope, describe_fault(error))
        finally:
            self._turn.free()

    async def _feed(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await self._pass_on([self._text.head()], send)
        reader = ExportReader(self._asked)
        found, self._first = self._first, None
        for following in (*self._asked.chunks[1:], None):
            if found is None:
                break
            pieces, found = self._text.take(found), None  # a chunk that is sent is held no longer
            if following is None:
                await self._pass_on(pieces, send)
                break
            reading = asyncio.ensure_future(self._desk.reading.run(reader.read, following))
            try:
                await self._pass_on(pieces, send)
                del pieces
                found = await reading
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
        await self._pass_on([self._text.tail()], send)
        # Before its end is told, so that who asks for the manifest next finds it. That the folder is full is no concern
        # of this client.
        with suppress(StopSearchError):
            await self._desk.keep_manifest(self._asked, self._text.written())
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pass_on(self, pieces: Sequence[bytes], send: Send) -> None:
        digesting = asyncio.ensure_future(anyio.to_thread.run_sync(self._text.digest, pieces))
        try:
            for piece in pieces:
                if piece:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                    self._sent_bytes += len(piece)
        finally:
            # In turn: the digest of these pieces comes before that of the next.
            await asyncio.gather(digesting, return_exceptions=True)

    def _tell_cut(self, scope: Scope, reason: str) -> None:
        tell = log.info if reason == "left" else log.warning
        tell(Event.EXPORT_CUT, path=scope["path"], reason=reason, rows=self._text.rows, bytes=self._sent_bytes)
