"""
What changed between two revisions of a force-month, as answers carry it: a summary by field, and the stops by the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import polars as pl
from psycopg import Connection

from stopsearch.domain.months import Month
from stopsearch.flows.compare_stops import FieldChange
from stopsearch.flows.revisions import Compared, compare_revisions
from stopsearch.flows.stop_values import stop_json
from stopsearch.store.changes import Change
from stopsearch.store.history import RevisionEntry


@dataclass(frozen=True, kw_only=True)
class DiffPage:
    """
    A summary of a diff, and one page of the stops that only one of the two revisions has, by id.
    """

    summary: dict[str, Any] = field(repr=False)
    stops: list[dict[str, Any]] = field(repr=False)  # {"change", "stop"}
    next: str | None  # the id after which the next page begins


def diff_page(
    connection: Connection,
    force: str,
    month: Month,
    number: int,
    *,
    against: int | None = None,
    after: str | None = None,
    limit: int,
) -> DiffPage:
    """
    Tell what changed from one revision of a force-month to another.

    Args:
        number: The revision that is looked at.
        against: The one that it is compared with; None: the one that was served before it.
        after: Only stops with a higher id.

    Raises:
        UnknownForce: Nobody knows the force.
        UnknownRevision: There is no such revision, or none before.
        BodyGone: A historic edition's body has been pruned.
    """
    found = compare_revisions(connection, force, month, against, number)
    stops = _differing(found, after, limit + 1)
    page = stops[:limit]
    return DiffPage(summary=_summary(found), stops=page, next=page[-1]["stop"]["id"] if len(stops) > limit else None)


def _summary(found: Compared) -> dict[str, Any]:
    diff, changes = found.diff, found.diff.changes
    return {
        "force": diff.force,
        "month": str(diff.month),
        "revision": diff.after.number,
        "against": diff.before.number,
        "added": changes.added,
        "withdrawn": changes.withdrawn,
        "kept": changes.kept,
        "changed_pairs": changes.changed,
        "changed_by_field": _fields(changes.by_field),
        "remade_by_field": _fields(changes.remade_by_field),
        "read_by_todays_rules": diff.read_by_todays_rules,
    }


def _fields(fields: Sequence[FieldChange]) -> list[dict[str, Any]]:
    return [
        {
            "field": each.field,
            "records": each.records,
            "values": [
                {"before": _plain(value.before), "after": _plain(value.after), "records": value.records}
                for value in each.values
            ],
        }
        for each in fields
    ]


def _differing(found: Compared, after: str | None, limit: int) -> list[dict[str, Any]]:
    entries = {Change.WITHDRAWN: found.diff.before, Change.ADDED: found.diff.after}
    frame = pl.concat(
        [
            stops.with_columns(change=pl.lit(change.value))
            for change, stops in ((Change.WITHDRAWN, found.withdrawn), (Change.ADDED, found.added))
        ]
    ).sort("id")
    if after is not None:
        frame = frame.filter(pl.col("id") > after)
    return [
        {"change": row["change"], "stop": _stop(row, entries[Change(row["change"])])}
        for row in frame.head(limit).iter_rows(named=True)
    ]


def _stop(values: dict[str, Any], entry: RevisionEntry) -> dict[str, Any]:
    return stop_json(
        values,
        force=entry.force,
        month=str(entry.month),
        is_month_doubled=entry.is_doubled,
        is_month_date_only=entry.is_date_only,
    )


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime | date) else value
