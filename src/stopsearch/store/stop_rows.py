"""
Stops as rows of the table `stop` and of its rollups: words become codes, and all columns have a fixed width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from stopsearch.domain.dimensions import COUNTED_TOGETHER, Dimension
from stopsearch.domain.months import Month
from stopsearch.domain.stops import BOOLEAN_FIELDS
from stopsearch.domain.vocabulary import LABEL_FIELDS, labels_of
from stopsearch.store.copy_rows import (
    BOOLEAN,
    DATE,
    DOUBLE,
    INTEGER,
    SMALLINT,
    TIMESTAMPTZ,
    UUID,
    Column,
    CopyRows,
    as_days,
    as_microseconds,
)

STOP_COLUMNS: tuple[Column, ...] = (
    Column(name="id", type=UUID),
    Column(name="force_code", type=SMALLINT),
    Column(name="month", type=DATE),
    Column(name="first_revision", type=SMALLINT),
    Column(name="record_number", type=INTEGER),
    Column(name="datetime", type=TIMESTAMPTZ),
    Column(name="local_date", type=DATE),
    Column(name="operation_name_code", type=INTEGER, is_nullable=True),
    Column(name="latitude", type=DOUBLE, is_nullable=True),
    Column(name="longitude", type=DOUBLE, is_nullable=True),
    Column(name="is_far_from_force", type=BOOLEAN, is_nullable=True),
    *(Column(name=f"{name}_code", type=SMALLINT, is_nullable=name != "type") for name in LABEL_FIELDS),
    *(Column(name=name, type=BOOLEAN, is_nullable=True) for name in BOOLEAN_FIELDS),
)

_LOCAL_HOUR = pl.col("datetime").dt.convert_time_zone("Europe/London").dt.hour()

_LABELS = {name: pl.Enum(labels_of(name)) for name in LABEL_FIELDS}

# The rollup's dimensions beside force and month: of low cardinality, so that it is a fifth of the stops' size.
COUNTED_FIELDS: tuple[str, ...] = COUNTED_TOGETHER

COUNT_COLUMNS: tuple[Column, ...] = (
    Column(name="force_code", type=SMALLINT),
    Column(name="month", type=DATE),
    Column(name="first_revision", type=SMALLINT),
    *(Column(name=f"{name}_code", type=SMALLINT) for name in COUNTED_FIELDS),
    Column(name="stops", type=INTEGER),
)

TOTAL_COLUMNS: tuple[Column, ...] = (
    Column(name="dimension_code", type=SMALLINT),
    Column(name="force_code", type=SMALLINT),
    Column(name="month", type=DATE),
    Column(name="value_code", type=SMALLINT),
    Column(name="first_revision", type=SMALLINT),
    Column(name="stops", type=INTEGER),
)


@dataclass(frozen=True, kw_only=True)
class StopRows:
    """
    The rows of one edition, but for the force's code and the revision, which only the transaction knows.
    """

    stops: CopyRows
    counts: CopyRows
    totals: CopyRows

    def number(self, *, force_code: int, revision: int) -> None:
        """
        Fill in the force's code and the revision's number.
        """
        for rows in (self.stops, self.counts, self.totals):
            rows.set("force_code", force_code)
            rows.set("first_revision", revision)


def stop_rows(
    month: Month,
    accepted: pl.DataFrame,
    ids: npt.NDArray[np.uint8],
    operation_names: dict[str, int],
    *,
    is_date_only: bool = False,
) -> StopRows:
    """
    Make the rows of one edition, in the order of time, so that neighbours in time are neighbours on disk.

    Args:
        accepted: One row a stop, as the contract describes it.
        ids: The same rows' ids.
        operation_names: The code of each operation name that occurs.
        is_date_only: Whether the force gave dates without times, so that no hour is known.
    """
    if not accepted["datetime"].is_sorted():
        order = accepted["datetime"].arg_sort()
        accepted, ids = accepted[order], ids[order.to_numpy()]
    first_day = as_days(np.array([month.first_day], dtype="datetime64[D]").astype(np.int32))[0]
    codes = _codes(accepted)

    rows = CopyRows(STOP_COLUMNS, accepted.height)
    rows.set("id", np.ascontiguousarray(ids).view("V16").reshape(-1))
    rows.set("month", first_day)
    rows.set("record_number", accepted["record_number"].to_numpy())
    rows.set("datetime", as_microseconds(accepted["datetime"].to_physical().to_numpy()))
    rows.set("local_date", as_days(accepted["local_date"].to_physical().to_numpy()))
    for name, values in codes.items():
        rows.set(f"{name}_code", values, values == 0)
    for name in ("latitude", "longitude", "is_far_from_force", *BOOLEAN_FIELDS):
        absent = accepted[name].is_null().to_numpy()
        rows.set(name, accepted[name].fill_null(0 if accepted[name].dtype == pl.Float64 else False).to_numpy(), absent)
    if accepted["operation_name"].null_count() == accepted.height:
        rows.set_absent("operation_name_code")
    else:
        named = np.array([operation_names.get(name or "", 0) for name in accepted["operation_name"]], dtype=np.int32)
        rows.set("operation_name_code", named, named == 0)
    return StopRows(
        stops=rows,
        counts=_count_rows(first_day, codes),
        totals=_total_rows(first_day, {**codes, **_time_codes(accepted, is_date_only=is_date_only)}),
    )


def _codes(accepted: pl.DataFrame) -> dict[str, npt.NDArray[np.int16]]:
    """
    Give each label's code; 0 where no label is given. The contract has seen to it that each label is known.
    """
    places = accepted.select(pl.col(name).cast(kind).to_physical() for name, kind in _LABELS.items())
    codes = places.with_columns((pl.all().cast(pl.Int16) + 1).fill_null(0))
    return {name: codes[name].to_numpy() for name in LABEL_FIELDS}


def _count_rows(first_day: np.int32, codes: dict[str, npt.NDArray[np.int16]]) -> CopyRows:
    counts = pl.DataFrame({name: codes[name] for name in COUNTED_FIELDS}).group_by(COUNTED_FIELDS).len()
    counts = counts.sort(COUNTED_FIELDS)
    rows = CopyRows(COUNT_COLUMNS, counts.height)
    rows.set("month", first_day)
    for name in COUNTED_FIELDS:
        rows.set(f"{name}_code", counts[name].to_numpy())
    rows.set("stops", counts["len"].to_numpy())
    return rows


def _time_codes(accepted: pl.DataFrame, *, is_date_only: bool) -> dict[str, npt.NDArray[np.int16]]:
    hours = pl.lit(0, pl.Int16) if is_date_only else _LOCAL_HOUR.cast(pl.Int16) + 1
    times = accepted.select(hour=hours, weekday=pl.col("local_date").dt.weekday().cast(pl.Int16))
    return {name: times[name].to_numpy() for name in ("hour", "weekday")}


def _total_rows(first_day: np.int32, codes: dict[str, npt.NDArray[np.int16]]) -> CopyRows:
    counted = {dimension: np.bincount(codes[dimension.field]) for dimension in Dimension}
    present = {dimension: np.flatnonzero(counts) for dimension, counts in counted.items()}
    rows = CopyRows(TOTAL_COLUMNS, sum(map(len, present.values())))
    rows.set("dimension_code", np.repeat(list(Dimension), list(map(len, present.values()))).astype(np.int16))
    rows.set("month", first_day)
    rows.set("value_code", np.concatenate(list(present.values())).astype(np.int16))
    rows.set("stops", np.concatenate([counted[each][values] for each, values in present.items()]).astype(np.int32))
    return rows
