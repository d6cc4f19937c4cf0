"""
Costly answers, kept by what they were made from: in this process, and in Redis where there is one.

A key holds the snapshot's id, so nothing that is kept can go stale, and nothing is ever thrown out for being old: a new
revision makes a new snapshot, whose answers have other keys. Redis may be away at any time; then answers are made anew.
"""

from __future__ import annotations

import asyncio
import hmac
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from time import monotonic

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from stopsearch.domain.errors import ConfigError
from stopsearch.settings import Settings
from stopsearch.telemetry.events import Event

log = structlog.get_logger()

# What Redis may cost a request at most, before the answer is simply made.
_PATIENCE_S = 0.2
# How long Redis is left alone after it failed.
_PAUSE_S = 5.0
# More questions than this at once wait for each other, and are no failure.
_MOST_CONNECTIONS = 32
_KEPT_S = 86_400
_MOST_BYTES = 4 * 1024 * 1024
_PREFIX = b"stopsearch:answer:1:"
_HEAD = b"stopsearch-answer-1\n"
_MAC_BYTES = 32
# What keeping an answer takes beside its content, in this process.
_KEEPING_BYTES = 1024


@dataclass(frozen=True, kw_only=True)
class Answer:
    """
    One answer as it goes out: its bytes, before any compression, and what they are.
    """

    content: bytes
    media_type: str


@dataclass(kw_only=True)
class CacheStatistics:
    """
    How often answers were found, and what became of the others, since the process began.
    """

    hits: int = 0  # found in this process
    redis_hits: int = 0  # found in Redis
    joined: int = 0  # asked while the same was being made, and given that
    misses: int = 0  # made
    redis_failures: int = 0  # Redis failed or was too slow
    refused_values: int = 0  # what Redis held was not what was kept there


def answer_key(
    software_version: str, snapshot_id: str, path: str, canonical_query: str, base_url: str, media_format: str
) -> str:
    """
    Give the key of an answer, from all that its bytes are made from: the same in every process and on every machine.
    """
    parts = (software_version, snapshot_id, path, canonical_query, base_url, media_format)
    return sha256(b"\xff".join(part.encode("utf-8", "surrogatepass") for part in parts)).hexdigest()


class AnswerCache:
    """
    Keeps answers, and makes each that is asked for at the same time by many only once. For one event loop.

    Args:
        secret: A key that whoever can write to Redis does not have, so that nobody else's values are believed.

    Raises:
        ConfigError: STOPSEARCH_REDIS_URL is no address.
    """

    def __init__(self, settings: Settings, *, secret: bytes = b"") -> None:
        self.statistics = CacheStatistics()
        self._most_bytes = settings.page_cache_mb * 1024 * 1024
        self._kept: OrderedDict[str, Answer] = OrderedDict()
        self._kept_bytes = 0
        self._being_made: dict[str, asyncio.Task[Answer]] = {}
        self._being_kept: set[asyncio.Task[None]] = set()
        self._redis = _Shared(settings.redis_url.get_secret_value(), self.statistics) if settings.redis_url else None
        self._secret = sha256(b"answers" + secret).digest()

    async def get_or_make(self, key: str, make: Callable[[], Awaitable[Answer]]) -> Answer:
        """
        Give the answer that is kept under a key, or make and keep it.

        Args:
            make: Makes it. What it raises is raised here, to all who wait for the same, and nothing is kept.
        """
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            self.statistics.hits += 1
            return kept
        task = self._being_made.get(key)
        if task is None:
            task = self._being_made[key] = asyncio.create_task(self._find_or_make(key, make))
            task.add_done_callback(lambda done: self._forget(key, done))
        else:
            self.statistics.joined += 1
        # A client that leaves must not end what others wait for.
        return await asyncio.shield(task)

    async def ping(self) -> str:
        """
        Tell how Redis is: "off" without one, "ready" or "away".
        """
        if self._redis is None:
            return "off"
        return "ready" if await self._redis.answers() else "away"

    async def close(self) -> None:
        """
        Finish what is being kept, and leave Redis.
        """
        if self._being_kept:
            await asyncio.wait(self._being_kept, timeout=1)
        if self._redis is not None:
            await self._redis.close()

    def _forget(self, key: str, done: asyncio.Task[Answer]) -> None:
        self._being_made.pop(key, None)
        if not done.cancelled():
            done.exception()  # looked at, so that it is not called lost where everybody has left

    async def _find_or_make(self, key: str, make: Callable[[], Awaitable[Answer]]) -> Answer:
        found = await self._find(key)
        if found is not None:
            self.statistics.redis_hits += 1
            self._keep_here(key, found)
            return found
        self.statistics.misses += 1
        answer = await make()
        self._keep_here(key, answer)
        if self._redis is not None and len(answer.content) <= _MOST_BYTES:
            keeping = asyncio.create_task(self._redis.set(key, self._sealed(key, answer)))
            self._being_kept.add(keeping)
            keeping.add_done_callback(self._being_kept.discard)
        return answer

    async def _find(self, key: str) -> Answer | None:
        value = await self._redis.get(key) if self._redis is not None else None
        if value is None:
            return None
        answer = self._opened(key, value)
        if answer is None:
            self.statistics.refused_values += 1
        return answer

    def _keep_here(self, key: str, answer: Answer) -> None:
        # One answer that fills the cache would push out many that are asked for more often.
        if _kept_bytes(answer) > self._most_bytes // 4:
            return
        replaced = self._kept.pop(key, None)
        self._kept_bytes += _kept_bytes(answer) - (_kept_bytes(replaced) if replaced else 0)
        self._kept[key] = answer
        while self._kept_bytes > self._most_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= _kept_bytes(oldest)

    def _sealed(self, key: str, answer: Answer) -> bytes:
        media_type = answer.media_type.encode("ascii")
        body = bytes([len(media_type)]) + media_type + answer.content
        return _HEAD + self._mac(key, body) + body

    def _opened(self, key: str, value: bytes) -> Answer | None:
        """
        Read a value, where it is one that was kept under this key.
        """
        begin = len(_HEAD) + _MAC_BYTES
        body = value[begin:]
        if not value.startswith(_HEAD) or not body:
            return None
        if not hmac.compare_digest(value[len(_HEAD) : begin], self._mac(key, body)):
            return None
        return Answer(media_type=body[1 : 1 + body[0]].decode("ascii"), content=body[1 + body[0] :])

    def _mac(self, key: str, body: bytes) -> bytes:
        return hmac.digest(self._secret, key.encode() + body, "sha256")


def _kept_bytes(answer: Answer) -> int:
    return len(answer.content) + _KEEPING_BYTES


class _Shared:
    """
    Redis, asked with little patience, and left alone for a while after each failure.
    """

    def __init__(self, url: str, statistics: CacheStatistics) -> None:
        self._statistics = statistics
        self._is_away = False
        self._away_until = 0.0
        try:
            pool = BlockingConnectionPool.from_url(
                url,
                max_connections=_MOST_CONNECTIONS,
                timeout=2 * _PATIENCE_S,
                socket_connect_timeout=_PATIENCE_S,
                socket_timeout=_PATIENCE_S,
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError:
            # Not chained: the driver's message repeats parts of the address, which may hold a password.
            raise ConfigError(
                "STOPSEARCH_REDIS_URL cannot be read as the address of a Redis.",
                remedy="Write it as redis://:password@host:port/0, or leave it out.",
            ) from None
        self._redis: Redis = Redis.from_pool(pool)

    async def get(self, key: str) -> bytes | None:
        """
        Give the value of a key; None where there is none, or Redis is away.
        """
        return await self._asked(lambda: self._redis.get(_PREFIX + key.encode()))

    async def set(self, key: str, value: bytes) -> None:
        """
        Keep a value for a day, if Redis is there.
        """
        await self._asked(lambda: self._redis.set(_PREFIX + key.encode(), value, ex=_KEPT_S))

    async def answers(self) -> bool:
        """
        Tell whether Redis answers; within its pause it is not asked.
        """
        return await self._asked(self._redis.ping) is not None

    async def close(self) -> None:
        """
        Close its connections.
        """
        await self._redis.aclose()

    async def _asked(self, ask: Callable[[], Awaitable[object]]) -> bytes | None:
        now = monotonic()
        if now < self._away_until:
            return None
        if self._is_away:
            self._away_until = now + _PAUSE_S  # one question finds out whether it is back; the others don't wait
        try:
            async with asyncio.timeout(2 * _PATIENCE_S):  # looking its name up is bounded by nothing else
                answer = await ask()
        except Exception as error:  # whatever Redis does, or something else in its place: an answer is made without it
            self._statistics.redis_failures += 1
            self._away_until = monotonic() + _PAUSE_S
            if not self._is_away:
                # Its kind alone: the text may quote the address, with its password.
                log.warning(Event.CACHE_LEFT, fault=type(error).__name__, pause_s=_PAUSE_S)
            self._is_away = True
            return None
        self._away_until = 0.0
        if self._is_away:
            log.warning(Event.CACHE_BACK)
        self._is_away = False
        return answer  # type: ignore[return-value]  # redis types every command's answer as one union
