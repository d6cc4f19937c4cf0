"""
Revisions as readers ask for them: what had arrived when a snapshot was served, and what has come since.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg import Connection

from stopsearch.domain.filters import StopFilter
from stopsearch.domain.months import Month
from stopsearch.domain.states import Cause, MonthFlag, Standing
from stopsearch.store.arrivals import Arrival, arrived_revisions
from stopsearch.store.history import RevisionEntry
from stopsearch.store.snapshots import Snapshot


@dataclass(frozen=True, kw_only=True)
class Arrivals:
    """
    One page of revisions, in the order of their arrival.
    """

    entries: list[RevisionEntry] = field(repr=False)
    next: Arrival | None


def list_arrivals(
    connection: Connection,
    snapshot: Snapshot | None,
    asked: StopFilter,
    *,
    since: datetime | Snapshot | None = None,
    causes: Sequence[Cause] = (),
    standings: Sequence[Standing] = (),
    only_changes: bool = False,
    newest_first: bool = True,
    after: Arrival | None = None,
    limit: int,
) -> Arrivals:
    """
    Give one page of the revisions that had arrived when a snapshot was served.

    A historic edition, which was never served, is among them once a later revision of its force-month is served:
    only then is it sure for ever that it came before.

    Args:
        snapshot: None: all that there are by now.
        asked: Which forces and months; nothing else of it counts.
        since: Only those that arrived after this instant; or those that this snapshot does not know of.
    """
    found = arrived_revisions(
        connection,
        up_to=snapshot.revisions if snapshot is not None else None,
        since=since if isinstance(since, datetime) else None,
        beyond=since.revisions if isinstance(since, Snapshot) else (),
        forces=asked.forces,
        first=asked.first,
        last=asked.last,
        causes=causes,
        standings=standings,
        only_changes=only_changes,
        newest_first=newest_first,
        after=after,
        limit=limit + 1,
    )
    page = found[:limit]
    return Arrivals(entries=page, next=Arrival.of(page[-1]) if len(found) > limit else None)


def served_number(snapshot: Snapshot) -> dict[tuple[str, Month], int]:
    """
    Give the number of the revision that a snapshot serves, by force and month.
    """
    return {(revision.force, revision.month): revision.number for revision in snapshot.revisions}


def arrival_json(entry: RevisionEntry, *, is_served: bool) -> dict[str, Any]:
    """
    Give one revision as answers carry it: what never changes of it.

    Args:
        is_served: Whether the snapshot serves it: its end is no part of what that snapshot knows.
    """
    return {
        "force": entry.force,
        "month": str(entry.month),
        "revision": entry.number,
        "cause": str(entry.cause),
        "standing": str(entry.standing),
        "is_served": is_served,
        "served_from": _instant(entry.served_from),
        "served_until": None if is_served else _instant(entry.served_until),
        "source": str(entry.source),
        "origin": entry.origin,
        "published_at": entry.published_at.isoformat(),
        "fetched_at": entry.fetched_at.isoformat(),
        "received": entry.received,
        "stored": entry.stored,
        "rejected": entry.rejected,
        "added": entry.added,
        "withdrawn": entry.withdrawn,
        "flags": [
            str(flag)
            for flag, is_set in (
                (MonthFlag.RESTATED, entry.is_restated),
                (MonthFlag.DOUBLED, entry.is_doubled),
                (MonthFlag.DATE_ONLY, entry.is_date_only),
            )
            if is_set
        ],
        "mended_by_rule": dict(sorted(entry.mended.items())),
        "rejected_by_rule": dict(sorted(entry.rejected_by_rule.items())),
        "content_digest": entry.content_digest,
        "body_digest": entry.body_digest,
        "identity_version": entry.identity_version,
        "rules_version": entry.rules_version,
    }


def _instant(at: datetime | None) -> str | None:
    return at.isoformat() if at is not None else None
