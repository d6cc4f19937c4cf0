"""
Processes on one Redis leave a publisher that is down alone together, and find together that it is back.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis
from structlog.testing import capture_logs

from builders.valkey import RunningValkey, running_valkey
from stopsearch.domain.errors import UpstreamDown
from stopsearch.source import shared_state
from stopsearch.source.breaker import Breaker, Permit, ProcessBreaker, Verdict
from stopsearch.source.redis_breaker import RedisBreaker
from stopsearch.source.shared_state import SharedState

pytestmark = pytest.mark.integration

UPSTREAM = "https://data.police.uk/api"
KEY = "stopsearch:breaker:1:data.police.uk"
LONG_S = 60.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningValkey]:
    with running_valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def valkey(server: RunningValkey) -> RunningValkey:
    change(server, lambda client: client.flushall())
    return server


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[RunningValkey]:
    with running_valkey(tmp_path) as server:
        yield server


def change(valkey: RunningValkey, what: Callable[[Any], object]) -> Any:
    with redis.Redis.from_url(valkey.url, decode_responses=True) as client:
        return what(client)


def end_the_pause(valkey: RunningValkey, pause_s: float = LONG_S) -> None:
    change(valkey, lambda client: client.hincrby(KEY, "opened", -int(pause_s * 1_000_000)))


@asynccontextmanager
async def breaker_on(
    valkey: RunningValkey, *, failures: int = 5, pause_s: float = LONG_S, lease_s: float = 30.0
) -> AsyncIterator[RedisBreaker]:
    """
    Give a breaker as a process of its own has it: it shares nothing with others but Redis.
    """
    state = SharedState(valkey.url)
    try:
        yield RedisBreaker(state, upstream_url=UPSTREAM, failures=failures, pause_s=pause_s, lease_s=lease_s)
    finally:
        await state.close()


def run_with_breakers(
    valkey: RunningValkey, count: int, main: Callable[..., Awaitable[Any]], **options: Any
) -> tuple[Any, list[Any]]:
    """
    Run something with so many processes' breakers, and give what it gives and the log events.
    """

    async def run() -> Any:
        async with AsyncExitStack() as stack:
            breakers = [await stack.enter_async_context(breaker_on(valkey, **options)) for _ in range(count)]
            return await main(*breakers)

    with capture_logs() as events:
        given = asyncio.run(run())
    return given, events


async def ask(breaker: Breaker, address: str, verdict: Verdict) -> None:
    await breaker.leave(await breaker.enter(address), verdict)


async def open_it(breaker: Breaker) -> None:
    for number in range(5):
        await ask(breaker, f"month {number}", Verdict.DOWN)
    assert breaker.pause_left_s > 0


def names_of(events: list[Any]) -> list[str]:
    return [event["event"] for event in events]


def test_what_one_opens_stops_the_others(valkey: RunningValkey) -> None:
    async def main(one: RedisBreaker, other: RedisBreaker) -> None:
        await ask(other, "before", Verdict.UP)
        await open_it(one)
        other.check()  # it has not heard yet
        with pytest.raises(UpstreamDown, match="failed 5 times in a row and is left alone for 60 seconds more"):
            await other.enter("x")
        with pytest.raises(UpstreamDown, match="left alone"):  # now it has, and asks nobody
            other.check()
        assert one.pause_left_s == pytest.approx(other.pause_left_s, abs=0.5) == pytest.approx(LONG_S, abs=1)

    _, events = run_with_breakers(valkey, 2, main)
    assert [(e["event"], e["failures"], e["pause_s"]) for e in events] == [("breaker_opened", 5, LONG_S)]
    assert change(valkey, lambda client: client.pttl(KEY)) > LONG_S * 1000


def test_failures_of_all_processes_count_together(valkey: RunningValkey) -> None:
    async def main(*breakers: RedisBreaker) -> None:
        for number, breaker in enumerate(breakers):
            await ask(breaker, f"month {number}", Verdict.DOWN)
        with pytest.raises(UpstreamDown):
            await breakers[0].enter("x")

    run_with_breakers(valkey, 5, main)


def test_every_rule_is_that_of_a_breaker_in_the_process(valkey: RunningValkey) -> None:
    """
    The same story told to both, each step of it to the shared one by another process.
    """
    chance = random.Random(7)
    verdicts = [Verdict.DOWN] * 6 + [Verdict.UP] * 2 + [Verdict.UNKNOWN]
    openings = probes = 0

    class TurnedClock:
        now = 1000.0

        def monotonic(self) -> float:
            return self.now

        def utc_now(self) -> datetime:
            return datetime.fromtimestamp(self.now, UTC)

        async def sleep(self, seconds: float) -> None:
            self.now += seconds

    async def entered(breaker: Breaker, address: str) -> Permit | str:
        try:
            return await breaker.enter(address)
        except UpstreamDown as error:
            return "left alone" if "left alone" in error.message else "probed"

    async def story(state: SharedState) -> None:
        nonlocal openings, probes
        threshold = chance.choice([1, 2, 5])
        clock = TurnedClock()
        simple = ProcessBreaker(failures=threshold, pause_s=LONG_S, clock=clock)

        def shared() -> RedisBreaker:
            return RedisBreaker(state, upstream_url=UPSTREAM, failures=threshold, pause_s=LONG_S, lease_s=30)

        under_way: list[tuple[Permit, Permit]] = []
        for _ in range(40):
            if simple.pause_left_s > 0 and chance.random() < 0.3:
                clock.now += LONG_S
                end_the_pause(valkey)
            if under_way and chance.random() < 0.5:
                permits = under_way.pop(chance.randrange(len(under_way)))
                verdict = chance.choice(verdicts)
                with capture_logs() as expected:
                    await simple.leave(permits[0], verdict)
                with capture_logs() as events:
                    await shared().leave(permits[1], verdict)
                assert events == expected
                openings += "breaker_opened" in names_of(events)
            else:
                address = f"month {chance.randrange(5)}"
                expected_entry, entry = await entered(simple, address), await entered(shared(), address)
                if isinstance(expected_entry, Permit) and isinstance(entry, Permit):
                    assert entry.is_probe == expected_entry.is_probe
                    probes += entry.is_probe
                    under_way.append((expected_entry, entry))
                else:
                    assert entry == expected_entry

    async def main() -> None:
        state = SharedState(valkey.url)
        for _ in range(40):
            change(valkey, lambda client: client.flushall())
            await story(state)
        await state.close()

    asyncio.run(main())
    assert openings > 30
    assert probes > 30


def test_only_one_of_all_processes_sends_the_probe(valkey: RunningValkey) -> None:
    async def main(*breakers: RedisBreaker) -> None:
        await open_it(breakers[0])
        end_the_pause(valkey)
        async with AsyncExitStack() as stack:
            fresh = [await stack.enter_async_context(breaker_on(valkey)) for _ in range(3)]
            entries = await asyncio.gather(
                *(breaker.enter("x") for breaker in fresh for _ in range(4)), return_exceptions=True
            )
            assert sum(isinstance(entry, Permit) and entry.is_probe for entry in entries) == 1
            refusals = [entry for entry in entries if isinstance(entry, UpstreamDown)]
            assert len(refusals) == 11
            assert all("single request" in refusal.message for refusal in refusals)

    run_with_breakers(valkey, 1, main)


def test_all_go_on_soon_after_the_probe_of_one_has_closed_it(valkey: RunningValkey) -> None:
    async def main(one: RedisBreaker, other: RedisBreaker) -> float:
        await open_it(one)
        with pytest.raises(UpstreamDown):
            await other.enter("x")
        await asyncio.sleep(one.pause_left_s + 0.01)
        probe = await one.enter("probe")
        assert probe.is_probe
        with pytest.raises(UpstreamDown, match="single request"):
            one.check()
        await asyncio.sleep(max(0, other.pause_left_s))
        with pytest.raises(UpstreamDown, match="single request"):
            await other.enter("x")
        assert 0 < other.pause_left_s <= 1
        await one.leave(probe, Verdict.UP)
        one.check()
        closed = time.monotonic()
        while True:  # as a fetch does that waits for the publisher
            try:
                await ask(other, "x", Verdict.UP)
            except UpstreamDown:
                await asyncio.sleep(other.pause_left_s + 0.05)
            else:
                return time.monotonic() - closed

    took_s, events = run_with_breakers(valkey, 2, main, pause_s=0.5)
    assert took_s < 2
    assert names_of(events) == ["breaker_opened", "breaker_closed"]


def test_a_probe_whose_process_died_is_let_go(valkey: RunningValkey) -> None:
    async def main(one: RedisBreaker, other: RedisBreaker) -> None:
        await open_it(one)
        end_the_pause(valkey)
        async with breaker_on(valkey, lease_s=1.0) as dies:
            lost = await dies.enter("lost")
            assert lost.is_probe
        with pytest.raises(UpstreamDown, match="single request"):
            await other.enter("x")
        began = time.monotonic()
        while True:
            try:
                probe = await other.enter("x")
                break
            except UpstreamDown:
                assert time.monotonic() - began < 10
                await asyncio.sleep(other.pause_left_s + 0.02)
        assert probe.is_probe
        # Had it only been slow, its failure would still count as that of a probe.
        await one.leave(lost, Verdict.DOWN)
        with pytest.raises(UpstreamDown, match="failed 6 times"):
            one.check()

    run_with_breakers(valkey, 2, main, lease_s=1.0)


def test_lost_state_begins_afresh_and_permits_from_before_have_no_say(valkey: RunningValkey) -> None:
    async def main(one: RedisBreaker, other: RedisBreaker) -> None:
        permits = [await one.enter(f"month {number}") for number in range(6)]
        await open_it(one)
        change(valkey, lambda client: client.flushall())
        await ask(other, "x", Verdict.UP)
        for permit in permits:
            await other.leave(permit, Verdict.DOWN)
        await ask(other, "x", Verdict.UP)

    run_with_breakers(valkey, 2, main)


@pytest.mark.parametrize("field", ["opened", "probe_until"])
def test_a_clock_set_back_shuts_nobody_out_for_longer(valkey: RunningValkey, field: str) -> None:
    async def main(one: RedisBreaker, other: RedisBreaker) -> None:
        await open_it(one)
        if field == "probe_until":
            end_the_pause(valkey)
            async with breaker_on(valkey) as probing:
                assert (await probing.enter("probe")).is_probe
        change(valkey, lambda client: client.hincrby(KEY, field, 5 * 3600 * 1_000_000))
        if field == "opened":
            with pytest.raises(UpstreamDown):
                await other.enter("x")
            assert other.pause_left_s <= LONG_S
        else:
            assert (await other.enter("x")).is_probe

    run_with_breakers(valkey, 2, main)


def test_each_has_its_own_while_redis_is_away_and_says_so_once(
    own_valkey: RunningValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_state, "LOOK_AGAIN_S", 0.5)

    async def main(one: RedisBreaker, other: RedisBreaker) -> None:
        shared = await one.enter("shared")
        await other.enter("shared too")
        own_valkey.kill()
        await open_it(one)
        await one.leave(shared, Verdict.DOWN)  # nobody to tell
        with pytest.raises(UpstreamDown, match="failed 5 times in a row"):
            one.check()
        for number in range(3):
            await ask(other, f"month {number}", Verdict.UP)
        own_valkey.start()
        await asyncio.sleep(0.6)
        await ask(other, "x", Verdict.UP)
        await asyncio.sleep(one.pause_left_s)
        await ask(one, "x", Verdict.UP)
        assert one.pause_left_s == 0

    _, events = run_with_breakers(own_valkey, 2, main, pause_s=1.5)
    assert names_of(events) == [
        "breaker_fell_back",
        "breaker_opened",
        "breaker_fell_back",
        "breaker_back",
        "breaker_back",
    ]


def test_a_pause_that_was_heard_of_is_kept_while_redis_is_away(own_valkey: RunningValkey) -> None:
    async def main(one: RedisBreaker) -> None:
        await open_it(one)
        own_valkey.kill()
        with pytest.raises(UpstreamDown):
            await one.enter("x")
        await asyncio.sleep(one.pause_left_s)
        await ask(one, "x", Verdict.UP)

    _, events = run_with_breakers(own_valkey, 1, main, pause_s=1.0)
    assert names_of(events) == ["breaker_opened", "breaker_fell_back"]
