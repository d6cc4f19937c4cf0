"""
Processes that ask the publisher for the same month over and over, eight times at once each, until told to stop.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from structlog.testing import capture_logs

from stopsearch.domain.months import Month
from stopsearch.flows.call_limits import call_limits
from stopsearch.settings import Settings
from stopsearch.source import redis_breaker, redis_limiter, shared_state
from stopsearch.source.api import PoliceApi
from stopsearch.store.database import outside_database

if TYPE_CHECKING:
    from builders.standin import RunningStandin
    from builders.valkey import RunningValkey

FORCE, MONTH = "durham", "2023-07"

_AT_ONCE = 8
_LOOK_AGAIN_S = 1.5
_PATIENCE_S = 120.0

# Forked from one that has everything imported: on a busy machine that takes many times as long as what is tested.
_FORKED = multiprocessing.get_context("forkserver")
_FORKED.set_forkserver_preload(
    [call_limits.__module__, PoliceApi.__module__, redis_limiter.__name__, redis_breaker.__name__]
)


@contextmanager
def asking(
    standin: RunningStandin, valkey: RunningValkey, database_url: str, *, processes: int
) -> Iterator[list[tuple[int, list[str]]]]:
    """
    Let so many processes ask for as long as the block lasts, which begins once all are at it.

    Gives a list that holds, after the block, each one's count of requests and the names of what it logged.
    """
    stop, results = _FORKED.Event(), _FORKED.Queue()
    askers = [
        _FORKED.Process(
            target=_ask,
            args=(f"{number}@example.org", database_url, standin.url, valkey.url, stop, results),
            daemon=True,
        )
        for number in range(processes)
    ]
    given: list[tuple[int, list[str]]] = []
    for asker in askers:
        asker.start()
    try:
        until = time.monotonic() + _PATIENCE_S
        while len({arrival.user_agent for arrival in standin.stats.arrivals}) < processes:
            assert time.monotonic() < until, "not all have begun"
            time.sleep(0.02)
        yield given
        stop.set()
        given += [results.get(timeout=_PATIENCE_S) for _ in askers]
        for asker in askers:
            asker.join(_PATIENCE_S)
            assert asker.exitcode == 0
    finally:
        for asker in askers:
            asker.kill()


def _ask(name: str, database_url: str, upstream_url: str, redis_url: str, stop: Any, results: Any) -> None:
    shared_state.LOOK_AGAIN_S = _LOOK_AGAIN_S
    database = outside_database(database_url)
    settings = Settings(_env_file=None, upstream_url=upstream_url, redis_url=redis_url, contact=name)  # type: ignore[call-arg]  # of pydantic

    async def ask_on(api: PoliceApi) -> None:
        while not stop.is_set():
            await api.fetch_month(FORCE, Month.parse(MONTH))

    async def main() -> int:
        async with (
            call_limits(database, settings) as limits,
            PoliceApi.from_settings(settings, limiter=limits.limiter, breaker=limits.breaker) as api,
        ):
            await asyncio.gather(*(ask_on(api) for _ in range(_AT_ONCE)))
            return api.traffic.requests

    with capture_logs() as events:
        requests = asyncio.run(main())
    database.close()
    results.put((requests, [event["event"] for event in events]))
