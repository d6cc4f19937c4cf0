"""
Runs the batches that the server was asked for: in a thread with an event loop of its own, one after another.
"""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType

import structlog

from stopsearch.flows.queued_batches import run_queued, waiting_batches
from stopsearch.settings import Settings
from stopsearch.store.database import Database
from stopsearch.telemetry.events import Event
from stopsearch.telemetry.faults import describe_fault, format_frames

log = structlog.get_logger()

# How often to look for batches that nobody told of: of another server that has ended, or left by a database that
# was away.
_LOOK_AGAIN_S = 30.0


class IngestionRunner:
    """
    Takes the unfinished batches that were asked for over HTTP, when it starts and whenever it is woken.

    Use as a context manager. At its end, what is being stored is finished, and a batch that is under way waits in the
    ledger for the next runner. Runners of several servers on one database never run one batch twice over.
    """

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._thread = threading.Thread(target=self._run, name="ingestions", daemon=True)
        self._has_begun = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()
        self._stopping = asyncio.Event()

    def __enter__(self) -> IngestionRunner:
        self._thread.start()
        self._has_begun.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tell(self._stopping)
        self._tell(self._woken)
        self._thread.join()

    @property
    def is_running(self) -> bool:
        """
        Tell whether batches are taken: false before the start and after the end.
        """
        return self._thread.is_alive() and not self._stopping.is_set()

    def wake(self) -> None:
        """
        Say that a batch has been queued. From any thread; before the start and after the end it does nothing.
        """
        self._tell(self._woken)

    def _tell(self, event: asyncio.Event) -> None:
        loop = self._loop
        if loop is not None and self._thread.is_alive():
            try:
                loop.call_soon_threadsafe(event.set)
            except RuntimeError:  # the loop was closed just now
                return

    def _run(self) -> None:
        asyncio.run(self._work())

    async def _work(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._has_begun.set()
        while not self._stopping.is_set():
            self._woken.clear()
            try:
                has_run = await self._run_unfinished()
            except Exception as error:  # the server serves on, whatever ails its database or its batches
                log.warning(Event.RUNNER_WAITS, fault=describe_fault(error), exception=format_frames(error))
                has_run = False
            if not has_run and not self._stopping.is_set():
                try:
                    await asyncio.wait_for(self._woken.wait(), _LOOK_AGAIN_S)
                except TimeoutError:
                    continue

    async def _run_unfinished(self) -> bool:
        """
        Run every batch that waits, and tell whether there was one.
        """
        has_run = False
        for entry in await asyncio.to_thread(waiting_batches, self._database):
            if self._stopping.is_set():
                break
            status = await run_queued(self._database, self._settings, entry, stopping=self._stopping)
            has_run = has_run or status is not None
        return has_run
