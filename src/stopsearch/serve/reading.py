"""
How requests read: pooled connections that can only read, and the snapshot that each request is answered from.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from typing import Any, Concatenate, LiteralString, ParamSpec, TypeVar

import anyio
import psycopg
from anyio import CapacityLimiter
from psycopg import AsyncConnection, Connection
from psycopg_pool import AsyncConnectionPool, ConnectionPool, PoolTimeout
from starlette.requests import Request

from stopsearch.domain.errors import BadQuery, QueryTooSlow, StopSearchError, StoreUnavailable
from stopsearch.flows.asked_snapshot import asked_snapshot
from stopsearch.serve.current import CurrentSnapshot
from stopsearch.serve.parameters import Asked, Parameter, read_query
from stopsearch.settings import Settings
from stopsearch.store.database import Database
from stopsearch.store.reader import configure_reader, configure_reader_async, reading_conninfo
from stopsearch.store.snapshots import Snapshot, current_snapshot
from stopsearch.store.troubles import is_store_gone, known_trouble, store_gone

_T = TypeVar("_T")
_P = ParamSpec("_P")

# A snapshot's revisions take about half a megabyte a thousand force-months; walks through old ones are few at a time.
_KEPT_SNAPSHOTS = 8
_POOL_PATIENCE_S = 5.0
_GENERATION: LiteralString = "SELECT generation FROM serving"
_FORCES: LiteralString = 'SELECT id FROM force ORDER BY id COLLATE "C"'


class Reading:
    """
    The reading side of one server process; use as an async context manager.

    `pool` serves the pages of stops, whose statements run on the event loop; `run` everything else, in threads.
    """

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        conninfo = reading_conninfo(database, settings)
        options: dict[str, Any] = {
            "min_size": 1,
            "max_size": settings.read_connections,
            "timeout": _POOL_PATIENCE_S,
            "kwargs": {"autocommit": True},
            "open": False,
        }
        self.pool: AsyncConnectionPool[AsyncConnection[tuple[Any, ...]]] = AsyncConnectionPool(
            conninfo, configure=lambda connection: configure_reader_async(connection, settings), name="pages", **options
        )
        self._threaded: ConnectionPool[Connection[tuple[Any, ...]]] = ConnectionPool(
            conninfo, configure=lambda connection: configure_reader(connection, settings), name="reads", **options
        )
        self._limiter = CapacityLimiter(settings.read_connections)
        self._keeper = _Keeper(database)
        self._current = CurrentSnapshot(lambda: self._ask_keeper(_current))
        self._forces: tuple[str, ...] = ()  # those that the database knew when one was asked for that nobody else does
        self._kept: OrderedDict[str, Snapshot] = OrderedDict()

    async def __aenter__(self) -> Reading:
        await self.pool.open()
        await asyncio.to_thread(self._threaded.open)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._current.close()
        await self.pool.close()
        await asyncio.to_thread(self._threaded.close)
        await asyncio.to_thread(self._keeper.close)

    async def read_query(self, request: Request, allowed: Iterable[Parameter]) -> Asked:
        """
        Read a request's query. A force that came in since the last look is known, and only a misspelt one is not.

        Raises:
            BadQuery: A parameter is unknown, or a value can't be meant; every fault is named.
            StoreUnavailable: Whether a force is known could not be found out.
        """
        try:
            return read_query(request, allowed, known_forces=self._forces)
        except BadQuery as error:
            if not any(name == "force" for name, _, _ in error.faults):
                raise
        self._forces = tuple(row[0] for row in await self._ask_pool(_FORCES))
        return read_query(request, allowed, known_forces=self._forces)

    async def run(self, read: Callable[Concatenate[Connection, _P], _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """
        Run a question in a thread, with a connection that can only read.

        Raises:
            QueryTooSlow: A statement took longer than the timeout.
            StoreUnavailable: The database is away, or every connection is busy for too long.
        """

        def reading() -> _T:
            try:
                with self._threaded.connection() as connection:
                    return read(connection, *args, **kwargs)
            except psycopg.Error as error:
                if not is_store_gone(error):
                    raise
            # The database was restarted: connections that were lost are made anew, and what only reads is asked again.
            self._threaded.check()
            with self._threaded.connection() as connection:
                return read(connection, *args, **kwargs)

        try:
            return await anyio.to_thread.run_sync(reading, limiter=self._limiter)
        except (psycopg.Error, PoolTimeout) as error:
            raise as_trouble(error, self._settings) from error

    async def snapshot(self, asked: Asked) -> Snapshot:
        """
        Give the snapshot that a request asks for, or what is served now.

        Raises:
            UnknownSnapshot: No snapshot has this id.
            RequestError: The instant lies in the future.
            StoreUnavailable: The database is away.
        """
        if asked.snapshot is not None:
            return await self.by_id(asked.snapshot)
        if asked.as_of is not None:
            return await self._ask_keeper(_at_instant, asked.as_of)
        return (await self.current())[0]

    async def by_id(self, snapshot_id: str) -> Snapshot:
        """
        Give a snapshot by its id, or the first digits of it.
        """
        # Most who name a snapshot name that of now, whose pages cost least.
        last = self._current.last or await self.current()
        kept = self._kept.get(snapshot_id)
        if kept is None and last[0].id == snapshot_id:
            return last[0]
        if kept is None:
            kept = await self._ask_keeper(_by_id, snapshot_id)
            self._kept[kept.id] = kept
            while len(self._kept) > _KEPT_SNAPSHOTS:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(snapshot_id)
        return kept

    def cached(self) -> tuple[Snapshot, int] | None:
        """
        Give the snapshot that was current last time, and its generation: for statements that read the generation
        themselves, and call `current` with what they saw.
        """
        return self._current.last

    def lags(self) -> bool:
        """
        Tell whether answers are made from the snapshot that was current a moment ago, since it changes all the time.
        """
        return self._current.lags()

    async def current(self, seen: int | None = None) -> tuple[Snapshot, int]:
        """
        Give what is served now, and the generation that it is current at; while it changes all the time, what was
        served within the last two seconds.

        Args:
            seen: The generation that a statement of this request has read; None: it is read now.
        """
        return await self._current.at(await self._generation() if seen is None else seen)

    async def _generation(self) -> int:
        rows = await self._ask_pool(_GENERATION)
        return int(rows[0][0]) if rows else 0

    async def _ask_pool(self, statement: LiteralString) -> list[tuple[Any, ...]]:
        async def fetch(connection: AsyncConnection[Any]) -> list[tuple[Any, ...]]:
            return await (await connection.execute(statement)).fetchall()

        try:
            return await self.ask(fetch)
        except (psycopg.Error, PoolTimeout) as error:
            raise as_trouble(error, self._settings) from error

    async def ask(self, ask: Callable[[AsyncConnection[Any]], Awaitable[_T]]) -> _T:
        """
        Ask a question on the event loop, with a connection of `pool`; once more where that one had been lost.
        """
        try:
            async with self.pool.connection() as connection:
                return await ask(connection)
        except psycopg.Error as error:
            if not is_store_gone(error):
                raise
        await self.pool.check()
        async with self.pool.connection() as connection:
            return await ask(connection)

    async def _ask_keeper(
        self, ask: Callable[Concatenate[Connection, _P], _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        try:
            return await asyncio.to_thread(lambda: self._keeper.ask(ask, *args, **kwargs))
        except psycopg.Error as error:
            raise as_trouble(error, self._settings) from error


class _Keeper:
    """
    The one connection that may write, for keeping snapshots; made anew when it is lost.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turn = threading.Lock()
        self._connection: Connection | None = None

    def ask(self, ask: Callable[Concatenate[Connection, _P], _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        with self._turn:
            is_old = self._connection is not None and not self._connection.closed
            try:
                return ask(self._connect(), *args, **kwargs)
            except psycopg.Error as error:
                if not is_store_gone(error):
                    raise
                self._drop()
                if not is_old:
                    raise
                return ask(self._connect(), *args, **kwargs)  # the server was restarted since the last question

    def close(self) -> None:
        with self._turn:
            self._drop()

    def _connect(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = self._database.connect(autocommit=True, application_name="stopsearch snapshots")
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _current(connection: Connection) -> tuple[Snapshot, int]:
    return current_snapshot(connection)


def _at_instant(connection: Connection, instant: datetime) -> Snapshot:
    return asked_snapshot(connection, as_of=instant)


def _by_id(connection: Connection, snapshot_id: str) -> Snapshot:
    return asked_snapshot(connection, snapshot=snapshot_id)


def as_trouble(error: Exception, settings: Settings) -> StopSearchError:
    """
    Say what an error of the driver or of the pool means for whoever asked.
    """
    if isinstance(error, psycopg.errors.QueryCanceled):
        return QueryTooSlow(
            f"Answering this takes longer than the {settings.statement_timeout_s:g} s that one statement may.",
            remedy="Ask for fewer forces or months at once, or take an export.",
        )
    if isinstance(error, PoolTimeout):
        return StoreUnavailable("Every connection to the database is busy.", remedy="Try again in a few seconds.")
    return known_trouble(error) or store_gone(error)
