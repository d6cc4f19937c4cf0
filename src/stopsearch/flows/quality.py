"""
The quality of force-months, in parts: what was not given, what is odd, what the rules did, and how the volume compares.

There is no single score: what matters of it depends on the question, and a number would hide which.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from psycopg import Connection

from stopsearch.domain.filters import StopFilter
from stopsearch.domain.months import Month
from stopsearch.domain.states import MonthFlag
from stopsearch.domain.stops import FIELDS
from stopsearch.flows.covered import held_revisions
from stopsearch.flows.snapshot_coverage import flags_of
from stopsearch.store.as_of import ServedRevision
from stopsearch.store.quality import RevisionFigures, figures_of
from stopsearch.store.snapshots import Snapshot

_SHARE_DIGITS = 6
_RATIO_DIGITS = 4


@dataclass(frozen=True, kw_only=True)
class Part:
    """
    One part: how many records have it, of how many that could.
    """

    count: int
    of: int

    @property
    def share(self) -> float | None:
        """
        Give the share of those that could; None where none could.
        """
        return round(self.count / self.of, _SHARE_DIGITS) if self.of else None


@dataclass(frozen=True, kw_only=True)
class Volume:
    """
    How many stops a force-month has, against the median of the force's other held months in the same snapshot.

    A ratio far from 1 may be a change of policing or a part of the month that is lacking: it says where to look.
    """

    stops: int
    other_months: int
    median_of_others: float | None  # None where no other month is held
    ratio: float | None


@dataclass(frozen=True, kw_only=True)
class MonthQuality:
    """
    The parts of one force-month.
    """

    force: str
    month: Month
    revision: int
    flags: tuple[MonthFlag, ...]
    received: int
    stored: int
    rejected: Part  # of the records received
    rejected_by_rule: dict[str, int]  # a record counts under each rule that it broke
    mended_by_rule: dict[str, int]
    not_given: dict[str, Part]  # by field, of the stops
    at_local_midnight: Part  # of the stops: mostly dates without times
    repeats: Part  # of the records received: alike in every field to an earlier one
    dated_outside_month: Part  # of the stops
    far_from_force: Part  # of the stops that give a place
    unknown_keys: dict[str, int]  # keys of the publisher's that we don't know, counted
    volume: Volume

    def as_json(self) -> dict[str, Any]:
        """
        Give it as answers carry it: a part as count, of and share.
        """
        return {
            "force": self.force,
            "month": str(self.month),
            "revision": self.revision,
            "flags": [str(flag) for flag in self.flags],
            "received": self.received,
            "stored": self.stored,
            "rejected": _part(self.rejected),
            "rejected_by_rule": dict(sorted(self.rejected_by_rule.items())),
            "mended_by_rule": dict(sorted(self.mended_by_rule.items())),
            "not_given": {name: _part(part) for name, part in self.not_given.items()},
            "at_local_midnight": _part(self.at_local_midnight),
            "repeats": _part(self.repeats),
            "dated_outside_month": _part(self.dated_outside_month),
            "far_from_force": _part(self.far_from_force),
            "unknown_keys": dict(sorted(self.unknown_keys.items())),
            "volume": {
                "stops": self.volume.stops,
                "other_months": self.volume.other_months,
                "median_of_others": self.volume.median_of_others,
                "ratio": self.volume.ratio,
            },
        }


def month_quality(
    connection: Connection,
    snapshot: Snapshot,
    asked: StopFilter,
    *,
    after: tuple[str, Month] | None = None,
    limit: int | None = None,
) -> list[MonthQuality]:
    """
    Give the parts of the force-months that a snapshot holds, by force and month.

    Args:
        asked: Which forces and months; nothing else of it counts.
        after: Only those after this force-month.
        limit: At most so many.
    """
    wanted = [
        revision
        for revision in held_revisions(snapshot, asked)
        if after is None or (revision.force, revision.month) > after
    ][:limit]
    stops_by_force: dict[str, list[ServedRevision]] = defaultdict(list)
    for revision in snapshot.revisions:
        stops_by_force[revision.force].append(revision)
    return [
        _parts(snapshot, revision, figures, stops_by_force[revision.force])
        for revision, figures in zip(wanted, figures_of(connection, wanted), strict=True)
    ]


def _parts(
    snapshot: Snapshot, revision: ServedRevision, figures: RevisionFigures, of_force: Sequence[ServedRevision]
) -> MonthQuality:
    told = figures.quality
    not_given = told.get("not_given", {})
    stops = revision.stored
    return MonthQuality(
        force=revision.force,
        month=revision.month,
        revision=revision.number,
        flags=flags_of(snapshot, revision),
        received=revision.received,
        stored=stops,
        rejected=Part(count=revision.rejected, of=revision.received),
        rejected_by_rule=figures.rejected_by_rule,
        mended_by_rule=figures.mended,
        not_given={name: Part(count=not_given.get(name, 0), of=stops) for name in FIELDS},
        at_local_midnight=Part(count=told.get("at_local_midnight", 0), of=stops),
        repeats=Part(count=told.get("repeats", 0), of=revision.received),
        dated_outside_month=Part(count=told.get("dated_outside_month", 0), of=stops),
        far_from_force=Part(count=told.get("far_from_force", 0), of=stops - not_given.get("latitude", 0)),
        unknown_keys=told.get("extra_keys", {}),
        volume=_volume(revision, of_force),
    )


def _volume(revision: ServedRevision, of_force: Sequence[ServedRevision]) -> Volume:
    others = [other.stored for other in of_force if other.month != revision.month]
    middle = float(median(others)) if others else None
    return Volume(
        stops=revision.stored,
        other_months=len(others),
        median_of_others=middle,
        ratio=round(revision.stored / middle, _RATIO_DIGITS) if middle else None,
    )


def _part(part: Part) -> dict[str, Any]:
    return {"count": part.count, "of": part.of, "share": part.share}
