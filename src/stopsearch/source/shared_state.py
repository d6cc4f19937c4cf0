"""
What all processes know together of the publisher, in one Redis: read and changed by scripts that run there whole.
"""

from __future__ import annotations

import asyncio
import time
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import AuthenticationError, BusyLoadingError
from redis.exceptions import ConnectionError as ConnectionLost

from stopsearch.domain.errors import ConfigError

_CONNECT_S = 1.0
_ANSWER_S = 2.0
# All that one question may take: looking a name up is bounded by nothing else.
_PATIENCE_S = 3.0

# How long Redis is left alone after it failed, before one question finds out whether it is back.
LOOK_AGAIN_S = 5.0


class SharedStateAway(Exception):
    """
    Redis is away: it can't be reached, does not answer in time, or answers nonsense. `fault` names how.

    Whoever asks goes on without it, so this one never reaches a user.
    """

    def __init__(self, fault: str) -> None:
        super().__init__(f"Redis is away: {fault}")
        self.fault = fault


class SharedState:
    """
    A Redis, asked with little patience, one question after the other, and left alone for a while after each failure.

    For one event loop, for as long as that runs: a connection that was lost is made again. Close it when done.

    Raises:
        ConfigError: STOPSEARCH_REDIS_URL is no address.
    """

    def __init__(self, url: str) -> None:
        try:
            pool = BlockingConnectionPool.from_url(
                url,
                max_connections=2,
                timeout=_ANSWER_S,
                socket_connect_timeout=_CONNECT_S,
                socket_timeout=_ANSWER_S,
                # By itself the driver would ask again for seconds, while everybody waits.
                retry=Retry(NoBackoff(), 0),
                client_name="stopsearch-call-limits",
            )
        except ValueError:
            # Not chained: the driver's message repeats parts of the address, which may hold a password.
            raise ConfigError(
                "STOPSEARCH_REDIS_URL cannot be read as the address of a Redis.",
                remedy="Write it as redis://:password@host:port/0, or leave it out.",
            ) from None
        self._redis: Redis = Redis.from_pool(pool)
        self._scripts: dict[str, AsyncScript] = {}
        # One at a time, in order of the calls, so that slots come in that order too.
        self._turn = asyncio.Lock()
        self._away_until = 0.0
        self._fault: str | None = None

    async def run(self, script: str, key: str, *arguments: str | float) -> list[int]:
        """
        Run a Lua script on one key, and give the whole numbers that it returns.

        A connection that was lost is made again and the script run once more; whether it had run is not known then,
        so a script must do no harm when it runs twice.

        Raises:
            SharedStateAway: Redis is away, or was a moment ago.
        """
        self._refuse_if_away()
        async with self._turn:
            self._refuse_if_away()
            if self._fault is not None:
                # One question finds out whether it is back; the others don't wait for that.
                self._away_until = time.monotonic() + LOOK_AGAIN_S
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    reply = await self._run_again_if_lost(script, key, arguments)
                numbers = [int(number) for number in reply]
            except Exception as error:  # whatever Redis does, or something else in its place: we go on without it
                # Its kind alone: the text may quote the address, with its password.
                self._fault = type(error).__name__
                self._away_until = time.monotonic() + LOOK_AGAIN_S
                raise SharedStateAway(self._fault) from error
            self._fault, self._away_until = None, 0.0
            return numbers

    async def close(self) -> None:
        """
        Close the connections.
        """
        await self._redis.aclose()

    def _refuse_if_away(self) -> None:
        if time.monotonic() < self._away_until:
            raise SharedStateAway(self._fault or "TimeoutError")

    async def _run_again_if_lost(self, script: str, key: str, arguments: tuple[str | float, ...]) -> list[int]:
        known = self._scripts.setdefault(script, self._redis.register_script(script))
        try:
            return await known(keys=[key], args=arguments)  # type: ignore[no-any-return]
        except (AuthenticationError, BusyLoadingError):
            raise
        except ConnectionLost:
            # It has gone stale, which shows only in use: a server that was restarted, an idle connection cut.
            return await known(keys=[key], args=arguments)  # type: ignore[no-any-return]


def upstream_key(kind: str, upstream_url: str) -> str:
    """
    Give the key under which something of one upstream is kept, by its host and port, however the address is spelt.
    """
    host = urlsplit(upstream_url).netloc.rpartition("@")[2].lower()
    return f"stopsearch:{kind}:1:{host}"
