"""
What goes wrong between the publisher and a client, on order.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from enum import StrEnum
from typing import TypedDict, Unpack


class Spoil(StrEnum):
    """
    How an answer is spoiled.
    """

    STATUS = "status"  # another status, with an empty body
    HANG = "hang"  # nothing for a while, then a 504
    DROP = "drop"  # the connection is closed before any answer
    CUT_OFF = "cut_off"  # the connection is closed before the declared length is sent
    TRUNCATED = "truncated"  # part of the body, declared as the whole of it
    HTML = "html"  # 200 with a web page


@dataclass(kw_only=True)
class Trouble:
    """
    One order: which requests it meets, how often or how long, and what it does to their answers.

    `spoil` none: the answer is only delayed. `times` none: until the time is over or the order is cleared.
    """

    spoil: Spoil | None = None
    status: int = 503
    delay_s: float = 0.0
    share: float = 0.5
    retry_after_s: int | None = None
    retry_after_as_date: bool = False
    path: str = "/api/"
    force: str | None = None
    month: str | None = None
    times: int | None = None
    until: float | None = None
    met: int = 0

    def meets(self, path: str, force: str, month: str, now: float) -> bool:
        """
        Tell whether the order is for this request and not used up.
        """
        return (
            path.startswith(self.path)
            and self.force in (None, force)
            and self.month in (None, month)
            and (self.times is None or self.met < self.times)
            and (self.until is None or now < self.until)
        )

    @property
    def headers(self) -> dict[str, str]:
        """
        Give the Retry-After header in the form that was ordered; none is the publisher's own habit.
        """
        if self.retry_after_s is None:
            return {}
        if self.retry_after_as_date:
            at = datetime.now(UTC) + timedelta(seconds=self.retry_after_s)
            return {"Retry-After": format_datetime(at, usegmt=True)}
        return {"Retry-After": str(self.retry_after_s)}


class Narrowed(TypedDict, total=False):
    """
    Which requests an order meets.
    """

    times: int
    for_s: float
    force: str
    month: str
    path: str


class Faults:
    """
    The orders in force. Each act adds one and returns it; its `met` counts the requests that it met.

    The acts take the same narrowing arguments: `times` (the next so many requests), `for_s` (the next so many
    seconds), `force` and `month` (YYYY-MM) of the request, and `path`, which the request's path starts with. With
    neither `times` nor `for_s`, an order holds until it is cleared. They may come from any thread.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._orders: list[Trouble] = []

    @property
    def orders(self) -> list[Trouble]:
        """
        Give the orders, oldest first, used-up ones too.
        """
        with self._lock:
            return list(self._orders)

    def clear(self) -> None:
        """
        Let nothing go wrong any more.
        """
        with self._lock:
            self._orders.clear()

    def storm(
        self, *, retry_after_s: int | None = None, as_date: bool = False, **narrowed: Unpack[Narrowed]
    ) -> Trouble:
        """
        Answer 429 with an empty body, with Retry-After in seconds or as a date where one is given.
        """
        return self.fail(429, retry_after_s=retry_after_s, as_date=as_date, **narrowed)

    def fail(
        self,
        status: int = 503,
        *,
        retry_after_s: int | None = None,
        as_date: bool = False,
        **narrowed: Unpack[Narrowed],
    ) -> Trouble:
        """
        Answer with another status and an empty body.
        """
        return self._order(
            Trouble(spoil=Spoil.STATUS, status=status, retry_after_s=retry_after_s, retry_after_as_date=as_date),
            narrowed,
        )

    def slow(self, seconds: float, **narrowed: Unpack[Narrowed]) -> Trouble:
        """
        Answer rightly, but only after so many seconds; another order may spoil the same answer.
        """
        return self._order(Trouble(delay_s=seconds), narrowed)

    def hang(self, seconds: float = 3600, **narrowed: Unpack[Narrowed]) -> Trouble:
        """
        Answer nothing for so many seconds, then 504 with an empty body, as a proxy does.
        """
        return self._order(Trouble(spoil=Spoil.HANG, delay_s=seconds, status=504), narrowed)

    def drop(self, **narrowed: Unpack[Narrowed]) -> Trouble:
        """
        Close the connection before any answer.
        """
        return self._order(Trouble(spoil=Spoil.DROP), narrowed)

    def cut_off(self, *, share: float = 0.5, **narrowed: Unpack[Narrowed]) -> Trouble:
        """
        Declare the whole length, send that share of the body and close the connection.
        """
        return self._order(Trouble(spoil=Spoil.CUT_OFF, share=share), narrowed)

    def truncate(self, *, share: float = 0.5, **narrowed: Unpack[Narrowed]) -> Trouble:
        """
        Send that share of the JSON text with status 200, declared as the whole body.
        """
        return self._order(Trouble(spoil=Spoil.TRUNCATED, share=share), narrowed)

    def html(self, **narrowed: Unpack[Narrowed]) -> Trouble:
        """
        Answer 200 with a web page.
        """
        return self._order(Trouble(spoil=Spoil.HTML), narrowed)

    def meet(self, path: str, force: str, month: str) -> tuple[float, Trouble | None]:
        """
        Give what befalls a request, and count it: the seconds of delay, and the order that spoils its answer.

        Of several orders that spoil it the oldest counts; the delays of slow answers add up.
        """
        now = self._clock()
        delay_s, spoiler = 0.0, None
        with self._lock:
            for order in self._orders:
                if not order.meets(path, force, month, now) or (order.spoil and spoiler):
                    continue
                order.met += 1
                delay_s += order.delay_s
                spoiler = order if order.spoil else spoiler
        return delay_s, spoiler

    def _order(self, trouble: Trouble, narrowed: Narrowed) -> Trouble:
        if unknown := set(narrowed) - set(Narrowed.__annotations__):
            raise TypeError(f"An order is not narrowed by {', '.join(sorted(unknown))}.")
        trouble.times = narrowed.get("times")
        trouble.force = narrowed.get("force")
        trouble.month = narrowed.get("month")
        trouble.path = narrowed.get("path", trouble.path)
        if (for_s := narrowed.get("for_s")) is not None:
            trouble.until = self._clock() + for_s
        with self._lock:
            self._orders.append(trouble)
        return trouble
