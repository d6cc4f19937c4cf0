"""
What may be asked of stops: one value for every door, said in the publisher's words.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum

from stopsearch.domain.months import Month

# In a list of labels or groups, and of a three-valued field: nothing was given.
NOT_GIVEN = "none"

EARTH_RADIUS_M = 6_371_008.8  # the mean radius, as the haversine formula wants it


class RevisionState(StrEnum):
    """
    Which rows of a snapshot's force-months are meant.
    """

    SERVED = "served"  # what the snapshot serves
    RESTATED = "restated"  # served, and brought by a later revision than the first of its force-month
    WITHDRAWN = "withdrawn"  # served by an earlier revision, and no more by the snapshot


@dataclass(frozen=True, kw_only=True)
class Box:
    """
    A box in degrees (WGS 84), its edges included.
    """

    west: float
    south: float
    east: float
    north: float


@dataclass(frozen=True, kw_only=True)
class Circle:
    """
    All points within a distance from a point, by the haversine formula on a sphere.
    """

    latitude: float
    longitude: float
    radius_m: float


@dataclass(frozen=True, kw_only=True)
class StopFilter:
    """
    Which stops are asked for. Every part that is given must hold; within one part, any of its values may.

    `labels` holds, by a label field's name or a group's name (`self_defined_ethnic_group`, ...), the labels or groups
    that will do; `NOT_GIVEN` among them is for stops without one. `flags` holds booleans: the three-valued fields of
    `BOOLEAN_FIELDS`, where None asks for stops without a value.
    """

    forces: tuple[str, ...] = ()
    first: Month | None = None
    last: Month | None = None
    datetime_from: datetime | None = None  # at or after
    datetime_before: datetime | None = None  # strictly before
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    flags: dict[str, bool | None] = field(default_factory=dict)
    operation_name: str | None = None
    located: bool | None = None
    box: Box | None = None
    circle: Circle | None = None
    date_only: bool | None = None  # of the whole force-month
    doubled: bool | None = None  # of the whole force-month
    far_from_force: bool | None = None
    revision_state: RevisionState = RevisionState.SERVED

    @property
    def is_of_months_only(self) -> bool:
        """
        Tell whether it asks for whole force-months only, so that revisions alone can count its stops.
        """
        return self._says_only(_OF_MONTHS)

    @property
    def needs_rows(self) -> bool:
        """
        Tell whether it asks for something that no rollup keeps.
        """
        return not self._says_only(_OF_MONTHS | {"labels"})

    def _says_only(self, names: frozenset[str]) -> bool:
        return all(
            getattr(self, each.name) == getattr(_EVERYTHING, each.name)
            for each in fields(self)
            if each.name not in names
        )


_OF_MONTHS = frozenset({"forces", "first", "last", "date_only", "doubled"})
_EVERYTHING = StopFilter()
