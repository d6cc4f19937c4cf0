"""
Clean one force-month: source records in, tidy records out, every row kept, every mended value counted.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from stopsearch.clean.identity import Identities
from stopsearch.clean.rules.ethnicities import mend_old_ethnicity
from stopsearch.clean.rules.outcomes import mend_old_outcome
from stopsearch.clean.rules.places import far_from_force, read_coordinate, without_zeroed
from stopsearch.clean.rules.times import local_dates, read_instants
from stopsearch.clean.source_records import SourceRecords
from stopsearch.domain.stops import BOOLEAN_FIELDS, FIELDS

# Raise it with any change of a rule, of the contract or of a derived column: a revision says which rules made it.
RULES_VERSION = 1

# Fields that are read into another type keep their text beside it, so that the contract can tell a value that
# could not be read from one that was not given.
READ_FIELDS = ("datetime", "latitude", "longitude", *BOOLEAN_FIELDS)


@dataclass(frozen=True, kw_only=True)
class TidyMonth:
    """
    The tidy records of one force-month, one row per published record, in the publisher's order.

    `frame` holds `record_number` from 1, `unreadable` (a reason, or null), the 15 fields typed (times in
    UTC, coordinates in degrees, booleans, labels as words), the text of each field that was read into a type as
    `published_<field>`, and what is derived: `local_date` in London, and `is_far_from_force`.
    """

    frame: pl.DataFrame
    ids: npt.NDArray[np.uint8]  # one row of 16 bytes a record; that of record n is row n - 1
    mended: dict[str, int]  # values changed, by rule
    content_digest: bytes


def clean_stops(force: str, source: SourceRecords, normal: pl.DataFrame, identities: Identities) -> TidyMonth:
    """
    Clean the records of one force-month by every rule, in their order.

    Args:
        source: The records as read.
        normal: The same in normal form.
        identities: The same, identified.
    """
    mended: Counter[str] = Counter(source.mended)
    columns: dict[str, pl.Series] = {name: normal[name] for name in ("record_number", *FIELDS)}
    for name in READ_FIELDS:
        columns[f"published_{name}"] = source.frame[name]

    columns["self_defined_ethnicity"], count = mend_old_ethnicity(columns["self_defined_ethnicity"])
    mended["old_ethnicity"] += count
    columns["outcome"], count = mend_old_outcome(columns["outcome"])
    mended["old_outcome"] += count

    columns["datetime"] = read_instants(normal["datetime"])
    latitude, longitude, count = without_zeroed(
        read_coordinate(normal["latitude"]), read_coordinate(normal["longitude"])
    )
    mended["zeroed_location"] += count
    columns["latitude"], columns["longitude"] = latitude, longitude
    for name in BOOLEAN_FIELDS:
        columns[name] = _read_boolean(normal[name])
    columns["local_date"] = local_dates(columns["datetime"])
    columns["is_far_from_force"] = far_from_force(force, latitude, longitude)

    columns["unreadable"] = _unreadable(source)
    return TidyMonth(
        frame=pl.DataFrame(columns),
        ids=identities.ids,
        mended={rule: count for rule, count in sorted(mended.items()) if count},
        content_digest=identities.content_digest,
    )


def _read_boolean(text: pl.Series) -> pl.Series:
    """
    Read the archive's True and False; anything else becomes null, which the contract tells from not given.
    """
    return pl.select(pl.when(text == "True").then(True).when(text == "False").then(False).alias(text.name)).to_series()


def _unreadable(source: SourceRecords) -> pl.Series:
    reasons = pl.Series("unreadable", [None], dtype=pl.String).new_from_index(0, len(source))
    for number, reason in source.unreadable.items():
        reasons[number - 1] = reason
    return reasons
