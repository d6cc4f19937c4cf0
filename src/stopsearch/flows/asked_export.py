"""
What an export is asked to hold and how it is written: the snapshot, the filter, the format and the columns.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from stopsearch.clean.identity import id_prefix
from stopsearch.domain.filters import NOT_GIVEN, RevisionState, StopFilter
from stopsearch.domain.months import Month
from stopsearch.flows.covered import held_revisions
from stopsearch.store.as_of import ServedRevision, id_range
from stopsearch.store.export_rows import COLUMNS, REVISION_COLUMNS, STREET_COLUMNS, MonthRows, chunks_of
from stopsearch.store.snapshots import SHORTEST_ID, Snapshot


class ExportFormat(StrEnum):
    """
    How an export is written; the value is the ending of its file, too.
    """

    CSV = "csv"
    NDJSON = "ndjson"
    GEOJSON = "geojson"
    PARQUET = "parquet"

    @property
    def media_type(self) -> str:
        """
        Give what it is called over HTTP.
        """
        return _MEDIA_TYPES[self]


_MEDIA_TYPES = {
    ExportFormat.CSV: "text/csv; charset=utf-8",
    ExportFormat.NDJSON: "application/x-ndjson",
    ExportFormat.GEOJSON: "application/geo+json",
    ExportFormat.PARQUET: "application/vnd.apache.parquet",
}


@dataclass(frozen=True, kw_only=True)
class AskedExport:
    """
    One export. Equal ones have equal bytes, Parquet where the same version of Polars writes it.
    """

    snapshot: Snapshot
    format: ExportFormat
    filter: StopFilter = field(default_factory=StopFilter)
    with_street: bool = False
    with_revision: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """
        Give the names of its columns, in their order.
        """
        return COLUMNS + (REVISION_COLUMNS if self.with_revision else ()) + (STREET_COLUMNS if self.with_street else ())

    @property
    def file_name(self) -> str:
        """
        Give what its file is called: by the first digits of the snapshot.
        """
        return f"stops-{self.snapshot.id[:SHORTEST_ID]}.{self.format}"

    @cached_property
    def query(self) -> str:
        """
        Give what is asked of the stops, in one spelling; empty: everything.
        """
        return query_of(self.filter)

    @cached_property
    def revisions(self) -> tuple[ServedRevision, ...]:
        """
        Give the revisions whose stops are looked through, by force and month.
        """
        return tuple(
            revision
            for revision in held_revisions(self.snapshot, self.filter)
            if self.filter.date_only in (None, revision.is_date_only)
            and self.filter.doubled in (None, revision.is_doubled)
        )

    @cached_property
    def chunks(self) -> tuple[tuple[MonthRows, ...], ...]:
        """
        Give what is read at once, in the order of the export.
        """
        months = []
        for revision in self.revisions:
            low, high = id_range(id_prefix(revision.force, revision.month))
            months.append(MonthRows(revision=revision, low=low, high=high))
        return tuple(map(tuple, chunks_of(months)))


def query_of(asked: StopFilter) -> str:
    """
    Write a filter as the query of an address, in one spelling: equal filters have equal ones. Empty: everything.
    """
    parts: list[tuple[str, str]] = [
        *(("force", force) for force in sorted(set(asked.forces))),
        *_given("from", asked.first),
        *_given("to", asked.last),
        *_given("datetime_from", asked.datetime_from),
        *_given("datetime_before", asked.datetime_before),
        *((name, label) for name, labels in asked.labels.items() for label in sorted(set(labels))),
        *((name, _written(value)) for name, value in asked.flags.items()),
        *_given("operation_name", asked.operation_name),
        *_given("located", asked.located),
        *_given("date_only", asked.date_only),
        *_given("doubled", asked.doubled),
        *_given("far_from_force", asked.far_from_force),
    ]
    if asked.box is not None:
        box = asked.box
        parts.append(("bbox", ",".join(map(_written, (box.west, box.south, box.east, box.north)))))
    if asked.circle is not None:
        circle = asked.circle
        parts.append(("near", f"{_written(circle.latitude)},{_written(circle.longitude)}"))
        parts.append(("radius_m", _written(circle.radius_m)))
    if asked.revision_state is not RevisionState.SERVED:
        parts.append(("revision_state", asked.revision_state))
    return urlencode(sorted(parts))


def _given(name: str, value: Month | datetime | bool | str | None) -> list[tuple[str, str]]:
    return [] if value is None else [(name, _written(value))]


def _written(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float):
        return f"{value:.12f}".rstrip("0").rstrip(".")
    if value is None or isinstance(value, bool):
        return NOT_GIVEN if value is None else str(value).lower()
    return str(value)
