"""
Several processes on one Redis together stay within the publisher's limit, whatever becomes of Redis.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from structlog.testing import capture_logs

from builders.valkey import RunningValkey, running_valkey
from stopsearch.domain.errors import ConfigError, SourceUnavailable, StoreUnavailable
from stopsearch.source import shared_state
from stopsearch.source.limiter import BURST, Limiter, Pace
from stopsearch.source.redis_limiter import FallbackLimiter, RedisLimiter
from stopsearch.source.shared_state import SharedState, SharedStateAway
from stopsearch.store.call_budget import PostgresCallBudget
from stopsearch.store.database import Database

pytestmark = pytest.mark.integration

UPSTREAM = "https://data.police.uk/api"
KEY = "stopsearch:pace:1:data.police.uk"
RATE = 14.5
PUBLISHER_RATE, PUBLISHER_BURST = 15.0, 30.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningValkey]:
    with running_valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def valkey(server: RunningValkey) -> RunningValkey:
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
    return server


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[RunningValkey]:
    with running_valkey(tmp_path) as server:
        yield server


@pytest.fixture
def soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Look for Redis again after half a second.
    """
    monkeypatch.setattr(shared_state, "LOOK_AGAIN_S", 0.5)


@asynccontextmanager
async def limiter_on(
    valkey: RunningValkey, *, upstream_url: str = UPSTREAM, rate: float = RATE, share_away: float = 0.5
) -> AsyncIterator[RedisLimiter]:
    """
    Give a limiter as a process of its own has it: it shares nothing with others but Redis.
    """
    state = SharedState(valkey.url)
    pace = Pace(rate_per_second=rate)
    try:
        yield RedisLimiter(state, upstream_url=upstream_url, pace=pace, share_away=share_away)
    finally:
        await state.close()


@asynccontextmanager
async def falling_back(
    valkey: RunningValkey, database: Database, *, rate: float = RATE
) -> AsyncIterator[FallbackLimiter]:
    budget = PostgresCallBudget(database, upstream_url=UPSTREAM, rate_per_second=rate / 2, burst=1)
    async with limiter_on(valkey, rate=rate) as primary, budget:
        yield FallbackLimiter(primary, budget, rate_per_second=rate / 2)


async def take(limiter: Limiter, count: int) -> list[float]:
    """
    Take so many slots, all asked for at once, and give when each fell due.
    """

    async def one() -> float:
        await limiter.acquire()
        return time.monotonic()

    return sorted(await asyncio.gather(*(one() for _ in range(count))))


async def rested(limiter: Limiter) -> None:
    """
    Wait until the burst is whole.
    """
    await limiter.acquire()
    await asyncio.sleep((BURST + 1) / RATE)


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


def names_of(events: list[Any]) -> list[str]:
    return [event["event"] for event in events]


def change(valkey: RunningValkey, what: Callable[[Any], object]) -> Any:
    with redis.Redis.from_url(valkey.url, decode_responses=True) as client:
        return what(client)


def test_two_share_the_limit_and_waste_little_of_it(valkey: RunningValkey) -> None:
    async def main() -> list[float]:
        async with limiter_on(valkey) as one, limiter_on(valkey) as other:
            await rested(one)
            taken = await asyncio.gather(take(one, 25), take(other, 25))
            return sorted(taken[0] + taken[1])

    taken = asyncio.run(main())
    assert refused(taken) == 0
    spread_s = taken[-1] - taken[0]
    assert (50 - BURST - 1) / RATE - 0.05 <= spread_s <= (50 - BURST) / RATE * 1.1 + 0.5


def test_slots_are_handed_out_in_the_order_of_the_calls(valkey: RunningValkey) -> None:
    async def main() -> list[int]:
        order: list[int] = []

        async def ask(limiter: Limiter, number: int) -> None:
            await limiter.acquire()
            order.append(number)

        # As two processes that ask by turns.
        async with limiter_on(valkey, rate=50) as one, limiter_on(valkey, rate=50) as other:
            await asyncio.gather(one.acquire(), other.acquire())
            asked = []
            for number in range(30):
                asked.append(asyncio.create_task(ask((one, other)[number % 2], number)))
                await asyncio.sleep(0.01)
            await asyncio.gather(*asked)
        return order

    order = asyncio.run(main())
    # Two slots that fall due a fiftieth of a second apart may swap on a busy machine, but nobody is left behind.
    assert all(abs(place - number) <= 2 for place, number in enumerate(order))


def test_begins_without_a_burst_and_keeps_the_state_for_the_next(valkey: RunningValkey) -> None:
    async def one_command() -> list[float]:
        async with limiter_on(valkey) as limiter:
            return await take(limiter, 6)

    taken = [at for _ in range(3) for at in asyncio.run(one_command())]
    assert taken[5] - taken[0] >= 5 / RATE - 0.03
    assert taken[-1] - taken[0] >= (18 - BURST - 1) / RATE
    assert 0 < change(valkey, lambda client: client.pttl(KEY)) <= 2 * 3600 * 1000


def test_a_penalty_holds_back_every_process(valkey: RunningValkey) -> None:
    async def main() -> tuple[float, float]:
        async with limiter_on(valkey) as one, limiter_on(valkey) as other:
            await rested(one)
            await one.penalise(1.0)
            return await asyncio.gather(one.acquire(), other.acquire())

    first, second = sorted(asyncio.run(main()))
    assert first == pytest.approx(1.0, abs=0.2)
    assert second == pytest.approx(1.0 + 1 / RATE, abs=0.2)
    assert second > first


def test_a_penalty_voids_slots_that_other_processes_have_taken_before_it(valkey: RunningValkey) -> None:
    async def main() -> list[float]:
        async with limiter_on(valkey) as one, limiter_on(valkey) as other:
            asks = asyncio.create_task(take(other, 16))
            await asyncio.sleep(0.2)
            held_from = time.monotonic()
            await one.penalise(1.0)
            return [at - held_from for at in await asks]

    taken = asyncio.run(main())
    assert sum(at > 0.3 for at in taken) >= 10
    assert all(at < 0.15 or at >= 0.95 for at in taken)


def test_a_slot_beyond_patience_is_refused_with_its_time_and_not_taken(valkey: RunningValkey) -> None:
    async def main() -> None:
        async with limiter_on(valkey) as limiter:
            await limiter.penalise(10**9)
            for _ in range(30):
                with pytest.raises(SourceUnavailable, match="left alone for 3") as caught:
                    await asyncio.wait_for(limiter.acquire(patience_s=60), 10)
            assert caught.value.retry_after_s == pytest.approx(3600, abs=2)
            assert caught.value.status == 429

    asyncio.run(main())


@pytest.mark.parametrize("back_s", [600, 5 * 3600])
def test_a_clock_set_back_delays_nobody_and_forgets_no_penalty(valkey: RunningValkey, back_s: int) -> None:
    def set_back(client: Any) -> None:
        for field in ("next", "held", "settled", "seen"):
            client.hincrby(KEY, field, back_s * 1_000_000)

    async def main() -> tuple[float, float]:
        async with limiter_on(valkey) as limiter:
            await limiter.acquire()
            change(valkey, set_back)
            free = await asyncio.wait_for(limiter.acquire(), 10)
            await limiter.penalise(1.0)
            change(valkey, set_back)
            return free, await asyncio.wait_for(limiter.acquire(), 10)

    free, held = asyncio.run(main())
    assert free <= 0.2
    assert held == pytest.approx(1.0, abs=0.2)


def test_one_upstream_does_not_use_up_another_and_spelling_does_not_matter(valkey: RunningValkey) -> None:
    async def main() -> float:
        async with (
            limiter_on(valkey) as real,
            limiter_on(valkey, upstream_url="https://user:secret@DATA.police.uk/api/") as same,
            limiter_on(valkey, upstream_url="http://127.0.0.1:8080/api") as other,
        ):
            await real.penalise(0.5)
            assert await other.acquire() == 0
            return await same.acquire()

    assert asyncio.run(main()) == pytest.approx(0.5, abs=0.2)
    keys = change(valkey, lambda client: client.keys())
    assert sorted(keys) == ["stopsearch:pace:1:127.0.0.1:8080", KEY]


def test_lost_state_gives_no_slot_twice(valkey: RunningValkey) -> None:
    """
    Slots that were being waited for are void, and there is no burst: all keep the pace as if nothing had happened.
    """

    async def main() -> list[float]:
        async with limiter_on(valkey) as one, limiter_on(valkey) as other:
            await rested(one)
            asks = [asyncio.create_task(take(limiter, 24)) for limiter in (one, other)]
            await asyncio.sleep(0.6)
            change(valkey, lambda client: client.flushall())
            asks.append(asyncio.create_task(take(one, 20)))  # beside those who wait
            return sorted([at for ask in asks for at in await ask])

    taken = asyncio.run(main())
    assert len(taken) == 68
    assert refused(taken) == 0
    assert taken[-1] - taken[0] >= (68 - BURST - 2) / RATE


def test_lost_state_loses_no_penalty(valkey: RunningValkey) -> None:
    async def main() -> list[float]:
        waits = []
        for first in ("the one that gave it", "one that has heard of it"):
            async with limiter_on(valkey) as gave, limiter_on(valkey) as heard, limiter_on(valkey) as unaware:
                await gave.penalise(100)
                with pytest.raises(SourceUnavailable):
                    await heard.acquire(patience_s=1)
                change(valkey, lambda client: client.flushall())
                await unaware.acquire(patience_s=1)  # nobody has told yet
                for limiter in (gave if first == "the one that gave it" else heard, unaware):
                    with pytest.raises(SourceUnavailable) as caught:
                        await limiter.acquire(patience_s=1)
                    waits.append(caught.value.retry_after_s or 0)
            change(valkey, lambda client: client.flushall())
        return waits

    assert asyncio.run(main()) == pytest.approx([100] * 4, abs=3)


@pytest.mark.parametrize("lost", ["connections", "scripts"])
def test_a_lost_connection_is_made_again(valkey: RunningValkey, lost: str) -> None:
    async def main() -> None:
        async with limiter_on(valkey) as limiter:
            await limiter.acquire()
            if lost == "connections":
                assert change(valkey, lambda client: client.execute_command("CLIENT", "KILL", "TYPE", "normal")) >= 1
            else:
                change(valkey, lambda client: client.script_flush())
            await limiter.acquire()

    asyncio.run(main())


def test_a_quick_restart_is_no_outage(own_valkey: RunningValkey) -> None:
    async def main() -> list[float]:
        async with limiter_on(own_valkey) as limiter:
            await rested(limiter)
            asks = asyncio.create_task(take(limiter, 20))
            await asyncio.sleep(0.3)
            own_valkey.kill()
            own_valkey.start()
            return await asks

    taken = asyncio.run(main())
    assert taken[-1] - taken[0] >= (20 - BURST - 1) / RATE


def test_a_wait_that_is_cancelled_mixes_up_no_answers(own_valkey: RunningValkey) -> None:
    async def main() -> float:
        async with limiter_on(own_valkey) as limiter:
            await limiter.acquire()
            with own_valkey.frozen():
                asks = [asyncio.create_task(limiter.acquire()) for _ in range(5)]
                await asyncio.sleep(0.2)
                for ask in asks:
                    ask.cancel()
                ended = await asyncio.gather(*asks, return_exceptions=True)
            assert all(isinstance(end, asyncio.CancelledError) for end in ended)
            await limiter.penalise(0.4)
            return await limiter.acquire()

    assert asyncio.run(main()) == pytest.approx(0.4, abs=0.2)


@pytest.mark.usefixtures("soon_again")
def test_goes_on_at_the_share_while_redis_is_away_and_says_so_once(
    own_valkey: RunningValkey, database: Database
) -> None:
    async def main() -> tuple[list[float], list[float], list[float]]:
        async with falling_back(own_valkey, database) as limiter, falling_back(own_valkey, database) as other:
            before = await take(limiter, 12)
            asked = [asyncio.create_task(take(each, 10)) for each in (limiter, other)]
            await asyncio.sleep(0.2)
            own_valkey.kill()  # with slots being waited for: those are taken anew
            away = sorted([at for ask in asked for at in await ask])
            own_valkey.start()
            await asyncio.sleep(0.6)
            await limiter.acquire()  # which finds it back
            return before, away, await take(limiter, 12)

    with capture_logs() as events:
        before, away, back = asyncio.run(main())
    # Each of the two says once that it has left Redis; the one that goes on says that it is back.
    assert names_of(events) == ["limiter_fell_back"] * 2 + ["limiter_back"]
    assert events[0]["rate_per_second"] == RATE / 2
    assert "Error" in events[0]["fault"]
    assert refused(before + away + back) == 0
    without = [at for at in away if at > away[0] + 0.5]
    assert len(without) >= 10
    assert without[-1] - without[0] >= (len(without) - 1) / (RATE / 2) - 0.15
    # Back in Redis it keeps to half the pace for a while, since others may still be on the database.
    assert back[-1] - back[0] >= 11 / (RATE / 2) - 0.15


@pytest.mark.usefixtures("soon_again")
def test_a_frozen_redis_counts_as_away_and_delays_only_those_who_look(
    own_valkey: RunningValkey, database: Database
) -> None:
    async def main() -> tuple[float, float]:
        async with falling_back(own_valkey, database, rate=200) as limiter:
            await limiter.acquire()
            with own_valkey.frozen():
                began = time.monotonic()
                await take(limiter, 10)  # all at once: the first finds out, the others wait for that only
                found_out_s = time.monotonic() - began
                began = time.monotonic()
                await take(limiter, 10)
                after_s = time.monotonic() - began
            await asyncio.sleep(0.6)
            await limiter.acquire()
        return found_out_s, after_s

    with capture_logs() as events:
        found_out_s, after_s = asyncio.run(main())
    assert names_of(events) == ["limiter_fell_back", "limiter_back"]
    assert 1.5 <= found_out_s < 5
    assert after_s < 1.5


@pytest.mark.usefixtures("soon_again")
def test_a_penalty_counts_in_redis_and_beside_it(own_valkey: RunningValkey, database: Database) -> None:
    async def main() -> list[float]:
        async with falling_back(own_valkey, database) as limiter, falling_back(own_valkey, database) as other:
            waits = []

            async def note(of: FallbackLimiter) -> None:
                with pytest.raises(SourceUnavailable) as caught:
                    await of.acquire(patience_s=1)
                waits.append(caught.value.retry_after_s or 0)

            await limiter.penalise(100)  # to both
            await note(other)
            own_valkey.kill()
            await note(other)
            await limiter.penalise(200)  # to the database alone
            await note(other)
            own_valkey.start()
            await asyncio.sleep(0.6)
            await note(limiter)  # which tells Redis of it
            await note(other)
            return waits

    assert asyncio.run(main()) == pytest.approx([100, 100, 200, 200, 200], abs=5)


def test_a_penalty_that_the_database_cannot_take_is_kept_in_redis(valkey: RunningValkey) -> None:
    class GoneBudget:
        async def acquire(self, *, patience_s: float = math.inf) -> float:
            raise StoreUnavailable("The database is gone.")

        async def penalise(self, seconds: float) -> None:
            raise StoreUnavailable("The database is gone.")

    async def main() -> float:
        async with limiter_on(valkey) as primary:
            limiter = FallbackLimiter(primary, GoneBudget(), rate_per_second=1)
            await limiter.penalise(0.3)
            return await limiter.acquire()

    assert asyncio.run(main()) == pytest.approx(0.3, abs=0.2)


@pytest.mark.usefixtures("soon_again")
def test_what_is_no_redis_counts_as_away(valkey: RunningValkey) -> None:
    async def main() -> None:
        async with limiter_on(valkey) as limiter:
            change(valkey, lambda client: client.set(KEY, "not ours"))
            with pytest.raises(SharedStateAway, match="ResponseError"):
                await limiter.acquire()
            change(valkey, lambda client: client.delete(KEY))
            with pytest.raises(SharedStateAway, match="ResponseError"):  # left alone for a while
                await limiter.acquire()
            await asyncio.sleep(0.6)
            await limiter.acquire()

    asyncio.run(main())


def test_an_address_that_is_none_is_refused_without_its_password() -> None:
    with pytest.raises(ConfigError, match="STOPSEARCH_REDIS_URL") as caught:
        SharedState("http://:secret@127.0.0.1:1/0")
    assert "secret" not in str(caught.value)
