"""
Find the snapshot that a question is asked of: what is served now, what was at an instant, or one by its id.
"""

from __future__ import annotations

from datetime import datetime

from psycopg import Connection

from stopsearch.domain.errors import BadQuery
from stopsearch.store.snapshots import Snapshot, current_snapshot, find_snapshot, snapshot_at


def asked_snapshot(connection: Connection, *, as_of: datetime | None = None, snapshot: str | None = None) -> Snapshot:
    """
    Give the snapshot that is asked for, and keep it, so that it can be asked for again by its id.

    Args:
        connection: One that may write, in autocommit.
        as_of: An instant with its zone.
        snapshot: An id, or the first digits of one.

    Raises:
        BadQuery: Both were given.
        UnknownSnapshot: No snapshot has this id.
        RequestError: The instant lies in the future.
    """
    if as_of is not None and snapshot is not None:
        raise BadQuery("An instant and a snapshot can't both be asked for.", remedy="Leave one of the two out.")
    if snapshot is not None:
        return find_snapshot(connection, snapshot)
    if as_of is not None:
        return snapshot_at(connection, as_of)
    return current_snapshot(connection)[0]
