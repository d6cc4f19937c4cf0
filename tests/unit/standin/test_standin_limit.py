"""
The leaky bucket, with a clock that is turned by hand.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stopsearch.standin.limit import LeakyBuckets, Limit

pytestmark = pytest.mark.unit


class TurnedClock:
    """
    A clock that moves when told to.
    """

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_full_bucket_refuses_until_it_has_leaked() -> None:
    clock = TurnedClock()
    buckets = LeakyBuckets(Limit(), clock=clock)
    assert [buckets.admit("a") for _ in range(32)] == [True] * 30 + [False] * 2
    clock.now += 1 / 15 + 1e-9
    assert [buckets.admit("a") for _ in range(2)] == [True, False]
    clock.now += 60
    assert [buckets.admit("a") for _ in range(31)] == [True] * 30 + [False]


def test_each_address_has_its_own_bucket() -> None:
    buckets = LeakyBuckets(Limit(burst=1), clock=TurnedClock())
    assert [buckets.admit(address) for address in ("a", "a", "b")] == [True, False, True]


@given(st.lists(st.floats(min_value=0, max_value=0.5), min_size=1, max_size=300))
def test_no_stretch_of_time_is_served_more_than_burst_and_rate(pauses: list[float]) -> None:
    clock = TurnedClock()
    buckets = LeakyBuckets(Limit(), clock=clock)
    served = []
    for pause in pauses:
        clock.now += pause
        if buckets.admit("a"):
            served.append(clock.now)
    for first, start in enumerate(served):
        for last in range(first, len(served)):
            assert last - first + 1 <= 30 + 15 * (served[last] - start) + 1e-6


@given(st.integers(min_value=1, max_value=400))
def test_a_client_that_keeps_the_rate_is_never_refused(requests: int) -> None:
    clock = TurnedClock()
    buckets = LeakyBuckets(Limit(), clock=clock)
    for _ in range(requests):
        assert buckets.admit("a")
        clock.now += 1 / 15
