"""
Pages of stops: statements that give one page of a filter's stops by time and id, at any depth for the same cost.

A page goes on from a position (keyset), never from an offset. It is exact for one snapshot, in one of two ways:

* `Told.BY_NUMBERS` binds the numbers of the snapshot's revisions: exact whatever is committed meanwhile.
* `Told.AS_CURRENT` takes what is not withdrawn, which is cheaper, and reads the generation in the same statement: the
  page is of the snapshot where that is the generation at which the snapshot is current.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any
from uuid import UUID

from psycopg import sql

from stopsearch.domain.filters import RevisionState, StopFilter
from stopsearch.store.as_of import ServedRevision
from stopsearch.store.revision_conditions import asked_revisions, number_conditions
from stopsearch.store.served_numbers import ServedNumbers, served_numbers
from stopsearch.store.snapshots import Snapshot
from stopsearch.store.stop_conditions import stop_conditions

# Each of a few forces is read by itself in the order of its own index, so that a small one is found at once. Beyond,
# so many are asked for that the index of all forces gives them soon enough.
_MOST_LATERAL = 8

# What a page reads, in this order, after the generation. Labels come as codes: their words are put in when the page
# is written (`stop_words`), which takes a fraction of the time that the server would need.
READ_COLUMNS: tuple[str, ...] = (
    "id",
    "datetime",
    "local_date",
    "latitude",
    "longitude",
    "force_code",
    "month",
    "type_code",
    "operation",
    "operation_name",
    "gender_code",
    "age_range_code",
    "self_defined_ethnicity_code",
    "officer_defined_ethnicity_code",
    "legislation_code",
    "object_of_search_code",
    "outcome_code",
    "outcome_linked_to_object_of_search",
    "removal_of_more_than_outer_clothing",
    "is_far_from_force",
)
_EXPRESSIONS = {
    # As JSON has it, and in UTC: the server writes that faster than Python could.
    "datetime": sql.SQL("to_json(stop.datetime) AS datetime"),
    "operation_name": sql.SQL(
        """
        CASE WHEN stop.operation_name_code IS NOT NULL THEN (
            SELECT operation_name.name FROM operation_name WHERE operation_name.code = stop.operation_name_code
        ) END AS operation_name
        """
    ),
}
READ_SQL = sql.SQL(", ").join(
    _EXPRESSIONS.get(name, sql.SQL("{}").format(sql.Identifier("stop", name))) for name in READ_COLUMNS
)

# Whatever the page holds, the generation is told, also where it holds nothing. A left join to one single row can
# only be done as a loop, which leaves the page in its order: sorting it once more took a fifth of the time.
_PAGE = sql.SQL("SELECT serving.generation, page.* FROM serving LEFT JOIN LATERAL ({page}) AS page ON true")
_ORDERED = sql.SQL("SELECT {what} FROM stop WHERE {wanted} ORDER BY {order} LIMIT {limit}")
_MERGED = sql.SQL(
    """
    SELECT {columns} FROM unnest(%(forces)s::smallint[]) AS asked (force_code)
    CROSS JOIN LATERAL ({each}) AS stop
    ORDER BY {order} LIMIT {limit}
    """
)
_ORDER = {False: sql.SQL("stop.datetime, stop.id"), True: sql.SQL("stop.datetime DESC, stop.id DESC")}
_BEYOND = {
    False: sql.SQL("(stop.datetime, stop.id) > (%(last_datetime)s, %(last_id)s)"),
    True: sql.SQL("(stop.datetime, stop.id) < (%(last_datetime)s, %(last_id)s)"),
}


class Told(Enum):
    """
    How a statement tells the stops of a snapshot from others.
    """

    AS_CURRENT = "as current"
    BY_NUMBERS = "by numbers"


@dataclass(frozen=True, kw_only=True)
class Position:
    """
    Where a page ends: the time and the id of its last stop.
    """

    at: datetime
    id: UUID


@dataclass(frozen=True, kw_only=True)
class Statement:
    """
    A statement with what is bound in it.
    """

    text: bytes
    parameters: dict[str, Any]
    is_planned_anew: bool  # whether the values decide how it is best run, so that no plan is kept


class PageQuery:
    """
    The statements of one filter's pages, of one snapshot. Those of later pages differ in the position only.
    """

    def __init__(self, snapshot: Snapshot, stop_filter: StopFilter, *, limit: int, is_descending: bool) -> None:
        self._filter = stop_filter
        self._limit = limit
        self._is_descending = is_descending
        self._revisions = asked_revisions(snapshot, stop_filter)
        is_all = len(self._revisions) == len(snapshot.revisions)
        self._numbers = served_numbers(snapshot) if is_all else ServedNumbers(self._revisions)
        self._forces = self._asked_forces({each.force: each.force_code for each in snapshot.revisions})
        self._start, self._before = self._window()
        # Nothing that could be looked for: the indexes must not be searched through to find that out.
        self._is_empty = not any(self._may_hold(revision) for revision in self._revisions)
        # How rare a label or a place is decides how it is best found: a plan for any of them reads the whole index.
        self._is_picky = bool(stop_conditions(stop_filter)[0])
        self._texts: dict[tuple[Told, bool], bytes] = {}
        self._bound: dict[tuple[Told, bool], dict[str, Any]] = {}

    @property
    def can_be_current(self) -> bool:
        """
        Tell whether there is a statement of `Told.AS_CURRENT`: the rest asks for more than what is not withdrawn.
        """
        asked = self._filter
        return asked.revision_state is RevisionState.SERVED and asked.date_only is None and asked.doubled is None

    def statement(self, told: Told, after: Position | None = None) -> Statement:
        """
        Give the statement of one page: rows of the generation and `READ_COLUMNS`, one row more than the page has.

        Where the page is empty there is one row: of the generation, and of NULL.

        Args:
            after: The last stop of the page before; None: from the start.
        """
        kind = told, after is not None
        if kind not in self._texts:
            composed, self._bound[kind] = self._compose(told, goes_on=after is not None)
            self._texts[kind] = composed.as_bytes(None)
        parameters = self._bound[kind]
        if after is not None:
            parameters = {**parameters, "last_datetime": after.at, "last_id": after.id}
        return Statement(
            text=self._texts[kind],
            parameters=parameters,
            is_planned_anew=self._is_picky,
        )

    def _compose(self, told: Told, *, goes_on: bool) -> tuple[sql.Composed, dict[str, Any]]:
        wanted, parameters = stop_conditions(self._filter)
        if self._is_empty:
            wanted.append(sql.SQL("false"))
        self._add_window(wanted, parameters, goes_on=goes_on)
        if self._filter.first is not None:
            wanted.append(sql.SQL("stop.month >= %(first_month)s"))
            parameters["first_month"] = self._filter.first.first_day
        if self._filter.last is not None:
            wanted.append(sql.SQL("stop.month <= %(last_asked_month)s"))
            parameters["last_asked_month"] = self._filter.last.first_day
        if told is Told.AS_CURRENT:
            wanted.append(sql.SQL("stop.withdrawn_revision IS NULL"))
        else:
            served, numbers = number_conditions(self._numbers, self._filter.revision_state)
            wanted += [_as_common(served)] if self._filter.revision_state is RevisionState.SERVED else served
            parameters |= numbers
        if goes_on:
            wanted.append(_BEYOND[self._is_descending])
        order, limit = _ORDER[self._is_descending], sql.Literal(self._limit + 1)
        if self._forces is not None and 1 < len(self._forces) <= _MOST_LATERAL:
            parameters["forces"] = _array(self._forces)
            wanted.append(sql.SQL("stop.force_code = asked.force_code"))
            each = _ordered(sql.SQL("stop.*"), wanted, order, limit)
            page = _MERGED.format(columns=READ_SQL, each=each, order=order, limit=limit)
            return _PAGE.format(page=page), parameters
        if self._forces is not None and len(self._forces) == 1:
            wanted.append(sql.SQL("stop.force_code = %(force)s"))
            parameters["force"] = self._forces[0]
        elif self._forces is not None:
            wanted.append(sql.SQL("stop.force_code = ANY(%(forces)s::smallint[])"))
            parameters["forces"] = _array(self._forces)
        return _PAGE.format(page=_ordered(READ_SQL, wanted, order, limit)), parameters

    def _add_window(self, wanted: list[sql.Composable], parameters: dict[str, Any], *, goes_on: bool) -> None:
        # A page that goes on begins within the window, and its position is the nearer end.
        if self._start is not None and not (goes_on and not self._is_descending):
            wanted.append(sql.SQL("stop.datetime >= %(start)s"))
            parameters["start"] = self._start
        if self._before is not None and not (goes_on and self._is_descending):
            wanted.append(sql.SQL("stop.datetime < %(before)s"))
            parameters["before"] = self._before

    def _asked_forces(self, held: dict[str, int]) -> list[int] | None:
        """
        Give the codes of the forces that are asked for and that the snapshot holds; None: all that it holds.
        """
        if not self._filter.forces or held.keys() <= set(self._filter.forces):
            return None
        return [held[force] for force in self._filter.forces if force in held]

    def _may_hold(self, revision: ServedRevision) -> bool:
        return revision.stored > 0 or self._filter.revision_state is RevisionState.WITHDRAWN

    def _window(self) -> tuple[datetime | None, datetime | None]:
        """
        Give the times between which all stops that are asked for lie, so that an index is entered where they begin.
        """
        asked = self._filter
        starts, ends = [asked.datetime_from], [asked.datetime_before]
        is_narrowed = (asked.first, asked.last, asked.date_only, asked.doubled) != (None, None, None, None)
        if is_narrowed and asked.revision_state is not RevisionState.WITHDRAWN:
            firsts = [each.first_datetime for each in self._revisions if each.first_datetime is not None]
            lasts = [each.last_datetime for each in self._revisions if each.last_datetime is not None]
            if firsts and lasts:
                starts.append(min(firsts))
                ends.append(max(lasts) + timedelta(microseconds=1))
        return max(filter(None, starts), default=None), min(filter(None, ends), default=None)


def _as_common(conditions: list[sql.Composable]) -> sql.Composable:
    """
    Join conditions that nearly every row meets, so that the planner does not take them for rare.

    It can't see into the array of numbers, and takes each bound for one row in two hundred: it then read and sorted the
    whole table for a page. Of a CASE it knows nothing, which means one row in two.
    """
    return sql.SQL("CASE WHEN {} THEN true ELSE false END").format(
        sql.SQL(" AND ").join(sql.SQL("({})").format(condition) for condition in conditions)
    )


def _ordered(
    what: sql.Composable, wanted: list[sql.Composable], order: sql.Composable, limit: sql.Composable
) -> sql.Composed:
    conditions = sql.SQL(" AND ").join(wanted) if wanted else sql.SQL("true")
    return _ORDERED.format(what=what, wanted=conditions, order=order, limit=limit)


def _array(codes: list[int]) -> str:
    # As text, which the driver need not take apart.
    return f"{{{','.join(map(str, codes))}}}"
