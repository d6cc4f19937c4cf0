"""
The parts of an answer by place: located stops in an area, and stops with no location.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from stopsearch.standin.encoded import Encoded

_MILE_M = 1609.344
_DEGREE_M = 111_320.0


@dataclass(frozen=True, kw_only=True)
class Area:
    """
    A polygon of (latitude, longitude) corners, or, with a single corner, the mile around it.
    """

    corners: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Area:
        """
        Read `poly=lat,lng:lat,lng:…`, or `lat` and `lng`.

        Raises:
            ValueError: A number is missing or is none, or the polygon has fewer than three corners.
        """
        if "poly" not in query:
            return cls(corners=((float(query.get("lat", "")), float(query.get("lng", ""))),))
        corners = []
        for pair in query["poly"].split(":"):
            latitude, longitude = pair.split(",")
            corners.append((float(latitude), float(longitude)))
        if len(corners) < 3:
            raise ValueError("A polygon has at least three corners.")
        return cls(corners=tuple(corners))

    def holds(self, latitude: float, longitude: float) -> bool:
        """
        Tell whether a point lies in the area.
        """
        if len(self.corners) == 1:
            north = (latitude - self.corners[0][0]) * _DEGREE_M
            east = (longitude - self.corners[0][1]) * _DEGREE_M * math.cos(math.radians(latitude))
            return math.hypot(north, east) <= _MILE_M
        inside = False
        previous = self.corners[-1]
        for corner in self.corners:
            if (corner[0] > latitude) != (previous[0] > latitude):
                slope = (previous[1] - corner[1]) / (previous[0] - corner[0])
                inside ^= longitude < corner[1] + (latitude - corner[0]) * slope
            previous = corner
        return inside


def located_in(area: Area, answers: Iterable[Encoded]) -> Encoded:
    """
    Gather the located records of several answers that lie in an area.
    """
    found = []
    for answer in answers:
        for record in msgspec.json.decode(answer.plain):
            place = record.get("location")
            if place and area.holds(float(place["latitude"]), float(place["longitude"])):
                found.append(record)
    return Encoded.of(msgspec.json.encode(found))


def without_location(answer: Encoded) -> Encoded:
    """
    Keep the records of an answer whose location is null, in their order.
    """
    records = msgspec.json.decode(answer.plain)
    return Encoded.of(msgspec.json.encode([record for record in records if record.get("location") is None]))
