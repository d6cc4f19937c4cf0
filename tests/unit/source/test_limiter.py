"""
The pace keeps within the publisher's bucket, also when the network bunches requests up, and wastes little of it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stopsearch.domain.errors import SourceUnavailable
from stopsearch.source.limiter import LONGEST_PENALTY_S, Limiter, Pace, ProcessLimiter, hold_back, take_slot

pytestmark = pytest.mark.unit

PACE = Pace(rate_per_second=14.5)


class VirtualLoop(asyncio.SelectorEventLoop):
    """
    An event loop that jumps over every wait: an hour of sleeping takes an instant.
    """

    _now = 0.0

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:
            self._now = max(self._now, self._scheduled[0]._when)
        super()._run_once()


class LoopClock:
    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def utc_now(self) -> datetime:
        return datetime.fromtimestamp(self.monotonic(), UTC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def run_virtually(main: Coroutine[Any, Any, Any]) -> Any:
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(main)
    finally:
        loop.close()


def refused(arrivals: list[float], *, rate: float = 15.0, burst: float = 30.0) -> int:
    """
    Count the requests that a strict leaky bucket turns away.
    """
    level, last, count = 0.0, 0.0, 0
    for at in sorted(arrivals):
        level = max(0.0, level - (at - last) * rate)
        last = at
        if level + 1 > burst:
            count += 1
        else:
            level += 1
    return count


def test_bucket_of_the_test_is_strict() -> None:
    assert refused([0.0] * 30) == 0
    assert refused([0.0] * 31) == 1
    assert refused([n / 15 for n in range(1000)]) == 0
    assert refused([n / 16 for n in range(1000)]) > 0


def test_backfill_ends_in_time_and_meets_no_429() -> None:
    """
    44 forces by 36 months, with answers that take up to 0.6 s and a network that delays by up to a second.
    """
    arrivals: list[float] = []
    chance = random.Random(3)

    async def work(limiter: Limiter, left: list[int]) -> None:
        while left:
            left.pop()
            await limiter.acquire()
            await asyncio.sleep(chance.uniform(0, 1.0) ** 4)  # on the way there: mostly short, at times a second
            arrivals.append(asyncio.get_running_loop().time())
            await asyncio.sleep(chance.uniform(0.05, 0.6))

    async def backfill() -> float:
        limiter = ProcessLimiter(PACE, clock=LoopClock())
        left = list(range(44 * 36))
        await asyncio.gather(*(work(limiter, left) for _ in range(16)))
        return asyncio.get_running_loop().time()

    took_s = run_virtually(backfill())
    assert len(arrivals) == 44 * 36
    assert refused(arrivals) == 0
    assert took_s <= 1.15 * 44 * 36 / 15


@given(
    gaps=st.lists(st.one_of(st.just(0.0), st.floats(0, 3)), min_size=1, max_size=300),
    delays=st.lists(st.floats(0, 1.4), min_size=300, max_size=300),
)
def test_no_order_of_calls_overfills_the_bucket(gaps: list[float], delays: list[float]) -> None:
    now, next_at = 0.0, 0.0
    arrivals = []
    for gap, delay in zip(gaps, delays, strict=False):
        now += gap
        wait_s, next_at = take_slot(next_at, now, PACE)
        arrivals.append(now + wait_s + delay)
    assert refused(arrivals) == 0


def test_slots_come_in_order_and_evenly_after_the_burst() -> None:
    next_at, slots = 0.0, []
    for _ in range(20):
        wait_s, next_at = take_slot(next_at, 0.0, PACE)
        slots.append(wait_s)
    assert slots[:8] == pytest.approx([0.0] * 8)
    steps = [later - earlier for earlier, later in pairwise(slots[7:])]
    assert steps == pytest.approx([1 / 14.5] * 12)


def test_penalty_holds_everybody_back_and_forbids_a_burst_after_it() -> None:
    next_at = hold_back(0.0, 100.0, 5.0, PACE)
    waits = []
    for _ in range(3):
        wait_s, next_at = take_slot(next_at, 100.0, PACE)
        waits.append(wait_s)
    assert waits == pytest.approx([5.0, 5.0 + 1 / 14.5, 5.0 + 2 / 14.5])


def test_penalty_voids_slots_that_were_taken_before_it() -> None:
    sent: list[float] = []

    async def ask(limiter: Limiter) -> None:
        await limiter.acquire()
        sent.append(asyncio.get_running_loop().time())

    async def main() -> None:
        limiter = ProcessLimiter(PACE, clock=LoopClock())
        asks = [asyncio.create_task(ask(limiter)) for _ in range(20)]
        await asyncio.sleep(0.1)
        before = len(sent)
        await limiter.penalise(3.0)
        await asyncio.gather(*asks)
        assert before < 12
        assert min(sent[before:]) >= 3.1
        assert refused(sent) == 0

    run_virtually(main())


def test_a_slot_beyond_patience_is_refused_with_its_time_and_not_taken() -> None:
    async def main() -> None:
        limiter = ProcessLimiter(PACE, clock=LoopClock())
        await limiter.penalise(600)
        for _ in range(100):
            with pytest.raises(SourceUnavailable, match="600 seconds") as caught:
                await limiter.acquire(patience_s=300)
        assert caught.value.retry_after_s == pytest.approx(600)
        assert await limiter.acquire(patience_s=601) == pytest.approx(600)

    run_virtually(main())


def test_penalty_is_never_longer_than_an_hour() -> None:
    wait_s, _ = take_slot(hold_back(0.0, 0.0, 10**9, PACE), 0.0, PACE)
    assert wait_s == LONGEST_PENALTY_S


def test_a_clock_set_back_starts_afresh() -> None:
    wait_s, next_at = take_slot(10 * LONGEST_PENALTY_S, 0.0, PACE)
    assert wait_s == 0
    assert next_at == pytest.approx(1 / 14.5)
