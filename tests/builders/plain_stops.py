"""
Every row of a database read at once and filtered in plain Python, as a second opinion on what statements find.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from psycopg.rows import dict_row

from stopsearch.store.database import Database

Query = Mapping[str, str | Sequence[str]]
Row = dict[str, Any]

_GROUPED = ("self_defined_ethnic_group", "officer_defined_ethnic_group", "outcome_group")
_LABELLED = (
    "type",
    "gender",
    "age_range",
    "self_defined_ethnicity",
    "officer_defined_ethnicity",
    "legislation",
    "object_of_search",
    "outcome",
    *_GROUPED,
)
_TRUTHS = ("operation", "outcome_linked_to_object_of_search", "removal_of_more_than_outer_clothing")


@dataclass(frozen=True, kw_only=True)
class PlainStops:
    """
    All rows that a database holds, withdrawn ones too, and the revisions that it serves.
    """

    rows: list[Row]
    served: dict[tuple[str, str], Row]  # the current revision by force and month
    first_served: dict[tuple[str, str], int]

    def ids(self, query: Query, *, is_descending: bool = False) -> list[str]:
        """
        Give the ids of the stops that a query of the API asks for, in their order.
        """
        found = [str(row["id"]) for row in self.find(query)]
        return found[::-1] if is_descending else found

    def find(self, query: Query) -> list[Row]:
        """
        Give the rows of the stops that a query of the API asks for, in the order of time and id.
        """
        state = query.get("revision_state", "served")
        if state == "withdrawn":
            rows = self._withdrawn()
        else:
            rows = [row for row in self.rows if row["withdrawn_revision"] is None]
        if state == "restated":
            rows = [row for row in rows if row["first_revision"] > self.first_served[row["force"], row["month"]]]
        conditions = [
            self._condition(name, [value] if isinstance(value, str) else list(value), query)
            for name, value in query.items()
            if name not in ("revision_state", "radius_m")
        ]
        return [row for row in rows if all(holds(row) for holds in conditions)]

    def _withdrawn(self) -> list[Row]:
        by_id: dict[Any, list[Row]] = defaultdict(list)
        for row in self.rows:
            by_id[row["id"]].append(row)
        last = [
            max(rows, key=lambda row: row["first_revision"])
            for rows in by_id.values()
            if all(row["withdrawn_revision"] is not None for row in rows)
        ]
        return sorted(last, key=_order)

    def _condition(self, name: str, values: list[str], query: Query) -> Callable[[Row], bool]:
        first = values[0]
        if name == "force":
            forces = {force for each in values for force in each.split(",")}
            return lambda row: row["force"] in forces
        if name == "from":
            return lambda row: row["month"] >= first
        if name == "to":
            return lambda row: row["month"] <= first
        if name == "datetime_from":
            return lambda row: row["datetime"] >= _instant(first)
        if name == "datetime_before":
            return lambda row: row["datetime"] < _instant(first)
        if name in _LABELLED:
            return lambda row: (row[name] if row[name] is not None else "none") in values
        if name in _TRUTHS:
            return lambda row: {True: "true", False: "false", None: "none"}[row[name]] == first
        if name == "operation_name":
            return lambda row: row["operation_name"] == first
        if name == "located":
            return lambda row: (row["latitude"] is not None) == (first == "true")
        if name == "bbox":
            west, south, east, north = map(float, first.split(","))
            return lambda row: (
                row["latitude"] is not None and south <= row["latitude"] <= north and west <= row["longitude"] <= east
            )
        if name == "near":
            point, radius_m = tuple(map(float, first.split(","))), float(str(query["radius_m"]))
            return lambda row: (
                row["latitude"] is not None and metres(*point, row["latitude"], row["longitude"]) <= radius_m
            )
        if name in ("date_only", "doubled"):
            return lambda row: self.served[row["force"], row["month"]][f"is_{name}"] == (first == "true")
        if name == "far_from_force":
            return lambda row: row["is_far_from_force"] is (first == "true")
        raise AssertionError(f"the plain filter does not know {name}")


def read_plain_stops(database: Database) -> PlainStops:
    """
    Read every row of a database, in words.
    """
    with database.connect(row_factory=dict_row) as connection:
        rows: list[Any] = connection.execute("SELECT * FROM stop_in_words").fetchall()
        revisions: list[Any] = connection.execute(
            """
            SELECT force.id AS force, to_char(month, 'YYYY-MM') AS month, number, is_date_only, is_doubled,
                served_until IS NULL AS is_current
            FROM revision JOIN force ON force.code = revision.force_code WHERE standing = 'served' ORDER BY number
            """
        ).fetchall()
    first_served: dict[tuple[str, str], int] = {}
    for revision in revisions:
        first_served.setdefault((revision["force"], revision["month"]), revision["number"])
    served = {(each["force"], each["month"]): each for each in revisions if each["is_current"]}
    return PlainStops(rows=sorted(rows, key=_order), served=served, first_served=first_served)


def _order(row: Row) -> tuple[datetime, str]:
    return row["datetime"], str(row["id"])


def metres(latitude: float, longitude: float, other_latitude: float, other_longitude: float) -> float:
    """
    Give the distance of two points on a sphere of the earth's mean radius, by the angle between their vectors.
    """
    one, other = _vector(latitude, longitude), _vector(other_latitude, other_longitude)
    cross = math.dist(
        (0, 0, 0),
        (
            one[1] * other[2] - one[2] * other[1],
            one[2] * other[0] - one[0] * other[2],
            one[0] * other[1] - one[1] * other[0],
        ),
    )
    return 6_371_008.8 * math.atan2(cross, sum(a * b for a, b in zip(one, other, strict=True)))


def _vector(latitude: float, longitude: float) -> tuple[float, float, float]:
    phi, theta = math.radians(latitude), math.radians(longitude)
    return math.cos(phi) * math.cos(theta), math.cos(phi) * math.sin(theta), math.sin(phi)


@cache
def _instant(text: str) -> datetime:
    if len(text) > len("2020-01-01"):
        return datetime.fromisoformat(text)
    # A date is the midnight in London that begins it.
    day = date.fromisoformat(text)
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo("Europe/London"))
