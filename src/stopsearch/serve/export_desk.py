"""
Where exports are asked for: how many are written at once, which are ready, and which are being built.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

import anyio.to_thread
import structlog
from anyio import CapacityLimiter
from starlette.requests import Request

from stopsearch.domain.errors import ServerBusy
from stopsearch.flows.asked_export import AskedExport
from stopsearch.flows.ready_exports import ReadyExport, ReadyExports
from stopsearch.flows.write_export import Chunk, ExportReader, WrittenExport
from stopsearch.serve.reading import Reading
from stopsearch.settings import Settings
from stopsearch.store.export_rows import ChunkRows
from stopsearch.telemetry.events import Event

log = structlog.get_logger()

_RETRY_AFTER_S = 15


class Turn:
    """
    The right to write one export, until it is freed.
    """

    def __init__(self, desk: ExportDesk) -> None:
        self._desk: ExportDesk | None = desk

    def free(self) -> None:
        """
        Give it back; once is enough.
        """
        if self._desk is not None:
            self._desk.writing -= 1
            self._desk = None


class ExportDesk:
    """
    The exports of one server process.
    """

    def __init__(self, reading: Reading, settings: Settings) -> None:
        self.reading = reading
        self.stall_s = settings.export_stall_s
        self.writing = 0  # exports that hold a turn
        self._most = settings.export_streams
        self._ready = ReadyExports(settings.data_dir, cache_mb=settings.export_cache_mb)
        self._builders = CapacityLimiter(settings.export_streams)
        # A chunk takes one statement; whoever waits for longer has lost it, say because the server ends.
        self._patience_s = settings.statement_timeout_s * 2 + 30
        self._builds: dict[tuple[str, str, str], asyncio.Task[ReadyExport]] = {}

    def take_turn(self) -> Turn:
        """
        Take the right to write one export.

        Raises:
            ServerBusy: As many are written as may be at once.
        """
        if self.writing >= self._most:
            raise ServerBusy(
                f"{self._most} exports are being written, and that is as many as may be at once.",
                remedy="Try again in a little while.",
                retry_after_s=_RETRY_AFTER_S,
            )
        self.writing += 1
        return Turn(self)

    async def find(self, asked: AskedExport) -> ReadyExport | None:
        """
        Give an export that was finished before, if it is there.
        """
        return await anyio.to_thread.run_sync(self._ready.find, asked)

    async def list_ready(self) -> list[ReadyExport]:
        """
        List the exports that are ready, the last used first.
        """
        return await anyio.to_thread.run_sync(self._ready.list_ready)

    async def ready(self, asked: AskedExport) -> ReadyExport:
        """
        Give an export as a finished file; where there is none it is built, once for all who ask meanwhile.

        Raises:
            ServerBusy: As many exports are written as may be at once.
        """
        key = (asked.snapshot.id, str(asked.format), asked.query)
        if key not in self._builds:
            found = await self.find(asked)
            if found is not None:
                return found
        if key not in self._builds:
            build = asyncio.create_task(self._build(asked, self.take_turn()))
            self._builds[key] = build
            build.add_done_callback(lambda _: self._builds.pop(key, None))
        return await asyncio.shield(self._builds[key])

    async def manifest(self, asked: AskedExport) -> dict[str, Any]:
        """
        Give the manifest of an export; where it was never written to its end, it is built.
        """
        kept = await anyio.to_thread.run_sync(self._ready.find_manifest, asked)
        return kept if kept is not None else (await self.ready(asked)).manifest

    async def keep_manifest(self, asked: AskedExport, written: WrittenExport) -> None:
        """
        Keep the manifest of an export that was sent whole.
        """
        await anyio.to_thread.run_sync(self._ready.keep_manifest, asked, written)

    async def _build(self, asked: AskedExport, turn: Turn) -> ReadyExport:
        loop = asyncio.get_running_loop()
        reader = ExportReader(asked)

        def read(chunk: Chunk) -> ChunkRows:
            return asyncio.run_coroutine_threadsafe(self.reading.run(reader.read, chunk), loop).result(self._patience_s)

        began = monotonic()
        try:
            built = await anyio.to_thread.run_sync(self._ready.build, asked, read, limiter=self._builders)
        finally:
            turn.free()
        manifest = built.manifest
        log.info(
            Event.EXPORT_BUILT,
            file=built.path.name,
            rows=manifest["rows"],
            bytes=manifest["bytes"],
            duration_s=round(monotonic() - began, 3),
        )
        return built


def desk_of(request: Request) -> ExportDesk:
    """
    Give the desk of the application that a request came to; the first that asks opens it.
    """
    state = request.app.state
    desk: ExportDesk | None = getattr(state, "export_desk", None)
    if desk is None or desk.reading is not state.reading:
        desk = state.export_desk = ExportDesk(state.reading, state.settings)
    return desk
