"""
Count the stops that a filter lets through, in all or by up to three groups: exact for the snapshot, from the cheapest
table that can tell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from psycopg import Connection

from stopsearch.domain.errors import BadQuery
from stopsearch.domain.filters import StopFilter
from stopsearch.domain.grouping import MOST_GROUPS, Group, Value
from stopsearch.domain.months import Month, month_range
from stopsearch.flows.covered import held_revisions
from stopsearch.store.count_query import (
    FORCE,
    MONTH,
    CountedFrom,
    count_by_code,
    filtered_dimensions,
    month_code,
    plan_count,
)
from stopsearch.store.snapshots import Snapshot

# What tells the groups of a force-month: its force, or its month.
_OWN = {Group.FORCE: FORCE, Group.MONTH: MONTH, Group.QUARTER: MONTH, Group.YEAR: MONTH}

_Places = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Total:
    """
    How many stops there are, and what they were counted from.
    """

    stops: int
    counted_from: CountedFrom


@dataclass(frozen=True, kw_only=True)
class Counts:
    """
    Stops by groups. Combinations without a stop are left out; without groups there is one row, the total.
    Where nothing of what is asked for is held there is no row: the total is unknown then, and not zero.

    Rows are in the order of the groups' values, group by group: forces by id, time forward, labels as `/v1/vocabulary`
    lists them, the unknown (None) last. A row is held as places: `places[n][row]` is where the row's value of group n
    stands in `values[n]`.
    """

    by: tuple[Group, ...]
    values: tuple[tuple[Value, ...], ...] = field(repr=False)
    places: tuple[_Places, ...] = field(repr=False)
    stops: npt.NDArray[np.int64] = field(repr=False)
    counted_from: CountedFrom

    @property
    def total(self) -> int:
        """
        Give how many stops were counted in all.
        """
        return int(self.stops.sum())

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """
        Give each row: the value of each group, and how many stops share them.
        """
        columns = (
            [values[place] for place in places.tolist()]
            for values, places in zip(self.values, self.places, strict=True)
        )
        return zip(*columns, self.stops.tolist(), strict=True)

    def about(self) -> dict[str, Any]:
        """
        Give what must be said beside the rows, as plain values.
        """
        told: dict[str, Any] = {"by": [str(group) for group in self.by], "counted_from": str(self.counted_from)}
        if shares := self.unknown_shares():
            told["unknown_ethnicity"] = shares
        return told

    def unknown_shares(self) -> dict[str, float | None]:
        """
        Give, for each ethnicity among the groups, the share of the counted stops that are of no known ethnic group.

        A share is None where nothing was counted.
        """
        return {
            group.dimension: self._unknown(group, values, places)
            for group, values, places in zip(self.by, self.values, self.places, strict=True)
            if group.is_of_ethnicity and group.dimension is not None
        }

    def _unknown(self, group: Group, values: tuple[Value, ...], places: _Places) -> float | None:
        is_unknown = np.array([not group.is_known_ethnicity(value) for value in values], dtype=bool)
        return int(self.stops[is_unknown[places]].sum()) / self.total if self.total else None


def count_total(connection: Connection, snapshot: Snapshot, stop_filter: StopFilter) -> Total:
    """
    Count the stops that a filter lets through.

    Args:
        connection: One that may read.
    """
    counts = count_stops(connection, snapshot, stop_filter, ())
    return Total(stops=counts.total, counted_from=counts.counted_from)


def count_stops(
    connection: Connection,
    snapshot: Snapshot,
    stop_filter: StopFilter,
    by: Sequence[Group],
    *,
    source: CountedFrom | None = None,
) -> Counts:
    """
    Count the stops that a filter lets through, by groups.

    Args:
        connection: One that may read.
        by: Up to `MOST_GROUPS` different groups, in the order that rows are sorted by.
        source: What to count from, one that can tell; None: the cheapest.

    Raises:
        BadQuery: There are too many groups, or one twice.
    """
    _check_groups(by)
    told_apart = tuple(dict.fromkeys(group.dimension or _OWN[group] for group in by))
    source = source or plan_count(filtered_dimensions(stop_filter) | set(told_apart), needs_rows=stop_filter.needs_rows)
    counted = count_by_code(connection, snapshot, stop_filter, told_apart, source)
    by_code = {group: group.value_by_code if group.dimension else _of_months(group, snapshot) for group in by}
    values = tuple(
        group.values if group.dimension else tuple(sorted(set(filter(None, by_code[group])))) for group in by
    )
    places = [
        _place_table(own, by_code[group])[counted.codes[group.dimension or _OWN[group]]]
        for group, own in zip(by, values, strict=True)
    ]
    if not by and not held_revisions(snapshot, stop_filter):
        return Counts(by=(), values=(), places=(), stops=np.empty(0, dtype=np.int64), counted_from=source)
    return _folded(tuple(by), values, places, counted.stops, source)


def _check_groups(by: Sequence[Group]) -> None:
    if len(by) > MOST_GROUPS or len(set(by)) < len(by):
        raise BadQuery(
            f"Totals can't be grouped by {', '.join(by)}.",
            remedy=f"Name up to {MOST_GROUPS} different groups.",
            faults=(("by", ",".join(by), f"up to {MOST_GROUPS} different groups can be named"),),
        )


def _of_months(group: Group, snapshot: Snapshot) -> tuple[Any, ...]:
    """
    Give the value of each force's or each month's code; None for codes that the snapshot has nothing of.
    """
    if group is Group.FORCE:
        known: dict[int, Any] = {revision.force_code: revision.force for revision in snapshot.revisions}
    else:
        months = month_range(*snapshot.months) if snapshot.months else ()
        known = {month_code(month): _period(group, month) for month in months}
    return tuple(known.get(code) for code in range(max(known, default=0) + 1))


def _period(group: Group, month: Month) -> str | int:
    match group:
        case Group.MONTH:
            return str(month)
        case Group.QUARTER:
            return f"{month.year}-Q{(month.number + 2) // 3}"
        case _:
            return month.year


def _place_table(values: tuple[Value, ...], table: Sequence[Value]) -> _Places:
    """
    Give, for each entry of a table, the place that its value has among all values.
    """
    place = {value: number for number, value in enumerate(values)}
    return np.array([place.get(value, -1) for value in table], dtype=np.int64)


def _folded(
    by: tuple[Group, ...],
    values: tuple[tuple[Value, ...], ...],
    places: Sequence[_Places],
    stops: npt.NDArray[np.int64],
    source: CountedFrom,
) -> Counts:
    """
    Add up what shares all its places, in order.
    """
    if not by:
        total = np.array([stops.sum()], dtype=np.int64)
        return Counts(by=by, values=values, places=(), stops=total, counted_from=source)
    sizes = tuple(map(len, values))
    keys = np.ravel_multi_index(tuple(places), sizes) if stops.size else np.empty(0, dtype=np.int64)
    # One cell for each combination that there could be: with three groups, a few hundred thousand at most. Sums are
    # exact, since whole numbers below 2**53 lose nothing.
    sums = np.bincount(keys, weights=stops).astype(np.int64)
    present = np.flatnonzero(sums)
    split = np.unravel_index(present, sizes) if present.size else (present,) * len(by)
    return Counts(by=by, values=values, places=tuple(split), stops=sums[present], counted_from=source)
