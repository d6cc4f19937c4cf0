"""
The call budget: the publisher's limit, shared by every process through one row of the database.
"""

from __future__ import annotations

import asyncio
import math
import time
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from urllib.parse import urlsplit

import psycopg

from stopsearch.domain.errors import SchemaOutOfDate, SourceUnavailable, StoreUnavailable
from stopsearch.store.database import Database

# An hour is the longest that one answer of the publisher may hold everybody back. A slot further off than twice
# that was reckoned before the server's clock was set back, and is forgotten.
_LONGEST_PENALTY_S = 3600.0

# The generic cell rate algorithm in one statement. `next_at` is the instant at which the next slot falls due if
# all come evenly spaced; a slot may be early by the tolerance. The row's lock puts callers in order, and the
# clock is read after it is held, on the server, so that all processes read the same one. A slot beyond the
# caller's patience is not taken: no row comes back.
_TAKE_SLOT = """
INSERT INTO call_budget AS held (upstream, next_at)
VALUES (%(upstream)s, clock_timestamp() + make_interval(secs => %(interval)s))
ON CONFLICT (upstream) DO UPDATE SET next_at =
    CASE WHEN held.next_at > clock_timestamp() + make_interval(secs => %(horizon)s) THEN clock_timestamp()
         ELSE greatest(held.next_at, clock_timestamp()) END + make_interval(secs => %(interval)s)
WHERE held.next_at <= clock_timestamp() + make_interval(secs => %(reach)s)
   OR held.next_at > clock_timestamp() + make_interval(secs => %(horizon)s)
RETURNING extract(epoch FROM next_at - clock_timestamp())::float8
"""

_READ_WAIT = """
SELECT extract(epoch FROM next_at - clock_timestamp())::float8 FROM call_budget WHERE upstream = %(upstream)s
"""

_HOLD_BACK = """
INSERT INTO call_budget AS held (upstream, next_at)
VALUES (%(upstream)s, clock_timestamp() + make_interval(secs => %(seconds)s))
ON CONFLICT (upstream) DO UPDATE SET next_at =
    greatest(held.next_at, clock_timestamp() + make_interval(secs => %(seconds)s))
"""


class PostgresCallBudget:
    """
    A limiter whose state is in the database, so that two commands at once share the publisher's limit.

    It has a connection and a thread of its own: slots are asked for in the order of the calls, and never wait
    behind a load. Close it when done. Nothing is held between calls: a process that dies costs the others the
    slots it had taken, a fraction of a second.
    """

    def __init__(self, database: Database, *, upstream_url: str, rate_per_second: float, burst: int) -> None:
        self._database = database
        self._upstream = urlsplit(upstream_url).netloc.rpartition("@")[2].lower()
        self._interval_s = 1 / rate_per_second
        self._tolerance_s = (burst - 1) * self._interval_s
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="call-budget")
        self._connection: psycopg.Connection | None = None
        self._held_until = -math.inf

    async def __aenter__(self) -> PostgresCallBudget:
        """
        Open nothing yet: the connection is made when first needed.
        """
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """
        Close the connection.
        """
        await self.close()

    async def close(self) -> None:
        """
        Close the connection and end the thread.
        """
        await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
        self._thread.shutdown(wait=False)

    async def acquire(self, *, patience_s: float = math.inf) -> float:
        """
        Wait for the next slot.

        Args:
            patience_s: Seconds beyond which it is not worth waiting; no slot is taken then.

        Returns:
            The seconds that were waited.

        Raises:
            SourceUnavailable: The next slot is further off than that, because the publisher asked to be left
                alone for longer; `retry_after_s` tells how far.
            StoreUnavailable: The database is away.
            ConfigError: The database refuses us.
            SchemaOutOfDate: The database has no call budget.
        """
        loop = asyncio.get_running_loop()
        waited_s = 0.0
        while True:
            wait_s = await loop.run_in_executor(self._thread, self._take_slot, patience_s - waited_s)
            if wait_s > 0:
                await asyncio.sleep(wait_s)
                waited_s += wait_s
            # A slot that was taken before a penalty fell in this process is void, so it is taken anew.
            if time.monotonic() >= self._held_until:
                return waited_s

    async def penalise(self, seconds: float) -> None:
        """
        Hand out no slot for so many seconds, to any process: the publisher has said that it was asked too often.

        Raises:
            StoreUnavailable: The database is away.
            ConfigError: The database refuses us.
            SchemaOutOfDate: The database has no call budget.
        """
        seconds = min(seconds, _LONGEST_PENALTY_S)
        self._held_until = max(self._held_until, time.monotonic() + seconds)
        await asyncio.get_running_loop().run_in_executor(self._thread, self._hold_back, seconds)

    def _take_slot(self, patience_s: float) -> float:
        horizon_s = 2 * _LONGEST_PENALTY_S
        values = {
            "upstream": self._upstream,
            "interval": self._interval_s,
            "reach": min(patience_s + self._tolerance_s, horizon_s),
            "horizon": horizon_s,
        }
        ahead_s = self._run(_TAKE_SLOT, values)
        if ahead_s is None:
            ahead_s = self._run(_READ_WAIT, values) or 0.0
            wait_s = max(0.0, ahead_s - self._tolerance_s)
            raise SourceUnavailable(
                f"The publisher has asked to be left alone for {wait_s:.0f} "
                f"{'second' if round(wait_s) == 1 else 'seconds'} more.",
                remedy="Run this again after that; what is due stays due.",
                status=429,
                retry_after_s=wait_s,
            )
        return max(0.0, ahead_s - self._interval_s - self._tolerance_s)

    def _hold_back(self, seconds: float) -> None:
        self._run(_HOLD_BACK, {"upstream": self._upstream, "seconds": seconds + self._tolerance_s})

    def _run(self, statement: str, values: dict[str, object]) -> float | None:
        # Twice, since a connection that has gone stale shows only in use. A statement that was carried out
        # without our hearing of it costs one slot.
        for is_last in (False, True):
            try:
                cursor = self._connect().execute(statement, values)
                row = cursor.fetchone() if cursor.description else None
                return None if row is None else float(row[0])
            except psycopg.errors.UndefinedTable as error:
                raise SchemaOutOfDate(
                    "The database has no call budget.",
                    remedy="Bring the database up to date first: its migrations have not all run.",
                ) from error
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                self._disconnect()
                if is_last:
                    raise StoreUnavailable(
                        f"The {self._database.place} went away while the call budget was asked.",
                        remedy="See that the server runs, then run this again; what is due stays due.",
                    ) from error
        raise AssertionError("unreachable")

    def _connect(self) -> psycopg.Connection:
        if self._connection is None:
            connection = self._database.connect(autocommit=True, application_name="stopsearch call budget")
            # After a crash the last half second of slots may be forgotten, which the publisher's own burst
            # allows; in return no slot waits for the disk.
            connection.execute("SET synchronous_commit = off")
            connection.execute("SET statement_timeout = '10s'")
            self._connection = connection
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
