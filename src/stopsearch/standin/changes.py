"""
How a force-month's records are restated on order.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from stopsearch.domain.months import Month
from stopsearch.standin.records import shuffle


@dataclass(frozen=True, kw_only=True)
class Change:
    """
    One restatement: records left out, put in and altered, in this order; see `Publication.change`.
    """

    drop: int = 0
    add: int = 0
    fields: dict[str, Any] = field(default_factory=dict)
    count: int = 1
    without: tuple[str, ...] = ()


def changed(body: bytes, changes: Sequence[Change], *, key: tuple[str, Month], order: str | None) -> bytes:
    """
    Apply restatements to an answer's records, and put them in another order where one is given.
    """
    records: list[dict[str, Any]] = msgspec.json.decode(body)
    added = 0
    for change in changes:
        records = records[change.drop :]
        for record in records[: change.count if change.fields else 0]:
            record.update(copy.deepcopy(change.fields))
        fresh = [_fresh_record(records, key[1], added + n) for n in range(change.add)]
        added += change.add
        records += fresh
        for name in change.without:
            for record in records:
                record.pop(name, None)
    return msgspec.json.encode(records if order is None else shuffle(records, order=order))


def _fresh_record(records: list[dict[str, Any]], month: Month, number: int) -> dict[str, Any]:
    record = copy.deepcopy(records[number % len(records)]) if records else {}
    # Small hours of the 15th, a second apart, so that an added record is no repeat of another one.
    minute, second = divmod(number, 60)
    record["datetime"] = f"{month}-15T{3 + minute // 60:02d}:{minute % 60:02d}:{second:02d}+00:00"
    return record
