"""
What the stand-in was asked and when, so that a test can tell whether a client was courteous.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass

_KEPT = 200_000


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """
    One request to the stand-in, and the answer it got.

    `at` is monotonic seconds; `limited` tells a 429 of the rate limit from one that was ordered.
    """

    at: float
    path: str
    force: str
    month: str
    status: int
    limited: bool
    client: str
    user_agent: str


class Stats:
    """
    Every request since the start or the last reset (the last 200,000 of them), control requests left out.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._arrivals: deque[Arrival] = deque(maxlen=_KEPT)
        self._in_flight = 0
        self._max_in_flight = 0

    def began(self) -> None:
        """
        Count a request that has come in.
        """
        with self._lock:
            self._in_flight += 1
            self._max_in_flight = max(self._max_in_flight, self._in_flight)

    def ended(self, arrival: Arrival) -> None:
        """
        Record a request that was answered, cut off or given up by the client (status 0: no answer began).
        """
        with self._lock:
            self._in_flight -= 1
            self._arrivals.append(arrival)

    def reset(self) -> None:
        """
        Forget every request that is over.
        """
        with self._lock:
            self._arrivals.clear()
            self._max_in_flight = self._in_flight

    @property
    def arrivals(self) -> list[Arrival]:
        """
        Give every finished request, in order of arrival.
        """
        with self._lock:
            return sorted(self._arrivals, key=lambda arrival: arrival.at)

    @property
    def total(self) -> int:
        """
        Count the finished requests.
        """
        with self._lock:
            return len(self._arrivals)

    @property
    def max_in_flight(self) -> int:
        """
        Give the most requests that were unanswered at one time.
        """
        with self._lock:
            return self._max_in_flight

    @property
    def limited(self) -> int:
        """
        Count the 429s that the rate limit gave: those are the client's fault.
        """
        return sum(arrival.limited for arrival in self.arrivals)

    @property
    def by_path(self) -> dict[str, int]:
        """
        Count the finished requests by path.
        """
        return dict(Counter(arrival.path for arrival in self.arrivals))

    @property
    def by_status(self) -> dict[int, int]:
        """
        Count the finished requests by status.
        """
        return dict(Counter(arrival.status for arrival in self.arrivals))

    @property
    def connections(self) -> int:
        """
        Count the client connections that requests came over.
        """
        return len({arrival.client for arrival in self.arrivals})

    def asked(self, force: str, month: str) -> int:
        """
        Count the requests for one force-month's stops, whatever they were answered with.
        """
        return sum((arrival.force, arrival.month) == (force, month) for arrival in self.arrivals)

    def busiest(self, window_s: float = 1.0) -> int:
        """
        Give the most requests that arrived within any stretch of so many seconds.
        """
        times = [arrival.at for arrival in self.arrivals]
        most = first = 0
        for last, at in enumerate(times):
            while at - times[first] >= window_s:
                first += 1
            most = max(most, last - first + 1)
        return most

    def summary(self) -> dict[str, object]:
        """
        Give the counts as a JSON object can hold them; `arrivals` are seconds since the first.
        """
        arrivals = self.arrivals
        first = arrivals[0].at if arrivals else 0.0
        by_status = Counter(arrival.status for arrival in arrivals)
        return {
            "total": len(arrivals),
            "by_path": self.by_path,
            "by_status": {str(status): count for status, count in sorted(by_status.items())},
            "limited": sum(arrival.limited for arrival in arrivals),
            "max_in_flight": self.max_in_flight,
            "connections": self.connections,
            "busiest_second": self.busiest(),
            "user_agents": sorted({arrival.user_agent for arrival in arrivals}),
            "arrivals": [round(arrival.at - first, 6) for arrival in arrivals],
        }
