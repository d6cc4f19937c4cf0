"""
One snapshot told whole: what it serves, of which forces, and what its id is made of.
"""

from __future__ import annotations

from typing import Any

from stopsearch.flows.forces import force_summaries
from stopsearch.store.snapshots import KeptSnapshot, Snapshot

# How anybody can make the id again.
ID_IS = (
    "The SHA-256, in hexadecimal, of ASCII text: the line 'stopsearch snapshot 1', then one line a served revision, "
    "'<force> <YYYY-MM> <content digest in hexadecimal> <rules version>', sorted as bytes; each line ends in a line "
    "feed. A revision that names records as dismissed has a space and their digest at the end of its line. The same "
    "content under the same rules has the same id on any machine."
)


def snapshot_summary(snapshot: Snapshot, *, with_revisions: bool = False) -> dict[str, Any]:
    """
    Give one snapshot as answers carry it. Pure: it is the same for ever.

    Args:
        with_revisions: Add what its id is made of, a revision at a time, by force and month.
    """
    told: dict[str, Any] = {
        "id": snapshot.id,
        "served_from": snapshot.served_from.isoformat(),
        "stops": snapshot.stops,
        "force_months": len(snapshot.revisions),
        "doubtful": len(snapshot.doubtful),
        "first_month": str(snapshot.months[0]) if snapshot.months else None,
        "last_month": str(snapshot.months[1]) if snapshot.months else None,
        "listed_at": snapshot.listed_at.isoformat() if snapshot.listed_at else None,
        "forces": [
            {
                "id": force.id,
                "first_held": str(force.first_held) if force.first_held else None,
                "last_held": str(force.last_held) if force.last_held else None,
                "held": force.held,
                "missing": force.missing,
                "stops": force.stops,
            }
            for force in force_summaries(snapshot)
        ],
        "id_is": ID_IS,
    }
    if with_revisions:
        told["revisions"] = [
            {
                "force": revision.force,
                "month": str(revision.month),
                "revision": revision.number,
                "content_digest": revision.content_digest.hex(),
                "rules_version": revision.rules_version,
                "stored": revision.stored,
                **({"dismissed": revision.dismissed} if revision.dismissed else {}),
            }
            for revision in snapshot.revisions
        ]
    return told


def kept_json(kept: KeptSnapshot, *, current_id: str) -> dict[str, Any]:
    """
    Give one snapshot as the list of snapshots carries it. Which one is current changes.
    """
    return {
        "id": kept.id,
        "served_from": kept.served_from.isoformat(),
        "current": kept.id == current_id,
        "stops": kept.stops,
        "force_months": kept.force_months,
        "first_month": str(kept.first_month) if kept.first_month else None,
        "last_month": str(kept.last_month) if kept.last_month else None,
    }
