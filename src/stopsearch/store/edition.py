"""
An edition: what one body of one force-month says under today's rules, ready to be stored.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from stopsearch.domain.months import Month
from stopsearch.domain.states import LetterState, Shape, Source

if TYPE_CHECKING:  # types alone: the process that forks a worker's others imports this, and must not load Polars
    import numpy as np
    import numpy.typing as npt
    import polars as pl


@dataclass(frozen=True, kw_only=True)
class LetterDraft:
    """
    One rejected record: its number in the body, its raw form as JSON text, and every rule that it broke.
    """

    record_number: int
    raw: str
    rejections: list[dict[str, str]]
    state: LetterState = LetterState.OPEN
    reason: str | None = None
    attempts: int = 0
    decided_at: datetime | None = None  # when somebody dismissed it; an open letter has none


@dataclass(frozen=True, kw_only=True)
class KeptBody:
    """
    A body as the database keeps it.
    """

    digest: bytes
    shape: Shape
    body_bytes: int
    compressed: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Edition:
    """
    One force-month's content, parted into stops and dead letters, with all that a revision says of it.

    `accepted` has one row per stop, as the contract describes it; `ids` the same rows' ids. Conservation holds:
    ``received == len(accepted) + len(letters)``.
    """

    force: str
    month: Month
    source: Source
    origin: str
    body: KeptBody
    fetched_at: datetime
    published_at: datetime
    content_digest: bytes
    id_prefix: bytes  # the first bytes of the id of every stop of this force-month
    identity_version: int
    rules_version: int
    received: int
    accepted: pl.DataFrame = field(repr=False)
    ids: npt.NDArray[np.uint8] = field(repr=False)
    letters: list[LetterDraft] = field(repr=False)
    mended: dict[str, int]
    rejected_by_rule: dict[str, int]
    quality: dict[str, Any]
    is_doubled: bool
    is_date_only: bool
    streets: pl.DataFrame = field(repr=False)

    @property
    def id_range(self) -> tuple[UUID, UUID]:
        """
        Give the lowest and the highest id that a stop of this force-month can have.
        """
        rest = 16 - len(self.id_prefix)
        return UUID(bytes=self.id_prefix + bytes(rest)), UUID(bytes=self.id_prefix + b"\xff" * rest)

    def __post_init__(self) -> None:
        if self.received != self.accepted.height + len(self.letters):
            raise ValueError(
                f"{self.force} {self.month}: {self.received} records received, but {self.accepted.height} accepted "
                f"and {len(self.letters)} rejected"
            )
