"""
What the publisher writes for an outcome, and what it means.
"""

from __future__ import annotations

from typing import Any

import polars as pl

NOTHING_FOUND = "Nothing found - no further action"

# The names that archives of 2014 to 2017 use (metropolitan 2016-06, seen again in 2017-01), and their API id's
# current name. From 2018-04 on only the new ones occur.
OLD_OUTCOMES: dict[str, str] = {
    NOTHING_FOUND: "A no further action disposal",
    "Suspect arrested": "Arrest",
    "Offender given drugs possession warning": "Khat or Cannabis warning",
    "Offender given penalty notice": "Penalty Notice for Disorder",
    "Local resolution": "Community resolution",
    "Suspect summonsed to court": "Summons / charged by post",
    "Offender cautioned": "Caution (simple or conditional)",
}


def false_outcome_as_published(values: list[Any]) -> tuple[list[Any], int]:
    """
    Write `outcome: false` as the archive of the same time writes it: nothing was found.

    The API's documentation of 2017 and 2018 says `false` where nothing was found, and an empty string where the
    force gave no outcome. It must run before any coercion: coerced first, `false` becomes the text "False".

    Returns:
        The values, and how many were mended.
    """
    count = sum(value is False for value in values)
    if count:
        values = [NOTHING_FOUND if value is False else value for value in values]
    return values, count


def mend_old_outcome(column: pl.Series) -> tuple[pl.Series, int]:
    """
    Give outcomes of before 2018 their present names. Seen in 10,490 rows, all of metropolitan 2016-06.
    """
    old = column.is_in(list(OLD_OUTCOMES))
    count = int(old.sum())
    return (column.replace(OLD_OUTCOMES), count) if count else (column, 0)
