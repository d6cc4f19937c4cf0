"""
How a batch goes on, as server-sent events: read from the ledger in short looks, whichever process runs it.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg
from psycopg import Connection
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from stopsearch.domain.errors import BadQuery, StopSearchError
from stopsearch.domain.states import BatchStatus, RunStatus
from stopsearch.serve.ingestion_bodies import batch_answer, run_answer
from stopsearch.store.batch_reports import BatchEntry, RunEntry, find_batch, runs_since

POLL_S = 0.5
HEARTBEAT_S = 15.0
_RECONNECT_AFTER_MS = 2000
_RUNS_A_LOOK = 500

_POSITION = re.compile(r"\d{1,10}(?:\.\d{1,10}){0,200}", re.ASCII)
_END = "end"
_ENDED = (BatchStatus.FINISHED, BatchStatus.FINISHED_WITH_FAILURES, BatchStatus.CANCELLED)
_UNENDED = (RunStatus.QUEUED, RunStatus.RUNNING)

Reads = Callable[[Callable[[Connection], Any]], Awaitable[Any]]


@dataclass(frozen=True, kw_only=True)
class Position:
    """
    What a client has been told of a batch: runs up to one, but for the ends of some of these. It is an event's id.
    """

    newest: int = 0
    unended: tuple[int, ...] = ()
    is_over: bool = False  # the end was told too

    @classmethod
    def parse(cls, text: str | None) -> Position:
        """
        Read an event's id, as a client sends it back in Last-Event-ID; None: nothing was told.

        Raises:
            BadQuery: It is no event's id.
        """
        if not text:
            return cls()
        if text == _END:
            return cls(is_over=True)
        numbers = [int(part) for part in text.split(".")] if _POSITION.fullmatch(text) else []
        if not numbers or max(numbers) >= 2**31:
            raise BadQuery(
                "Last-Event-ID is not the id of an event of a batch.",
                remedy="Send the id of the last event that came, or leave it out.",
                faults=(("Last-Event-ID", text[:100], "not the id of an event"),),
            )
        return cls(newest=numbers[0], unended=tuple(numbers[1:]))

    def told(self, run: RunEntry) -> Position:
        """
        Give the position after a run has been told.
        """
        unended = {*self.unended, run.id} if run.status in _UNENDED else {*self.unended} - {run.id}
        return Position(newest=max(self.newest, run.id), unended=tuple(sorted(unended)))

    def __str__(self) -> str:
        return _END if self.is_over else ".".join(map(str, (self.newest, *self.unended)))


class EventStream(StreamingResponse):
    """
    An answer of server-sent events; `when_over` is called once, however it ends.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[str], *, when_over: Callable[[], None]) -> None:
        super().__init__(events, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._when_over = when_over

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """
        Send the events.
        """
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._when_over()


def has_ended(batch: BatchEntry) -> bool:
    """
    Tell whether nothing more will happen to a batch.
    """
    return batch.status in _ENDED


async def follow(
    reads: Reads, batch_id: int, position: Position, *, at: str, is_stopping: Callable[[], bool]
) -> AsyncIterator[str]:
    """
    Give the events of a batch: `batch` with how it stands, first and whenever that changes; `run` when a run began and
    when it ended, each once; and at last `end`.

    No connection is held between two looks. Where the database is away, or the server is told to end, the stream ends:
    the client comes again, and goes on after what it was told.

    Args:
        reads: Runs a question on a reading connection.
        position: What the client was told before.
        at: The address of all batches.
        is_stopping: Tells whether the server is to end, which waits for answers under way.
    """
    yield f"retry: {_RECONNECT_AFTER_MS}\n\n"
    shown = ""
    spoke_at = time.monotonic()
    while not is_stopping():
        try:
            batch, runs = await reads(partial(_look, batch_id=batch_id, position=position))
        except (StopSearchError, psycopg.Error):
            return
        stands = batch_answer(batch, at=at).model_dump_json()
        is_first, has_changed = not shown, stands != shown
        shown = stands
        if is_first:
            yield _event("batch", stands, position)
        for run in runs:
            position = position.told(run)
            yield _event("run", run_answer(run).model_dump_json(), position)
        if has_changed and not is_first:
            yield _event("batch", stands, position)
        if len(runs) == _RUNS_A_LOOK:
            continue  # there may be more to tell at once
        if has_ended(batch):
            yield _event("end", json.dumps({"id": batch.id, "status": batch.status}), Position(is_over=True))
            return
        if runs or has_changed:
            spoke_at = time.monotonic()
        elif time.monotonic() - spoke_at >= HEARTBEAT_S:
            spoke_at = time.monotonic()
            yield ": still here\n\n"
        await asyncio.sleep(POLL_S)


def _look(connection: Connection, *, batch_id: int, position: Position) -> tuple[BatchEntry, list[RunEntry]]:
    # The batch first: once it has ended, no run begins or ends any more, so that the runs are the last ones.
    batch = find_batch(connection, batch_id)
    runs = runs_since(connection, batch_id, newest=position.newest, unended=position.unended, limit=_RUNS_A_LOOK)
    return batch, runs


def _event(name: str, data: str, position: Position) -> str:
    return f"event: {name}\nid: {position}\ndata: {data}\n\n"
