"""
The limiter and the breaker that all who ask the publisher share, as the settings say.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from stopsearch.settings import Settings
from stopsearch.source.breaker import Breaker, ProcessBreaker
from stopsearch.source.limiter import BURST, Limiter, Pace
from stopsearch.store.call_budget import PostgresCallBudget
from stopsearch.store.database import Database

# A probe that has had no verdict for so much longer than one answer may take was lost with its process.
_LEASE_SLACK_S = 15.0


@dataclass(frozen=True, kw_only=True)
class CallLimits:
    """
    When the publisher may be asked: at what pace, and whether at all.
    """

    limiter: Limiter
    breaker: Breaker


@asynccontextmanager
async def call_limits(database: Database, settings: Settings) -> AsyncIterator[CallLimits]:
    """
    Give the limiter and the breaker for one event loop, for as long as it runs: connections that are lost on the way
    are made again.

    With a Redis both are shared through it, and while it is away the limiter falls back on the database at a share of
    the rate. Without one the pace is shared through the database, and each process has a breaker of its own.

    Raises:
        ConfigError: STOPSEARCH_REDIS_URL is no address.
    """
    if settings.redis_url is None:
        async with _budget(database, settings) as budget:
            breaker = ProcessBreaker(failures=settings.breaker_failures, pause_s=settings.breaker_pause_s)
            yield CallLimits(limiter=budget, breaker=breaker)
        return
    # Only here: whoever uses no Redis does not wait for its client to be imported.
    from stopsearch.source.redis_breaker import RedisBreaker
    from stopsearch.source.redis_limiter import FallbackLimiter, RedisLimiter
    from stopsearch.source.shared_state import SharedState

    state = SharedState(settings.redis_url.get_secret_value())
    try:
        async with _budget(database, settings, share=settings.fallback_share, burst=1) as budget:
            primary = RedisLimiter(
                state,
                upstream_url=settings.upstream_url,
                pace=Pace(rate_per_second=settings.rate_per_second),
                share_away=settings.fallback_share,
            )
            yield CallLimits(
                limiter=FallbackLimiter(
                    primary, budget, rate_per_second=settings.rate_per_second * settings.fallback_share
                ),
                breaker=RedisBreaker(
                    state,
                    upstream_url=settings.upstream_url,
                    failures=settings.breaker_failures,
                    pause_s=settings.breaker_pause_s,
                    lease_s=settings.request_timeout_s + _LEASE_SLACK_S,
                ),
            )
    finally:
        await state.close()


def _budget(database: Database, settings: Settings, *, share: float = 1.0, burst: int = BURST) -> PostgresCallBudget:
    return PostgresCallBudget(
        database,
        upstream_url=settings.upstream_url,
        rate_per_second=settings.rate_per_second * share,
        burst=burst,
    )
