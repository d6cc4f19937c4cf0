"""
The circuit breaker: a publisher that keeps failing is left alone for a while, then asked once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import structlog

from stopsearch.domain.errors import UpstreamDown
from stopsearch.source.clock import Clock, SystemClock
from stopsearch.telemetry.events import Event

_log = structlog.get_logger(__name__)

# So many different addresses must have failed in the row. One force-month that fails for itself alone, six times
# over, says nothing of the publisher, and must not shut the others out.
DISTINCT_ADDRESSES = 3


class Verdict(StrEnum):
    """
    What one request says of the publisher.
    """

    UP = "up"  # it answered, be it with a refusal
    DOWN = "down"  # it failed, hung, could not be reached, or sent what is no answer
    UNKNOWN = "unknown"  # nothing can be said: the request was throttled, or cancelled


@dataclass(frozen=True, kw_only=True, slots=True)
class Permit:
    """
    The leave to send one request, given back with a verdict.
    """

    address: str
    era: int
    is_probe: bool = False


class Breaker(Protocol):
    """
    Lets requests through while the publisher is up.
    """

    @property
    def pause_left_s(self) -> float:
        """
        Give the seconds until a probe may go; 0 while requests are let through.
        """

    def check(self) -> None:
        """
        Refuse early, before anything is queued for.

        Raises:
            UpstreamDown: The publisher is being left alone.
        """

    async def enter(self, address: str) -> Permit:
        """
        Let one request through.

        Raises:
            UpstreamDown: The publisher is being left alone.
        """

    async def leave(self, permit: Permit, verdict: Verdict) -> None:
        """
        Take the verdict of a request that was let through.
        """


def refuse_to_ask(failures: int, pause_left_s: float) -> UpstreamDown:
    """
    Give the error of a request to a publisher that is left alone.
    """
    return UpstreamDown(
        f"The publisher has failed {failures} times in a row and is left alone for "
        f"{math.ceil(pause_left_s)} second{'' if pause_left_s <= 1 else 's'} more.",
        remedy="Run this again after that; what is due stays due.",
    )


def refuse_beside_probe() -> UpstreamDown:
    """
    Give the error of a request that would go beside the probe.
    """
    return UpstreamDown(
        "The publisher has failed repeatedly, and a single request is finding out whether it is back.",
        remedy="Run this again in a minute; what is due stays due.",
    )


class ProcessBreaker:
    """
    A breaker for one process.

    It opens after so many failures in a row, from several addresses; when the pause is over it lets one probe
    through, whose answer closes it and whose failure starts the pause again. Requests that were under way when it
    opened have no say any more.
    """

    def __init__(self, *, failures: int, pause_s: float, clock: Clock | None = None) -> None:
        self._threshold = failures
        self._distinct = min(DISTINCT_ADDRESSES, failures)
        self._pause_s = pause_s
        self._clock = clock or SystemClock()
        self._failures = 0
        self._addresses: set[str] = set()
        self._opened_at: float | None = None
        self._probe: Permit | None = None
        self._era = 0

    @property
    def pause_left_s(self) -> float:
        """
        Give the seconds until a probe may go; 0 while requests are let through.
        """
        if self._opened_at is None:
            return 0.0
        return max(0.0, self._opened_at + self._pause_s - self._clock.monotonic())

    def check(self) -> None:
        """
        Refuse early, before anything is queued for.
        """
        pause_left_s = self.pause_left_s
        if pause_left_s > 0:
            raise refuse_to_ask(self._failures, pause_left_s)
        if self._probe is not None:
            raise refuse_beside_probe()

    async def enter(self, address: str) -> Permit:
        """
        Let one request through, as the probe if the pause has just ended.
        """
        self.check()
        if self._opened_at is None:
            return Permit(address=address, era=self._era)
        self._probe = Permit(address=address, era=self._era, is_probe=True)
        return self._probe

    async def leave(self, permit: Permit, verdict: Verdict) -> None:
        """
        Take the verdict of a request that was let through.
        """
        if permit.era != self._era:
            return
        if permit.is_probe:
            self._probe = None
        if verdict is Verdict.UP:
            self._count_success()
        elif verdict is Verdict.DOWN:
            self._count_failure(permit)

    def _count_success(self) -> None:
        self._failures = 0
        self._addresses.clear()
        if self._opened_at is not None:
            self._opened_at = None
            self._era += 1
            _log.info(Event.BREAKER_CLOSED)

    def _count_failure(self, permit: Permit) -> None:
        self._failures += 1
        self._addresses.add(permit.address)
        is_enough = self._failures >= self._threshold and len(self._addresses) >= self._distinct
        if permit.is_probe or is_enough:
            self._opened_at = self._clock.monotonic()
            self._era += 1
            _log.warning(Event.BREAKER_OPENED, failures=self._failures, pause_s=self._pause_s)
