"""
What is retried, how long it is waited for, and when it is given up.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stopsearch.domain.errors import SourceUnavailable
from stopsearch.source.retry import RetryPolicy, is_passing, read_retry_after, with_retries

pytestmark = pytest.mark.unit

POLICY = RetryPolicy(attempts=6, time_s=300)
NOW = datetime(2026, 10, 1, 12, 0, 0, tzinfo=UTC)


class TurnedClock:
    """
    A clock that moves only by sleeping.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def utc_now(self) -> datetime:
        return NOW

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def unavailable(status: int | None = 503, retry_after_s: float | None = None) -> SourceUnavailable:
    return SourceUnavailable("It failed.", status=status, retry_after_s=retry_after_s)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        ("Thu, 01 Oct 2026 12:00:30 GMT", 30.0),
        ("Thu, 01 Oct 2026 11:00:00 GMT", 0.0),  # already over
        ("Thursday, 01-Oct-26 12:00:30 GMT", 30.0),  # the older form of RFC 850
        ("Thu Oct  1 12:00:30 2026", 30.0),  # C's asctime, with no zone
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        (None, None),
        ("²", None),  # a digit to isdigit() alone
    ],
)
def test_reads_retry_after_in_both_forms(text: str | None, seconds: float | None) -> None:
    assert read_retry_after(text, NOW) == seconds


@given(st.text(max_size=60))
def test_no_retry_after_crashes(text: str) -> None:
    seconds = read_retry_after(text, NOW)
    assert seconds is None or seconds >= 0


@pytest.mark.parametrize("status", [None, 408, 425, 429, 500, 502, 503, 504])
def test_passing_trouble_is_retried(status: int | None) -> None:
    assert is_passing(unavailable(status))


@pytest.mark.parametrize("status", [301, 302, 400, 401, 403, 404, 410])
def test_lasting_trouble_is_not(status: int) -> None:
    assert POLICY.wait_before_next(unavailable(status), attempt=1, spent_s=0, chance=0.5) is None


def test_waits_grow_spread_out_and_are_capped() -> None:
    waits = {
        chance: [
            RetryPolicy(attempts=20, time_s=1e6).wait_before_next(
                unavailable(), attempt=attempt, spent_s=0, chance=chance
            )
            for attempt in range(1, 9)
        ]
        for chance in (0.0, 1.0)
    }
    assert waits[1.0] == [1, 2, 4, 8, 16, 30, 30, 30]
    assert waits[0.0] == [0.5, 1, 2, 4, 8, 15, 15, 15]


def test_never_sooner_than_retry_after() -> None:
    for chance in (0.0, 0.5, 1.0):
        wait_s = POLICY.wait_before_next(unavailable(429, 40.0), attempt=1, spent_s=0, chance=chance)
        assert wait_s is not None
        assert 40 <= wait_s <= 41


def test_gives_up_where_retry_after_lies_beyond_the_bound() -> None:
    assert POLICY.wait_before_next(unavailable(429, 299.0), attempt=1, spent_s=0, chance=0) == 299
    assert POLICY.wait_before_next(unavailable(429, 300.0), attempt=1, spent_s=0, chance=0) is None
    assert POLICY.wait_before_next(unavailable(429, 100.0), attempt=2, spent_s=250, chance=0) is None


def run(failures: list[SourceUnavailable], policy: RetryPolicy) -> tuple[str, int, TurnedClock]:
    clock = TurnedClock()
    calls = 0

    async def call(left_s: float) -> str:
        nonlocal calls
        calls += 1
        assert left_s == policy.time_s - clock.now
        if failures:
            raise failures.pop(0)
        return "answer"

    noted: list[tuple[int, float]] = []

    async def main() -> str:
        return await with_retries(
            call,
            policy=policy,
            clock=clock,
            on_retry=lambda _, attempt, wait_s: noted.append((attempt, wait_s)),
            chance=lambda: 1.0,
        )

    result = asyncio.run(main())
    assert noted == list(enumerate(clock.slept, start=1))
    return result, calls, clock


def test_tries_until_it_succeeds() -> None:
    result, calls, clock = run([unavailable(), unavailable(None)], POLICY)
    assert (result, calls, clock.slept) == ("answer", 3, [1.0, 2.0])


def test_is_bounded_in_tries() -> None:
    failures = [unavailable(status=500 + n) for n in range(10)]
    with pytest.raises(SourceUnavailable, match=r"It failed\. Tried 6 times in 31 seconds\.") as caught:
        run(failures, POLICY)
    assert caught.value.status == 505
    assert len(failures) == 4


def test_is_bounded_in_time() -> None:
    failures = [unavailable() for _ in range(100)]
    with pytest.raises(SourceUnavailable, match="Tried 4 times in 7 seconds"):
        run(failures, RetryPolicy(attempts=100, time_s=10))


def test_gives_the_time_that_the_publisher_named() -> None:
    with pytest.raises(SourceUnavailable) as caught:
        run([unavailable(429, 3600.0)], POLICY)
    assert caught.value.retry_after_s == 3600
    assert "Tried" not in str(caught.value)
