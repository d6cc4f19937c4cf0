"""
What a filter asks of each single row of `stop`: conditions for a WHERE, and the values bound in them.
"""

from __future__ import annotations

from math import asin, cos, degrees, pi, radians, sin
from typing import Any

from psycopg import sql

from stopsearch.domain.dimensions import GROUPED_FIELDS
from stopsearch.domain.filters import EARTH_RADIUS_M, NOT_GIVEN, Box, Circle, StopFilter
from stopsearch.domain.vocabulary import VOCABULARY

# Degrees by which the box around a circle is wider, lest rounding cuts off what lies just within.
_SLACK = 1e-9

# The haversine formula, in metres. Its argument may exceed 1 by rounding, where two points are opposite.
_DISTANCE = sql.SQL(
    """
    2 * %(earth_radius)s::float8 * asin(least(1, sqrt(
        power(sin(radians(stop.latitude - %(near_latitude)s::float8) / 2), 2)
        + cos(radians(%(near_latitude)s::float8)) * cos(radians(stop.latitude))
        * power(sin(radians(stop.longitude - %(near_longitude)s::float8) / 2), 2)
    )))
    """
)


def stop_conditions(asked: StopFilter) -> tuple[list[sql.Composable], dict[str, Any]]:
    """
    Give the conditions on a row of `stop`, and the values bound in them by name.

    Not among them is what depends on the force-month and its revision: forces, months, time, `date_only`, `doubled`
    and `revision_state`.
    """
    wanted: list[sql.Composable] = []
    parameters: dict[str, Any] = {}
    for name, values in asked.labels.items():
        wanted.append(_has_label(name, values, parameters))
    for name, value in asked.flags.items():
        wanted.append(_is(name, value))
    if asked.operation_name is not None:
        wanted.append(
            sql.SQL("stop.operation_name_code = (SELECT code FROM operation_name WHERE name = %(operation_name)s)")
        )
        parameters["operation_name"] = asked.operation_name
    if asked.located is not None:
        wanted.append(sql.SQL("stop.latitude IS NOT NULL" if asked.located else "stop.latitude IS NULL"))
    if asked.box is not None:
        _add_box(asked.box, "box", wanted, parameters)
    if asked.circle is not None:
        _add_circle(asked.circle, wanted, parameters)
    if asked.far_from_force is not None:
        wanted.append(_is("is_far_from_force", asked.far_from_force))
    return wanted, parameters


def codes_of(name: str, values: tuple[str, ...]) -> tuple[list[int], bool]:
    """
    Give the codes of labels, or of all labels of broad groups, and whether nothing given will do as well.

    Asked for `NOT_GIVEN` by group, also a label that belongs to no group will do: "Not stated" says as little.
    """
    given = {None if value == NOT_GIVEN else value for value in values}
    if name in GROUPED_FIELDS:
        codes = [label.code for label in VOCABULARY[GROUPED_FIELDS[name]] if label.group in given]
    else:
        codes = [label.code for label in VOCABULARY[name] if label.text in given]
    return codes, None in given


def _has_label(name: str, values: tuple[str, ...], parameters: dict[str, Any]) -> sql.Composable:
    codes, or_nothing = codes_of(name, values)
    column = sql.Identifier("stop", f"{GROUPED_FIELDS.get(name, name)}_code")
    is_one = sql.SQL("{} = ANY({}::smallint[])").format(column, sql.Placeholder(name))
    is_nothing = sql.SQL("{} IS NULL").format(column)
    if not codes:
        return is_nothing if or_nothing else sql.SQL("false")
    parameters[name] = f"{{{','.join(map(str, codes))}}}"
    return sql.SQL("({} OR {})").format(is_one, is_nothing) if or_nothing else is_one


def _is(name: str, value: bool | None) -> sql.Composable:
    column = sql.Identifier("stop", name)
    if value is None:
        return sql.SQL("{} IS NULL").format(column)
    return column if value else sql.SQL("NOT {}").format(column)


def _add_box(box: Box, name: str, wanted: list[sql.Composable], parameters: dict[str, Any]) -> None:
    for column, low, high in (("latitude", box.south, box.north), ("longitude", box.west, box.east)):
        least, most = f"{name}_least_{column}", f"{name}_most_{column}"
        wanted.append(
            sql.SQL("stop.{} BETWEEN {}::float8 AND {}::float8").format(
                sql.Identifier(column), sql.Placeholder(least), sql.Placeholder(most)
            )
        )
        parameters |= {least: low, most: high}


def _add_circle(circle: Circle, wanted: list[sql.Composable], parameters: dict[str, Any]) -> None:
    _add_box(_around(circle), "circle", wanted, parameters)
    wanted.append(sql.SQL("{} <= %(radius)s::float8").format(_DISTANCE))
    parameters |= {
        "earth_radius": EARTH_RADIUS_M,
        "near_latitude": circle.latitude,
        "near_longitude": circle.longitude,
        "radius": circle.radius_m,
    }


def _around(circle: Circle) -> Box:
    """
    Give a box that holds a circle: all longitudes where it holds a pole or crosses the 180th meridian.
    """
    angle = min(circle.radius_m / EARTH_RADIUS_M, pi)
    south, north = circle.latitude - degrees(angle), circle.latitude + degrees(angle)
    west, east = -180.0, 180.0
    if south > -90 and north < 90:
        reach = degrees(asin(sin(angle) / cos(radians(circle.latitude))))
        if circle.longitude - reach >= -180 and circle.longitude + reach <= 180:
            west, east = circle.longitude - reach, circle.longitude + reach
    return Box(west=west - _SLACK, south=south - _SLACK, east=east + _SLACK, north=north + _SLACK)
