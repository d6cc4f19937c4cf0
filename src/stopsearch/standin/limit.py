"""
The publisher's rate limit: a leaky bucket for each client address.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

_ADDRESSES_KEPT = 10_000


@dataclass(frozen=True, kw_only=True)
class Limit:
    """
    How fast a bucket leaks and how much it holds.

    The publisher documents 15 requests a second with a burst of 30
    (https://data.police.uk/docs/api-call-limits/). Whether the burst counts the request that starts it is not
    said; here it does, which is the stricter reading.
    """

    per_second: float = 15
    burst: float = 30


class LeakyBuckets:
    """
    One bucket a client address: each request pours one in, and is refused where it would overflow.

    A refused request pours nothing in, so a client that waits is served again.
    """

    def __init__(self, limit: Limit, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self._clock = clock
        self._levels: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def admit(self, address: str) -> bool:
        """
        Tell whether a request of this address is served now, and count it if so.
        """
        now = self._clock()
        with self._lock:
            level, at = self._levels.get(address, (0.0, now))
            level = max(0.0, level - (now - at) * self.limit.per_second)
            admitted = level + 1 <= self.limit.burst
            if len(self._levels) >= _ADDRESSES_KEPT and address not in self._levels:
                self._levels.clear()
            self._levels[address] = (level + 1 if admitted else level, now)
        return admitted
