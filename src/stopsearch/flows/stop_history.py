"""
Find one stop by its id, with its history as one snapshot knows it: which revisions served it, and which record it was.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import Connection

from stopsearch.domain.errors import UnknownStop
from stopsearch.store.as_of import ServedRevision
from stopsearch.store.snapshots import Snapshot
from stopsearch.store.stop_intervals import StopInterval, Street, find_intervals
from stopsearch.store.stop_words import StopWords


@dataclass(frozen=True, kw_only=True)
class StopHistory:
    """
    One stop, and every interval in which it was served, up to what a snapshot serves.
    """

    stop: dict[str, Any]  # as a page of stops has it: as it is served, or else as it was last
    revision: ServedRevision  # what the snapshot serves of its force-month
    is_served: bool  # by the snapshot
    intervals: tuple[StopInterval, ...]
    differences: tuple[dict[str, Any], ...]  # of each interval: the values in which it differs from `stop`
    street: Street | None  # enrichment, outside the snapshot: it may become known later

    def as_json(self) -> dict[str, Any]:
        """
        Give it as answers carry it.
        """
        return {
            "stop": self.stop,
            "is_served": self.is_served,
            "force_month": {
                "force": self.revision.force,
                "month": str(self.revision.month),
                "revision": self.revision.number,
                "is_restated": self.revision.is_restated,
                "is_doubled": self.revision.is_doubled,
                "is_date_only": self.revision.is_date_only,
            },
            "history": [
                self._interval(interval, differing)
                for interval, differing in zip(self.intervals, self.differences, strict=True)
            ],
            "street": {"id": self.street.id, "name": self.street.name, "is_outside_snapshot": True}
            if self.street
            else None,
        }

    def _interval(self, interval: StopInterval, differing: dict[str, Any]) -> dict[str, Any]:
        is_over = _is_over(interval, self.revision)
        return {
            "first_revision": interval.first_revision,
            "served_from": interval.served_from.isoformat(),
            "cause": interval.cause,
            "withdrawn_revision": interval.withdrawn_revision if is_over else None,
            "served_until": interval.served_until.isoformat() if is_over and interval.served_until else None,
            "withdrawn_cause": interval.withdrawn_cause if is_over else None,
            "is_served": not is_over,
            "record_number": interval.record_number,
            "differs": differing,
        }


def find_stop(connection: Connection, snapshot: Snapshot, stop_id: UUID) -> StopHistory:
    """
    Find a stop that a snapshot serves, or that a revision before served.

    What came after the snapshot is not told: a stop that is withdrawn only later is served in it still.

    Raises:
        UnknownStop: No stop has this id, or it was first served after the snapshot.
    """
    found = find_intervals(connection, stop_id)
    revision = _revision_of(snapshot, found)
    known = [each for each in found if revision is not None and each.first_revision <= revision.number]
    if revision is None or not known:
        raise _unknown(stop_id, found)
    words = StopWords(snapshot)
    versions = [json.loads(text) for text in words.json_rows([each.row for each in known])]
    stop = versions[-1]
    return StopHistory(
        stop=stop,
        revision=revision,
        is_served=not _is_over(known[-1], revision),
        intervals=tuple(known),
        differences=tuple(
            {name: value for name, value in version.items() if value != stop[name]} for version in versions
        ),
        street=known[-1].street,
    )


def _unknown(stop_id: UUID, found: list[StopInterval]) -> UnknownStop:
    if not found:
        return UnknownStop(f"No stop has the id {stop_id}.", remedy="Ids are those that /v1/stops gives.")
    # Also where what is served now was served before: its snapshot came first, and knows nothing of the time between.
    instant = found[0].served_from.isoformat()
    return UnknownStop(
        f"The snapshot that was asked for knows no stop with the id {stop_id}: it was first served at {instant}.",
        remedy=f"Ask with as_of={instant.removesuffix('+00:00')}Z.",
    )


def _revision_of(snapshot: Snapshot, found: list[StopInterval]) -> ServedRevision | None:
    places = {(each.force_code, each.month) for each in found}
    return next((each for each in snapshot.revisions if (each.force_code, each.month) in places), None)


def _is_over(interval: StopInterval, revision: ServedRevision) -> bool:
    return interval.withdrawn_revision is not None and interval.withdrawn_revision <= revision.number
