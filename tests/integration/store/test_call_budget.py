"""
Several processes on one database together stay within the publisher's limit.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from stopsearch.domain.errors import ConfigError, SchemaOutOfDate, SourceUnavailable, StoreUnavailable
from stopsearch.source.limiter import BURST, Limiter
from stopsearch.store.call_budget import PostgresCallBudget
from stopsearch.store.database import Database
from stopsearch.store.embedded import EmbeddedServer

pytestmark = pytest.mark.integration

UPSTREAM = "https://data.police.uk/api"
RATE = 14.5
PUBLISHER_RATE, PUBLISHER_BURST = 15.0, 30.0


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    folder = Path(tempfile.mkdtemp(prefix="call-budget-"))
    try:
        with EmbeddedServer(folder / "data", is_durable=False) as server:
            server.ensure_database("call_budget")
            server.ensure_database("bare")
            with psycopg.connect(server.conninfo("call_budget")) as connection:
                connection.execute("CREATE TABLE call_budget (upstream text PRIMARY KEY, next_at timestamptz NOT NULL)")
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def database(server: EmbeddedServer) -> Database:
    database = Database(conninfo=server.conninfo("call_budget"), place="database of the test")
    with database.connect() as connection:
        connection.execute("TRUNCATE call_budget")
    return database


def budget_on(database: Database, *, upstream_url: str = UPSTREAM, rate: float = RATE) -> PostgresCallBudget:
    return PostgresCallBudget(database, upstream_url=upstream_url, rate_per_second=rate, burst=BURST)


def refused(arrivals: list[float]) -> int:
    """
    Count the requests that the publisher's leaky bucket, strictly kept, turns away.
    """
    level, last, count = 0.0, 0.0, 0
    for at in sorted(arrivals):
        level = max(0.0, level - (at - last) * PUBLISHER_RATE)
        last = at
        if level + 1 > PUBLISHER_BURST:
            count += 1
        else:
            level += 1
    return count


async def take(budget: Limiter, count: int, at_once: int) -> list[float]:
    taken: list[float] = []

    started = 0

    async def work() -> None:
        nonlocal started
        while started < count:
            started += 1
            await budget.acquire()
            taken.append(time.time())

    await asyncio.gather(*(work() for _ in range(at_once)))
    return taken


def take_in_a_process(database: Database, count: int, results: Any, start: Any) -> None:
    async def main() -> list[float]:
        async with budget_on(database) as budget:
            return await take(budget, count, 8)

    start.wait(30)
    results.put(asyncio.run(main()))


def test_two_processes_share_the_limit_and_waste_little_of_it(database: Database) -> None:
    spawn = multiprocessing.get_context("spawn")
    results, start = spawn.Queue(), spawn.Barrier(2)
    workers = [spawn.Process(target=take_in_a_process, args=(database, 30, results, start)) for _ in range(2)]
    for worker in workers:
        worker.start()
    taken = [at for _ in workers for at in results.get(timeout=60)]
    for worker in workers:
        worker.join(10)
        assert worker.exitcode == 0
    assert len(taken) == 60
    assert refused(taken) == 0
    for start in taken:  # never more than the burst beyond the pace, in any stretch of a second
        assert sum(start <= at < start + 1 for at in taken) <= BURST + RATE + 1
    spread_s = max(taken) - min(taken)
    assert (60 - BURST - 1) / RATE - 0.05 <= spread_s <= (60 - BURST) / RATE * 1.1 + 0.3


def test_slots_are_handed_out_in_the_order_of_the_calls(database: Database) -> None:
    async def main() -> list[int]:
        order: list[int] = []

        async def ask(budget: PostgresCallBudget, number: int) -> None:
            await budget.acquire()
            order.append(number)

        async with budget_on(database, rate=100) as budget:
            await asyncio.gather(*(ask(budget, n) for n in range(30)))
        return order

    assert asyncio.run(main()) == list(range(30))


def test_the_state_outlives_the_process(database: Database) -> None:
    """
    A command that is killed and run again finds the budget as it left it: no second burst.
    """

    async def one_command() -> list[float]:
        async with budget_on(database) as budget:
            return await take(budget, 10, 10)

    taken = [at for _ in range(4) for at in asyncio.run(one_command())]
    assert max(taken) - min(taken) >= (40 - BURST - 1) / RATE
    assert refused(taken) == 0


def test_a_process_killed_while_it_asks_stops_nobody(database: Database) -> None:
    spawn = multiprocessing.get_context("spawn")
    worker = spawn.Process(target=take_in_a_process, args=(database, 10_000, spawn.Queue(), spawn.Barrier(1)))
    worker.start()

    async def main() -> list[float]:
        async with budget_on(database) as budget:
            while await budget.acquire() == 0:  # until the other one is at it too
                await asyncio.sleep(0.03)
            os.kill(worker.pid or 0, signal.SIGKILL)
            worker.join(10)
            began = time.time()
            return [at - began for at in await take(budget, 15, 4)]

    taken = asyncio.run(main())
    assert max(taken) < 15 / RATE + 8 / RATE + 0.5


def test_a_penalty_holds_back_every_process(database: Database) -> None:
    async def main() -> tuple[float, float, float]:
        async with budget_on(database) as one, budget_on(database) as other:
            await one.acquire()
            began = time.monotonic()
            await one.penalise(1.0)
            waits = await asyncio.gather(one.acquire(), other.acquire())
            return *waits, time.monotonic() - began

    first, second, took_s = asyncio.run(main())
    assert first == pytest.approx(1.0, abs=0.1)
    assert second == pytest.approx(1.0 + 1 / RATE, abs=0.1)
    assert 1.0 <= took_s < 1.5


def test_a_penalty_voids_slots_taken_before_it(database: Database) -> None:
    async def main() -> list[float]:
        async with budget_on(database) as budget:
            asks = asyncio.create_task(take(budget, 16, 16))
            await asyncio.sleep(0.1)
            await budget.penalise(1.0)
            held_from = time.time()
            return [at - held_from for at in await asks]

    taken = asyncio.run(main())
    assert sum(at > 0 for at in taken) >= 4
    assert all(at < 0.05 or at >= 0.95 for at in taken)


def test_a_slot_beyond_patience_is_refused_with_its_time_and_not_taken(database: Database) -> None:
    async def main() -> None:
        async with budget_on(database) as budget:
            await budget.penalise(10**9)
            for _ in range(30):
                with pytest.raises(SourceUnavailable, match="left alone for 3") as caught:
                    await asyncio.wait_for(budget.acquire(patience_s=60), 10)
            assert caught.value.retry_after_s == pytest.approx(3600, abs=2)
            assert caught.value.status == 429

    asyncio.run(main())


def test_a_clock_set_back_by_hours_is_forgotten(database: Database) -> None:
    async def main() -> float:
        async with budget_on(database) as budget:
            await budget.acquire()
            with database.connect() as connection:
                connection.execute("UPDATE call_budget SET next_at = now() + interval '5 hours'")
            return await asyncio.wait_for(budget.acquire(), 10) + await asyncio.wait_for(budget.acquire(), 10)

    assert asyncio.run(main()) == 0


def test_one_upstream_does_not_use_up_another_and_spelling_does_not_matter(database: Database) -> None:
    async def main() -> float:
        stand_in = "http://127.0.0.1:8080/api"
        async with (
            budget_on(database) as real,
            budget_on(database, upstream_url="https://user:secret@DATA.police.uk/api/") as same,
            budget_on(database, upstream_url=stand_in) as other,
        ):
            await real.penalise(0.5)
            assert await other.acquire() == 0
            return await same.acquire()

    assert asyncio.run(main()) == pytest.approx(0.5, abs=0.1)
    with database.connect() as connection:
        rows = connection.execute("SELECT upstream FROM call_budget ORDER BY 1").fetchall()
    assert rows == [("127.0.0.1:8080",), ("data.police.uk",)]


def test_a_lost_connection_is_made_again(database: Database) -> None:
    async def main() -> None:
        async with budget_on(database) as budget:
            await budget.acquire()
            with database.connect(autocommit=True) as connection:
                killed = connection.execute(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                    "WHERE application_name = 'stopsearch call budget'"
                ).fetchone()
            assert killed == (1,)
            await budget.acquire()

    asyncio.run(main())


def test_a_cancelled_wait_leaves_the_budget_usable(database: Database) -> None:
    async def main() -> float:
        async with budget_on(database) as budget:
            await budget.penalise(0.3)
            waits = [asyncio.create_task(budget.acquire()) for _ in range(5)]
            await asyncio.sleep(0.05)
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
            return await budget.acquire()

    assert asyncio.run(main()) < 0.3 + 6 / RATE


def test_says_what_is_wrong_with_the_database(database: Database, server: EmbeddedServer) -> None:
    async def ask(of: Database) -> None:
        async with budget_on(of) as budget:
            await budget.acquire()

    with pytest.raises(SchemaOutOfDate, match="no call budget"):
        asyncio.run(ask(replace(database, conninfo=server.conninfo("bare"))))
    with pytest.raises(ConfigError):
        asyncio.run(ask(replace(database, conninfo=server.conninfo("nowhere"))))
    with pytest.raises(StoreUnavailable):
        asyncio.run(ask(Database(conninfo="host=127.0.0.1 port=1 dbname=x", place="closed door")))


def test_slots_wait_for_no_disk(database: Database) -> None:
    budget = budget_on(database)
    connection = budget._connect()
    assert connection.execute("SHOW synchronous_commit").fetchone() == ("off",)
    connection.close()
