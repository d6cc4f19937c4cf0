"""
Figures on the quality of one force-month's records, in parts and never as one number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from stopsearch.clean.rules.times import at_local_midnight
from stopsearch.domain.months import Month
from stopsearch.domain.stops import FIELDS

_DOUBLED_MIN_RECORDS = 20
_DATE_ONLY_MIN_RECORDS = 10
_DATE_ONLY_SHARE = 0.99


@dataclass(frozen=True, kw_only=True)
class Quality:
    """
    What a reader of a force-month should know of it: counts of records, and two flags of the whole file.
    """

    figures: dict[str, Any]
    is_doubled: bool
    is_date_only: bool


def measure_quality(month: Month, accepted: pl.DataFrame, ordinals: pl.Series, extra_keys: dict[str, int]) -> Quality:
    """
    Measure one force-month.

    Args:
        accepted: The stops, one row each.
        ordinals: The ordinal among exact repeats of every received record.
        extra_keys: Keys that we don't know, counted.
    """
    midnight = int(at_local_midnight(accepted["datetime"]).sum())
    figures: dict[str, Any] = {
        "not_given": {name: count for name in FIELDS if (count := accepted[name].null_count())},
        "at_local_midnight": midnight,
        "repeats": int((ordinals > 0).sum()),
        "dated_outside_month": int((accepted["local_date"].dt.month_start() != month.first_day).sum()),
        "far_from_force": int(accepted["is_far_from_force"].sum()),
    }
    if extra_keys:
        figures["extra_keys"] = extra_keys
    return Quality(
        figures=figures,
        is_doubled=is_doubled(ordinals),
        is_date_only=accepted.height >= _DATE_ONLY_MIN_RECORDS and midnight > _DATE_ONLY_SHARE * accepted.height,
    )


def is_doubled(ordinals: pl.Series) -> bool:
    """
    Tell whether a whole file is doubled: every distinct record occurs an even number of times.

    Nine of 1,528 files measured are. No rule on rows can find them, and dropping repeats would lose real stops: the
    file is flagged and kept. Each group of odd size has one even ordinal (0, 2, …) more than odd ones.
    """
    odd = int((ordinals % 2 == 1).sum())
    return len(ordinals) >= _DOUBLED_MIN_RECORDS and 2 * odd == len(ordinals)
