"""
Revisions in the order in which they arrived: up to a snapshot, since one, or all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from psycopg import Connection, sql

from stopsearch.domain.months import Month
from stopsearch.domain.states import Cause, Standing
from stopsearch.store.as_of import ServedRevision
from stopsearch.store.history import ENTRIES, RevisionEntry, entry_of
from stopsearch.store.quality import keys_of


@dataclass(frozen=True, kw_only=True, order=True)
class Arrival:
    """
    The place of a revision in the order of arrival: when it was first served, or, of a historic one, fetched.
    """

    at: datetime
    force: str
    month: Month
    number: int

    @classmethod
    def of(cls, entry: RevisionEntry) -> Arrival:
        """
        Give the place of a revision.
        """
        return cls(at=entry.served_from or entry.fetched_at, force=entry.force, month=entry.month, number=entry.number)


# Ids of forces are compared by their letters' codes, as Python does.
_PLACE: tuple[LiteralString, ...] = (
    "coalesce(revision.served_from, revision.fetched_at)",
    'force.id COLLATE "C"',
    "revision.month",
    "revision.number",
)
_ARRIVED = sql.SQL(
    """
    {entries}
    LEFT JOIN unnest(%(codes)s::smallint[], %(months)s::date[], %(numbers)s::smallint[])
        AS upper (force_code, month, number)
        ON upper.force_code = revision.force_code AND upper.month = revision.month
    LEFT JOIN unnest(%(lower_codes)s::smallint[], %(lower_months)s::date[], %(lower_numbers)s::smallint[])
        AS lower (force_code, month, number)
        ON lower.force_code = revision.force_code AND lower.month = revision.month
    WHERE (%(is_of_all)s OR revision.number <= upper.number)
        AND revision.number > coalesce(lower.number, 0)
        AND (%(since)s::timestamptz IS NULL OR coalesce(revision.served_from, revision.fetched_at) > %(since)s)
        AND (%(all_forces)s OR force.id = ANY(%(forces)s))
        AND (%(first)s::date IS NULL OR revision.month >= %(first)s)
        AND (%(last)s::date IS NULL OR revision.month <= %(last)s)
        AND (%(all_causes)s OR revision.cause = ANY(%(causes)s))
        AND (%(all_standings)s OR revision.standing = ANY(%(standings)s))
        AND (NOT %(only_changes)s OR revision.number > 1)
        AND (%(after_at)s::timestamptz IS NULL
            OR ({place}) {beyond} (%(after_at)s, %(after_force)s, %(after_month)s, %(after_number)s))
    ORDER BY {order}
    LIMIT %(limit)s
    """
)


def arrived_revisions(
    connection: Connection,
    *,
    up_to: Sequence[ServedRevision] | None,
    since: datetime | None = None,
    beyond: Sequence[ServedRevision] = (),
    forces: Sequence[str] = (),
    first: Month | None = None,
    last: Month | None = None,
    causes: Sequence[Cause] = (),
    standings: Sequence[Standing] = (),
    only_changes: bool = False,
    newest_first: bool = True,
    after: Arrival | None = None,
    limit: int,
) -> list[RevisionEntry]:
    """
    Give revisions in the order of their arrival.

    Args:
        up_to: The revisions that a snapshot serves: only those with no higher number than the one of their
            force-month. As numbers count arrivals, that set never changes. None: all that there are.
        since: Only those that arrived after this instant.
        beyond: The revisions that another snapshot serves: only those with a higher number.
        after: Only those that come after this place, in the order that was asked for.
    """
    statement = _ARRIVED.format(
        entries=sql.SQL(ENTRIES),
        place=sql.SQL(", ").join(map(sql.SQL, _PLACE)),
        beyond=sql.SQL("<" if newest_first else ">"),
        order=sql.SQL(", ").join(sql.SQL(part + (" DESC" if newest_first else "")) for part in _PLACE),
    )
    lower = keys_of(beyond)
    parameters: dict[str, Any] = {
        **keys_of(up_to or ()),
        "is_of_all": up_to is None,
        "lower_codes": lower["codes"],
        "lower_months": lower["months"],
        "lower_numbers": lower["numbers"],
        "since": since,
        "all_forces": not forces,
        "forces": list(forces),
        "first": first.first_day if first else None,
        "last": last.first_day if last else None,
        "all_causes": not causes,
        "causes": [str(cause) for cause in causes],
        "all_standings": not standings,
        "standings": [str(standing) for standing in standings],
        "only_changes": only_changes,
        "after_at": after.at if after else None,
        "after_force": after.force if after else None,
        "after_month": after.month.first_day if after else None,
        "after_number": after.number if after else None,
        "limit": limit,
    }
    return [entry_of(row) for row in connection.execute(statement, parameters)]
