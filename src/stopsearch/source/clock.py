"""
The clock that the source waits by: the machine's own, or one that a test turns.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """
    Tells the time, and waits.
    """

    def monotonic(self) -> float:
        """
        Give seconds that only ever grow: for spans, never for dates.
        """

    def utc_now(self) -> datetime:
        """
        Give this instant, in UTC.
        """

    async def sleep(self, seconds: float) -> None:
        """
        Wait for so many seconds.
        """


class SystemClock:
    """
    The machine's clock.
    """

    def monotonic(self) -> float:
        """
        Give seconds that only ever grow.
        """
        return time.monotonic()

    def utc_now(self) -> datetime:
        """
        Give this instant, in UTC.
        """
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """
        Wait for so many seconds.
        """
        await asyncio.sleep(seconds)
