"""
What each served revision tells of the quality of its records: figures that never change once it is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from stopsearch.store.as_of import ServedRevision


@dataclass(frozen=True, kw_only=True)
class RevisionFigures:
    """
    The figures of one revision: what the rules mended and rejected, and what was measured of its stops.
    """

    mended: dict[str, int]
    rejected_by_rule: dict[str, int]
    quality: dict[str, Any]


def figures_of(connection: Connection, revisions: Sequence[ServedRevision]) -> list[RevisionFigures]:
    """
    Give the figures of each of some revisions, in their order.
    """
    if not revisions:
        return []
    rows = connection.execute(
        """
        SELECT revision.mended, revision.rejected_by_rule, revision.quality
        FROM unnest(%(codes)s::smallint[], %(months)s::date[], %(numbers)s::smallint[]) WITH ORDINALITY
            AS asked (force_code, month, number, place)
        JOIN revision ON revision.force_code = asked.force_code AND revision.month = asked.month
            AND revision.number = asked.number
        ORDER BY asked.place
        """,
        keys_of(revisions),
    ).fetchall()
    assert len(rows) == len(revisions)  # revisions are never deleted
    return [RevisionFigures(mended=row[0], rejected_by_rule=row[1], quality=row[2]) for row in rows]


def keys_of(revisions: Sequence[ServedRevision]) -> dict[str, Any]:
    """
    Give the keys of revisions as the arrays `codes`, `months` and `numbers`, for a statement to unnest.
    """
    return {
        "codes": [revision.force_code for revision in revisions],
        "months": [revision.month.first_day for revision in revisions],
        "numbers": [revision.number for revision in revisions],
    }
