"""
What is served now: found anew when it has changed, at once; and every two seconds while it changes all the time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from stopsearch.domain.errors import StopSearchError
from stopsearch.store.snapshots import Snapshot
from stopsearch.telemetry.events import Event
from stopsearch.telemetry.faults import describe_fault

log = structlog.get_logger()

# Finding a snapshot of 1,600 force-months takes some 30 ms of the one thread that Python runs at a time. Fourteen
# revisions a second, as a backfill makes them, would leave no time for anything else.
_EVERY_S = 2.0
_AT_ONCE = 4
# Should looking itself take long, nobody is answered from what is older than this.
_OLDEST_S = 10.0

Found = tuple[Snapshot, int]


class CurrentSnapshot:
    """
    The snapshot that is current, and its generation, for one event loop.

    A change is seen by the next request; of many, the first few are. While more come than one in two seconds, answers
    are made from a snapshot that was current within the last two seconds, and a look in the background finds the next.
    Such an answer is as exact, and names its snapshot, as any other.
    """

    def __init__(self, find: Callable[[], Awaitable[Found]], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._find = find
        self._clock = clock
        self._found: Found | None = None
        self._turn = asyncio.Lock()
        self._looked_at = clock()
        self._tokens = float(_AT_ONCE)
        self._counted_at = clock()
        self._background: asyncio.Task[None] | None = None
        self._lags = False
        self._is_wanted = False

    @property
    def last(self) -> Found | None:
        """
        Give what was found last, None before the first look.
        """
        return self._found

    def lags(self) -> bool:
        """
        Tell whether what was found last is past, most likely, and is to be answered from all the same.
        """
        self._is_wanted = True
        return self._lags and self._clock() - self._looked_at < _OLDEST_S

    async def at(self, seen: int) -> Found:
        """
        Give what to answer from, where a statement has seen a generation.

        Raises:
            StoreUnavailable: The database is away.
        """
        found = self._found
        if found is not None and found[1] == seen:
            return found
        # An older generation than before means that another state of the database was restored under this process.
        # Whoever comes while somebody looks waits for what is found, which costs no look of its own.
        if found is not None and seen > found[1] and not self._turn.locked() and not self._take_token():
            self._lags = True
            if self._background is None or self._background.done():
                self._background = asyncio.create_task(self._look_later())
            if self.lags():
                return found
        return await self._look(seen, instead_of=found)

    async def close(self) -> None:
        """
        Look no more.
        """
        if self._background is not None:
            self._background.cancel()
            await asyncio.gather(self._background, return_exceptions=True)

    async def _look(self, seen: int, *, instead_of: Found | None) -> Found:
        async with self._turn:
            found = self._found
            if found is None or found is instead_of or found[1] < seen:
                began = self._clock()
                found = self._found = await self._find()
                self._looked_at, self._lags = began, False
        return found

    async def _look_later(self) -> None:
        """
        Look every two seconds, for as long as more than one change came in between and somebody asks.
        """
        await asyncio.sleep(max(0.0, (1.0 - self._tokens) * _EVERY_S))
        while True:
            before, self._is_wanted = self._found, False
            try:
                found = await self._look(before[1] if before is not None else 0, instead_of=before)
            except StopSearchError as error:  # the request that finds it too old looks by itself, and is told
                log.warning(Event.REQUEST_FAILED, path="", kind=error.kind, status=503, fault=describe_fault(error))
                return
            if before is None or found[1] - before[1] <= 1:
                return
            self._lags = True
            await asyncio.sleep(_EVERY_S)
            if not self._is_wanted:
                self._lags = False
                return

    def _take_token(self) -> bool:
        now = self._clock()
        self._tokens = min(float(_AT_ONCE), self._tokens + (now - self._counted_at) / _EVERY_S)
        self._counted_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
