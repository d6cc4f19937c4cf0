"""
How much is measured, and in which order: rivals take turns, so that a slow minute of the machine meets all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """
    How much is measured.
    """

    rounds: int
    load_months: int
    archive_rounds: int
    archive_last: str | None  # the last month of the archive run; None: all of it
    memory_months: tuple[int, int]
    memory_rounds: int
    backfill_forces: int
    backfill_months: int
    stocked_rows: int  # stops of the database that is served
    serve_rounds: int
    load_seconds: int
    workers_lifted_months: int  # of the backfill by workers with the limit lifted


FULL = Sizes(
    rounds=7,
    load_months=10,
    archive_rounds=2,
    archive_last=None,
    memory_months=(10, 60),
    memory_rounds=2,
    backfill_forces=44,
    backfill_months=36,
    stocked_rows=2_000_000,
    serve_rounds=3,
    load_seconds=4,
    workers_lifted_months=12,
)
SHORT = Sizes(
    rounds=2,
    load_months=3,
    archive_rounds=1,
    archive_last="2019-02",
    memory_months=(4, 12),
    memory_rounds=1,
    backfill_forces=8,
    backfill_months=12,
    stocked_rows=60_000,
    serve_rounds=1,
    load_seconds=2,
    workers_lifted_months=4,
)


def in_turns(cases: Mapping[str, Callable[[], dict[str, Any]]], rounds: int) -> list[dict[str, dict[str, Any]]]:
    """
    Run every case once a round; each round begins with the next one.
    """
    found = []
    for number in range(rounds):
        names = list(cases)
        turn = number % len(names)
        found.append({name: cases[name]() for name in names[turn:] + names[:turn]})
    return found
