"""
How often, and how long, a request that failed in passing is tried again.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from stopsearch.domain.errors import SourceUnavailable
from stopsearch.source.clock import Clock

T = TypeVar("T")

_PASSING_STATUSES = (408, 425, 429)


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryPolicy:
    """
    Bounds on the tries of one request, in number and in time, and the waits between them.
    """

    attempts: int
    time_s: float
    first_wait_s: float = 1.0
    longest_wait_s: float = 30.0

    def wait_before_next(
        self, error: SourceUnavailable, *, attempt: int, spent_s: float, chance: float
    ) -> float | None:
        """
        Decide whether to try again.

        Args:
            error: What the try failed with.
            attempt: The number of that try, from 1.
            spent_s: Seconds since the first try began.
            chance: A number from 0 to 1 that spreads out those who failed together.

        Returns:
            The seconds to wait before the next try, or None to give up: at once for what a retry cannot help, and
            also where the publisher names a time that lies beyond the bound.
        """
        if not is_passing(error) or attempt >= self.attempts:
            return None
        backoff_s = min(self.longest_wait_s, self.first_wait_s * 2.0 ** (attempt - 1))
        wait_s = backoff_s * (0.5 + chance / 2)
        if error.retry_after_s is not None:
            # Never sooner than asked, and not all in the same instant.
            wait_s = error.retry_after_s + chance * min(1.0, self.first_wait_s)
        return wait_s if spent_s + wait_s < self.time_s else None


def is_passing(error: SourceUnavailable) -> bool:
    """
    Tell whether the failure may pass: a server's fault, too many requests, or no proper answer at all.
    """
    return error.status is None or error.status in _PASSING_STATUSES or error.status >= 500


def read_retry_after(text: str | None, now: datetime) -> float | None:
    """
    Read a Retry-After header, which comes as seconds or as a date (RFC 9110, section 10.2.3).

    Returns:
        Seconds from now, never negative; None where there is none, or it can't be read.
    """
    text = (text or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(0.0, (at - now).total_seconds())


async def with_retries(
    call: Callable[[float], Awaitable[T]],
    *,
    policy: RetryPolicy,
    clock: Clock,
    on_retry: Callable[[SourceUnavailable, int, float], None],
    chance: Callable[[], float] = random.random,
) -> T:
    """
    Call until it succeeds, or fails in a way that is not retried, or a bound is reached.

    Args:
        call: One try; it is given the seconds that are left.
        policy: The bounds.
        clock: Tells the time, and waits.
        on_retry: Told of each failure that is followed by another try, of the failed try's number and of the wait.
        chance: Gives numbers from 0 to 1.

    Raises:
        SourceUnavailable: The last failure, with the number of tries in its text.
    """
    began = clock.monotonic()
    attempt = 1
    while True:
        try:
            return await call(policy.time_s - (clock.monotonic() - began))
        except SourceUnavailable as error:
            spent_s = clock.monotonic() - began
            wait_s = policy.wait_before_next(error, attempt=attempt, spent_s=spent_s, chance=chance())
            if wait_s is None:
                if attempt == 1:
                    raise
                raise SourceUnavailable(
                    f"{error.message} Tried {attempt} times in {spent_s:.0f} "
                    f"{'second' if round(spent_s) == 1 else 'seconds'}.",
                    remedy=error.remedy,
                    status=error.status,
                    retry_after_s=error.retry_after_s,
                ) from error
            on_retry(error, attempt, wait_s)
        await clock.sleep(wait_s)
        attempt += 1
