"""
What the publisher sent for one force and month, as it came.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from stopsearch.domain.months import Month
from stopsearch.domain.states import Shape, Source


@dataclass(frozen=True, kw_only=True)
class PublishedMonth:
    """
    One force-month as it came: the bytes, their shape, and where and when they were published.

    `published_at` ranks editions of one force-month: for an API answer it is the instant of the fetch, for an
    archive's member the instant that the archive's name or `--published` tells.
    """

    force: str
    month: Month
    shape: Shape
    source: Source
    origin: str  # the address that was asked, or the archive's name and member
    body: bytes
    fetched_at: datetime
    published_at: datetime

    @cached_property
    def body_digest(self) -> bytes:
        """
        Give the SHA-256 of the bytes: a shortcut to "unchanged", never the proof of "changed".
        """
        return hashlib.sha256(self.body).digest()


@dataclass(frozen=True, kw_only=True)
class Availability:
    """
    What the publisher lists: for each month in its window, the forces that published stops.
    """

    listed: dict[Month, frozenset[str]]

    @property
    def months(self) -> list[Month]:
        """
        Give the listed months, oldest first.
        """
        return sorted(self.listed)

    @property
    def forces(self) -> frozenset[str]:
        """
        Give every force that is listed for any month.
        """
        return frozenset().union(*self.listed.values())
