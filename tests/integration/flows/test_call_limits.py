"""
Processes that ask the publisher at once, with Redis, without it, and while it dies under them.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import redis
from structlog.testing import capture_logs

from builders.askers import FORCE, MONTH, asking
from builders.ingests import ingest_api, settings_for
from builders.standin import RunningStandin, make_api_record, running_standin
from builders.store_state import count_rows
from builders.valkey import RunningValkey, running_valkey
from stopsearch.domain.errors import ConfigError, UpstreamDown
from stopsearch.flows.call_limits import call_limits
from stopsearch.source.breaker import ProcessBreaker, Verdict
from stopsearch.standin.limit import Limit
from stopsearch.store.call_budget import PostgresCallBudget
from stopsearch.store.database import Database

pytestmark = pytest.mark.integration

PROCESSES = 4
RATE = 14.5
HELD = {(FORCE, MONTH): [make_api_record()]}


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[RunningValkey]:
    with running_valkey(tmp_path) as server:
        yield server


def arrivals_between(standin: RunningStandin, first: float, last: float) -> int:
    return sum(first <= arrival.at < last for arrival in standin.stats.arrivals)


def test_four_processes_keep_the_publishers_limit_and_use_it(valkey: RunningValkey, database_url: str) -> None:
    with running_standin(HELD, limit=Limit()) as standin:
        with asking(standin, valkey, database_url, processes=PROCESSES) as given:
            began = time.monotonic()
            time.sleep(4)
            ended = time.monotonic()

        assert standin.stats.limited == 0
        assert set(standin.stats.by_status) == {200}
        assert arrivals_between(standin, began, ended) >= 0.85 * RATE * (ended - began)
        assert sum(requests for requests, _ in given) == standin.stats.total
    assert [names for _, names in given] == [[]] * PROCESSES
    shares = [requests for requests, _ in given]
    assert min(shares) >= max(shares) / 4, "one process was left behind"


def test_a_penalty_given_to_one_process_holds_back_all(valkey: RunningValkey, database_url: str) -> None:
    with running_standin(HELD, limit=Limit()) as standin:
        with asking(standin, valkey, database_url, processes=PROCESSES):
            standin.faults.storm(retry_after_s=2, times=1, path="/api/stops-force")
            time.sleep(4)

        [refused] = [arrival.at for arrival in standin.stats.arrivals if arrival.status == 429]
        # What had its slot already is on the way for an instant.
        assert arrivals_between(standin, refused + 0.5, refused + 1.95) == 0
        assert arrivals_between(standin, refused + 1.95, refused + 4) >= 5
        assert standin.stats.limited == 0


@pytest.mark.parametrize("fault", ["killed", "frozen"])
def test_redis_dies_under_four_processes_and_comes_back(valkey: RunningValkey, database_url: str, fault: str) -> None:
    with running_standin(HELD, limit=Limit()) as standin:
        with asking(standin, valkey, database_url, processes=PROCESSES) as given:
            if fault == "killed":
                valkey.kill()
                time.sleep(0.7)
                away_from = time.monotonic()
                time.sleep(3.5)
                away_until = time.monotonic()
                valkey.start()
            else:
                with valkey.frozen():
                    time.sleep(3.5)  # in which all find out
                    away_from = time.monotonic()
                    time.sleep(3)
                    away_until = time.monotonic()
            time.sleep(4)
            back_at = time.monotonic()
            time.sleep(1.5)

        assert standin.stats.limited == 0
        away = arrivals_between(standin, away_from, away_until)
        share = RATE / 2 * (away_until - away_from)
        assert share / 3 <= away <= share + 3
        assert arrivals_between(standin, back_at, back_at + 1.5) >= 4
    for _, names in given:
        said = Counter(names)
        assert said.pop("limiter_fell_back") == said.pop("limiter_back") == 1
        assert said.pop("breaker_fell_back", 0) == said.pop("breaker_back", 0) <= 1
        assert not said


def test_redis_losing_its_data_overfills_nothing(valkey: RunningValkey, database_url: str) -> None:
    with running_standin(HELD, limit=Limit()) as standin:
        with asking(standin, valkey, database_url, processes=PROCESSES), redis.Redis.from_url(valkey.url) as client:
            for _ in range(4):
                client.flushall()
                time.sleep(0.7)

        assert standin.stats.limited == 0


def test_one_breaker_for_all(valkey: RunningValkey, database: Database) -> None:
    async def main() -> None:
        settings = settings_for(redis_url=valkey.url, breaker_failures=3)
        async with call_limits(database, settings) as one, call_limits(database, settings) as other:
            for number in range(3):
                await one.breaker.leave(await one.breaker.enter(f"month {number}"), Verdict.DOWN)
            with pytest.raises(UpstreamDown, match="left alone for 60 seconds"):
                await other.breaker.enter("x")

    asyncio.run(main())


def test_an_ingest_takes_its_slots_from_redis(valkey: RunningValkey, database: Database) -> None:
    with running_standin(HELD) as standin:
        report = ingest_api(database, standin.url, redis_url=valkey.url)
        host = standin.url.removeprefix("http://").removesuffix("/api")

    assert report.status == "finished"
    assert count_rows(database, "call_budget") == 0
    with redis.Redis.from_url(valkey.url, decode_responses=True) as client:
        assert sorted(client.keys()) == [f"stopsearch:breaker:1:{host}", f"stopsearch:pace:1:{host}"]


def test_an_ingest_goes_on_where_there_is_no_redis(valkey: RunningValkey, database: Database) -> None:
    valkey.kill()
    with running_standin(HELD) as standin, capture_logs() as events:
        report = ingest_api(database, standin.url, redis_url=valkey.url)

    assert report.status == "finished"
    assert [event["event"] for event in events].count("limiter_fell_back") == 1
    assert count_rows(database, "call_budget") == 1


def test_connections_are_closed_at_the_end(valkey: RunningValkey, database: Database) -> None:
    async def main() -> None:
        with suppress(RuntimeError):
            async with call_limits(database, settings_for(redis_url=valkey.url)) as limits:
                await limits.limiter.acquire()
                await limits.breaker.enter("x")
                raise RuntimeError("whatever goes wrong")

    asyncio.run(main())
    with redis.Redis.from_url(valkey.url, decode_responses=True) as client:
        assert [one["name"] for one in client.client_list() if one["name"] == "stopsearch-call-limits"] == []


def test_without_a_redis_the_database_keeps_the_pace(database: Database) -> None:
    async def main() -> None:
        async with call_limits(database, settings_for()) as limits:
            assert isinstance(limits.limiter, PostgresCallBudget)
            assert isinstance(limits.breaker, ProcessBreaker)
            waits = [await limits.limiter.acquire() for _ in range(8)]
            assert sum(waits) == 0, "the whole rate, with its burst"

    asyncio.run(main())


def test_without_a_redis_its_client_is_not_imported() -> None:
    program = "import sys; import stopsearch.flows.ingest_from_api; print('redis' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.strip() == "False"


def test_an_address_that_is_none_is_refused(database: Database) -> None:
    async def main() -> None:
        async with call_limits(database, settings_for(redis_url="redis.example.org:6379")):
            pytest.fail("it began")

    with pytest.raises(ConfigError, match="STOPSEARCH_REDIS_URL"):
        asyncio.run(main())
