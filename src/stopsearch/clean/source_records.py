"""
Source records: what the publisher sent, as columns of text, before any rule that changes meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import polars as pl

from stopsearch.domain.stops import FIELDS

SOURCE_SCHEMA: dict[str, pl.DataType] = {
    "record_number": pl.UInt32(),
    **{name: pl.String() for name in FIELDS},
}

# The column that only a month with unreadable records has: identity reads the text of such a record from it.
UNREADABLE_TEXT = "unreadable_text"


@dataclass(frozen=True, kw_only=True)
class SourceRecords:
    """
    The records of one force-month as published, in one form for both shapes.

    `frame` has one row per published record, in the publisher's order: `record_number` from 1, and the 15
    fields of the archive as text, written as the archive writes them; empty, null and absent are all null.
    A record that is no stop at all (no JSON object, a line with too few or too many columns) is a row of nulls,
    and `unreadable` names what was wrong by its record number. Where there is such a record, the frame has one
    more column, `unreadable_text`: the record as `raw` gives it, null for every record that could be read.
    """

    frame: pl.DataFrame
    unreadable: dict[int, str]
    mended: dict[str, int]  # values changed while reading, by rule
    extra_keys: dict[str, int]  # keys that we don't know, counted and ignored
    streets: pl.DataFrame  # the API's streets: street_id, name, latitude, longitude; one row a street
    raw: Callable[[Sequence[int]], list[str]] = field(repr=False)  # record numbers -> each record as JSON text

    def __len__(self) -> int:
        return self.frame.height


def with_unreadable(
    frame: pl.DataFrame, unreadable: Collection[int], raw: Callable[[Sequence[int]], list[str]]
) -> pl.DataFrame:
    """
    Add the text of the unreadable records, by their numbers, to the frame of a month that has any.
    """
    if not unreadable:
        return frame
    numbers = sorted(unreadable)
    texts = pl.DataFrame(
        {"record_number": numbers, UNREADABLE_TEXT: raw(numbers)},
        schema={"record_number": pl.UInt32(), UNREADABLE_TEXT: pl.String()},
    )
    return frame.join(texts, on="record_number", how="left", maintain_order="left")


def no_streets() -> pl.DataFrame:
    """
    Give the frame of a month that tells no street: every archive's.
    """
    return pl.DataFrame(
        schema={
            "street_id": pl.Int32(),
            "name": pl.String(),
            "latitude": pl.String(),
            "longitude": pl.String(),
        }
    )
