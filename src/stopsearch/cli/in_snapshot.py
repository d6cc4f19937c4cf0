"""
The snapshot that a command is asked of: of now, of an instant, or by its id.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from stopsearch.cli.opening import opened
from stopsearch.cli.terminal import note
from stopsearch.domain.errors import UnknownSnapshot
from stopsearch.domain.instants import read_instant
from stopsearch.settings import Settings

if TYPE_CHECKING:
    from psycopg import Connection

    from stopsearch.store.snapshots import Snapshot

_ID = re.compile(r"[0-9a-f]{12,64}", re.ASCII)


@contextmanager
def opened_snapshot(
    settings: Settings, *, as_of: str | None, snapshot: str | None
) -> Iterator[tuple[Connection, Snapshot]]:
    """
    Give a connection, and the snapshot that was asked for; its id is told on standard error.

    Raises:
        RequestError: The instant can't be meant, no snapshot has the id, or both were given.
    """
    instant = read_instant(as_of, name="--as-of", now=datetime.now(UTC)) if as_of is not None else None
    if snapshot is not None:
        check_id(snapshot)
    from stopsearch.flows.asked_snapshot import asked_snapshot

    with opened(settings) as database, database.connect(autocommit=True) as connection:
        found = asked_snapshot(connection, as_of=instant, snapshot=snapshot)
        yield connection, found
        note(f"snapshot {found.id}")


def check_id(snapshot: str) -> None:
    """
    Make sure that a text has the form of a snapshot's id.

    Raises:
        UnknownSnapshot: It has not.
    """
    if not _ID.fullmatch(snapshot):
        raise UnknownSnapshot(
            f"'{snapshot[:80]}' is no snapshot's id.",
            remedy="An id is 64 hexadecimal digits, of which 12 are enough: 'stopsearch snapshots' lists them.",
        )
