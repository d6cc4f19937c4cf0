"""
The pace at which the publisher is asked: slots handed out in order, so that all together stay within its limit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from stopsearch.domain.errors import SourceUnavailable
from stopsearch.source.clock import Clock, SystemClock

# The publisher's bucket takes 30 at once and leaks 15 a second (https://data.police.uk/docs/api-call-limits/).
# Eight leave room for 22 requests that the network bunches up: a delay of a second and a half at full pace.
# With no burst at all, every slot that a busy machine takes late would be lost for good.
BURST = 8

# After a 429 that names no time: what a full bucket of 30 needs to leak empty at 15 a second.
UNSTATED_PENALTY_S = 2.0

# An hour is the longest that one answer may hold everybody back; whoever finds the next slot further off than
# this and some slack reads a clock that was set back, and starts afresh.
LONGEST_PENALTY_S = 3600.0


class Limiter(Protocol):
    """
    Hands out slots to ask the publisher in, to everybody who shares it.
    """

    async def acquire(self, *, patience_s: float = math.inf) -> float:
        """
        Wait for the next slot.

        Args:
            patience_s: Seconds beyond which it is not worth waiting; no slot is taken then.

        Returns:
            The seconds that were waited.

        Raises:
            SourceUnavailable: The next slot is further off than that, because the publisher asked to be left
                alone for longer; `retry_after_s` tells how far.
        """

    async def penalise(self, seconds: float) -> None:
        """
        Hand out no slot for so many seconds: the publisher has said that it was asked too often.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """
    How many requests a second, and how many may go at once after a rest.
    """

    rate_per_second: float
    burst: int = BURST

    @property
    def interval_s(self) -> float:
        """
        Give the seconds from one slot to the next.
        """
        return 1 / self.rate_per_second

    @property
    def tolerance_s(self) -> float:
        """
        Give the seconds by which a slot may be early, because those before it were late.
        """
        return (self.burst - 1) * self.interval_s


def take_slot(next_at: float, now: float, pace: Pace) -> tuple[float, float]:
    """
    Take the next slot, by the generic cell rate algorithm (GCRA).

    Args:
        next_at: The instant at which the next slot falls due if all come evenly spaced, in seconds.
        now: This instant, on the same clock.
        pace: How fast.

    Returns:
        The seconds to wait for the slot; and the new `next_at`.
    """
    if next_at > now + 2 * LONGEST_PENALTY_S:
        next_at = now
    wait_s = max(0.0, next_at - pace.tolerance_s - now)
    return wait_s, max(next_at, now) + pace.interval_s


def hold_back(next_at: float, now: float, seconds: float, pace: Pace) -> float:
    """
    Give the `next_at` that hands out no slot for so many seconds, and no burst right after.
    """
    seconds = min(seconds, LONGEST_PENALTY_S)
    return max(next_at, now + seconds + pace.tolerance_s)


def refuse_to_wait(wait_s: float) -> SourceUnavailable:
    """
    Give the error of a slot that is further off than anyone would wait.
    """
    return SourceUnavailable(
        f"The publisher has asked to be left alone for {wait_s:.0f} second{'' if round(wait_s) == 1 else 's'} more.",
        remedy="Run this again after that; what is due stays due.",
        status=429,
        retry_after_s=wait_s,
    )


class ProcessLimiter:
    """
    A limiter for one process; its state is gone with it.
    """

    def __init__(self, pace: Pace, *, clock: Clock | None = None) -> None:
        self._pace = pace
        self._clock = clock or SystemClock()
        self._next_at = self._clock.monotonic()
        self._held_until = -math.inf

    async def acquire(self, *, patience_s: float = math.inf) -> float:
        """
        Wait for the next slot; the promises are those of `Limiter`.
        """
        waited_s = 0.0
        while True:
            now = self._clock.monotonic()
            wait_s, next_at = take_slot(self._next_at, now, self._pace)
            if wait_s > patience_s - waited_s:
                raise refuse_to_wait(wait_s)
            self._next_at = next_at
            if wait_s > 0:
                await self._clock.sleep(wait_s)
                waited_s += wait_s
            # A slot that was taken before a penalty fell is void, so it is taken anew.
            if self._clock.monotonic() >= self._held_until:
                return waited_s

    async def penalise(self, seconds: float) -> None:
        """
        Hand out no slot for so many seconds.
        """
        now = self._clock.monotonic()
        self._next_at = hold_back(self._next_at, now, seconds, self._pace)
        self._held_until = max(self._held_until, now + min(seconds, LONGEST_PENALTY_S))
