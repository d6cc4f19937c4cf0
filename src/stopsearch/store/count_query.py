"""
Counts of stops by code: planned, and asked of the smallest table that can tell.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Any, LiteralString

import numpy as np
import numpy.typing as npt
from psycopg import Connection, sql

from stopsearch.domain.dimensions import COUNTED_TOGETHER, GROUPED_FIELDS, Dimension
from stopsearch.domain.filters import RevisionState, StopFilter
from stopsearch.domain.months import Month
from stopsearch.domain.vocabulary import VOCABULARY
from stopsearch.store.as_of import ServedRevision
from stopsearch.store.revision_conditions import asked_revisions, revision_conditions
from stopsearch.store.served_numbers import SLOT_DAYS
from stopsearch.store.snapshots import Snapshot
from stopsearch.store.stop_conditions import codes_of, stop_conditions

# What the force-month tells.
FORCE = "force"  # by its code
MONTH = "month"  # by `month_code`
_FIRST_MONTH = date(2000, 1, 1)  # no earlier one can be written

_MONTH_CODE = sql.SQL("(stop.month - {}::date) / {}").format(sql.Literal(_FIRST_MONTH), sql.Literal(SLOT_DAYS))

# Columns of numbers come back as bytes, one number after another: to read them takes nothing, while to fetch as many
# rows would be most of an answer's time.
_PACKED = sql.SQL("SELECT {packed} FROM ({select}) AS counted")
_SELECT = sql.SQL("SELECT {columns} FROM {table} AS stop WHERE {wanted}")
_CODE = sql.SQL("string_agg(int2send(counted.{}), '')")
_STOPS = sql.SQL("string_agg(int8send(counted.stops), '')")


class CountedFrom(StrEnum):
    """
    What a total was added up from. All give the same answer where they can give one.
    """

    REVISIONS = "revisions"  # what each revision counted when it was stored; no statement at all
    STOP_TOTAL = "stop_total"  # the narrow rollup
    STOP_COUNT = "stop_count"  # the rollup of the labels that are counted together
    ROWS = "rows"


@dataclass(frozen=True, kw_only=True)
class CodeCounts:
    """
    Stops by codes: arrays of one length, in no order. A combination may occur more than once: add them up.

    Code 0 is for nothing given; an hour's code is the local hour plus one, a weekday's the ISO one, a month's is told
    by `month_code`.
    """

    codes: Mapping[str, npt.NDArray[np.int64]]  # by the name of what is told apart
    stops: npt.NDArray[np.int64]


def month_code(month: Month) -> int:
    """
    Give the small number that stands for a month in counts, another one for each.
    """
    return (month.first_day - _FIRST_MONTH).days // SLOT_DAYS


def plan_count(told_apart: Collection[str], *, needs_rows: bool) -> CountedFrom:
    """
    Choose the cheapest source that can tell. Pure.

    Args:
        told_apart: The dimensions that the groups and the filter tell apart, beside force and month.
        needs_rows: Whether the filter asks for something else that only rows tell.
    """
    dimensions = set(told_apart) - {FORCE, MONTH}
    if needs_rows:
        return CountedFrom.ROWS
    if not dimensions:
        return CountedFrom.REVISIONS
    if len(dimensions) == 1:
        return CountedFrom.STOP_TOTAL
    return CountedFrom.STOP_COUNT if dimensions <= set(COUNTED_TOGETHER) else CountedFrom.ROWS


def filtered_dimensions(stop_filter: StopFilter) -> set[str]:
    """
    Name the dimensions that a filter's labels and groups are told from.
    """
    return {GROUPED_FIELDS.get(name, name) for name in stop_filter.labels}


def count_by_code(
    connection: Connection,
    snapshot: Snapshot,
    stop_filter: StopFilter,
    names: Sequence[str],
    source: CountedFrom,
) -> CodeCounts:
    """
    Count the stops of a snapshot that a filter lets through.

    Args:
        names: What to tell apart: `FORCE`, `MONTH`, and dimensions by name.
        source: One that can tell all of it.
    """
    revisions = asked_revisions(snapshot, stop_filter)
    if source is CountedFrom.REVISIONS:
        return _count_revisions(revisions, names)
    select, parameters = _select(snapshot, revisions, stop_filter, names, source)
    packed = [_CODE.format(sql.Identifier(name)) for name in names]
    # Planned anew each time: the forces and months that are asked for decide how they are best found.
    row = connection.execute(
        _PACKED.format(packed=sql.SQL(", ").join([*packed, _STOPS]), select=select),
        parameters,
        prepare=False,
        binary=True,
    ).fetchone()
    *codes, stops = [column or b"" for column in row or [b""] * (len(names) + 1)]
    return CodeCounts(
        codes={name: _unpacked(column, ">i2") for name, column in zip(names, codes, strict=True)},
        stops=_unpacked(stops, ">i8"),
    )


def _unpacked(column: bytes, kind: str) -> npt.NDArray[np.int64]:
    return np.frombuffer(column, dtype=kind).astype(np.int64)


def _count_revisions(revisions: Sequence[ServedRevision], names: Sequence[str]) -> CodeCounts:
    code: dict[str, Callable[[ServedRevision], int]] = {
        FORCE: lambda each: each.force_code,
        MONTH: lambda each: month_code(each.month),
    }
    return CodeCounts(
        codes={name: np.array([code[name](each) for each in revisions], dtype=np.int64) for name in names},
        stops=np.array([each.stored for each in revisions], dtype=np.int64),
    )


def _select(
    snapshot: Snapshot,
    revisions: Sequence[ServedRevision],
    stop_filter: StopFilter,
    names: Sequence[str],
    source: CountedFrom,
) -> tuple[sql.Composable, dict[str, Any]]:
    wanted, parameters = revision_conditions(snapshot, revisions, stop_filter.revision_state)
    if source is CountedFrom.ROWS:
        expressions = dict(_OF_ROWS)
        date_only = [each for each in revisions if each.is_date_only]
        if Dimension.HOUR.field in names and date_only:
            expressions[Dimension.HOUR.field] = _HOUR_UNLESS
            parameters["date_only_forces"] = [each.force_code for each in date_only]
            parameters["date_only_months"] = [each.month.first_day for each in date_only]
        _add(stop_conditions(stop_filter), wanted, parameters)
        _add(_window(revisions, stop_filter), wanted, parameters)
        return _statement("stop", names, expressions, wanted, stops="count(*)", is_grouped=True), parameters
    if source is CountedFrom.STOP_TOTAL:
        [dimension] = {*names, *filtered_dimensions(stop_filter)} - {FORCE, MONTH}
        expressions = {dimension: sql.SQL("stop.value_code")}
        wanted.append(sql.SQL("stop.dimension_code = %(dimension)s"))
        parameters["dimension"] = int(Dimension[dimension.upper()])
        # A force-month has each value once: to group them takes longer here than where they are added up.
        table, stops, is_grouped = "stop_total", "stop.stops::bigint", False
    else:
        expressions = {name: sql.Identifier("stop", f"{name}_code") for name in COUNTED_TOGETHER}
        table, stops, is_grouped = "stop_count", "sum(stop.stops)::bigint", True
    _add(_label_conditions(stop_filter, expressions), wanted, parameters)
    return _statement(table, names, expressions, wanted, stops=stops, is_grouped=is_grouped), parameters


def _add(
    more: tuple[list[sql.Composable], dict[str, Any]], wanted: list[sql.Composable], parameters: dict[str, Any]
) -> None:
    wanted += more[0]
    parameters |= more[1]


def _statement(
    table: str,
    names: Sequence[str],
    dimensions: Mapping[str, sql.Composable],
    wanted: Sequence[sql.Composable],
    *,
    stops: LiteralString,
    is_grouped: bool,
) -> sql.Composable:
    expressions = {FORCE: sql.SQL("stop.force_code"), MONTH: _MONTH_CODE, **dimensions}
    columns = [sql.SQL("({})::smallint AS {}").format(expressions[name], sql.Identifier(name)) for name in names]
    select = _SELECT.format(
        columns=sql.SQL(", ").join([*columns, sql.SQL(stops) + sql.SQL(" AS stops")]),
        table=sql.Identifier(table),
        wanted=sql.SQL(" AND ").join(wanted),
    )
    if not is_grouped or not names:
        return select
    return select + sql.SQL(" GROUP BY ") + sql.SQL(", ").join(map(sql.Literal, range(1, len(names) + 1)))


def _label_conditions(
    stop_filter: StopFilter, expressions: Mapping[str, sql.Composable]
) -> tuple[list[sql.Composable], dict[str, Any]]:
    """
    Give what a rollup's codes must keep; code 0 is for nothing given.
    """
    wanted: list[sql.Composable] = []
    parameters: dict[str, Any] = {}
    for name, values in stop_filter.labels.items():
        codes, or_nothing = codes_of(name, values)
        expression = expressions[GROUPED_FIELDS.get(name, name)]
        wanted.append(sql.SQL("{} = ANY({}::smallint[])").format(expression, sql.Placeholder(name)))
        parameters[name] = f"{{{','.join(map(str, [0, *codes] if or_nothing else codes))}}}"
    return wanted, parameters


def _window(revisions: Sequence[ServedRevision], asked: StopFilter) -> tuple[list[sql.Composable], dict[str, Any]]:
    """
    Give the times that stops must lie between: those asked for, and those that the revisions span.

    The latter let an index be entered where the stops begin; of withdrawn stops, revisions do not tell them.
    """
    starts, ends = [asked.datetime_from], [asked.datetime_before]
    is_narrowed = (asked.first, asked.last, asked.date_only, asked.doubled) != (None, None, None, None)
    if is_narrowed and asked.revision_state is not RevisionState.WITHDRAWN:
        starts.append(min((each.first_datetime for each in revisions if each.first_datetime), default=None))
        last = max((each.last_datetime for each in revisions if each.last_datetime), default=None)
        ends.append(last + timedelta(microseconds=1) if last else None)
    wanted: list[sql.Composable] = []
    parameters: dict[str, Any] = {}
    if start := max(filter(None, starts), default=None):
        wanted.append(sql.SQL("stop.datetime >= %(start)s"))
        parameters["start"] = start
    if before := min(filter(None, ends), default=None):
        wanted.append(sql.SQL("stop.datetime < %(before)s"))
        parameters["before"] = before
    return wanted, parameters


# How a row tells each dimension's code, as the rollups keep it; for the hour, where times were given.
_OF_ROWS: dict[str, sql.Composable] = {
    **{name: sql.SQL("coalesce({}, 0)").format(sql.Identifier("stop", f"{name}_code")) for name in VOCABULARY},
    Dimension.HOUR.field: sql.SQL("extract(hour FROM stop.datetime AT TIME ZONE 'Europe/London') + 1"),
    Dimension.WEEKDAY.field: sql.SQL("extract(isodow FROM stop.local_date)"),
}
_HOUR_UNLESS = sql.SQL(
    """
    CASE WHEN (stop.force_code, stop.month) IN (
        SELECT * FROM unnest(%(date_only_forces)s::smallint[], %(date_only_months)s::date[])
    ) THEN 0 ELSE {} END
    """
).format(_OF_ROWS[Dimension.HOUR.field])
