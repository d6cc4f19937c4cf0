"""
The parameter `since`: a snapshot that was given out, or an instant.
"""

from __future__ import annotations

import re
from datetime import datetime

from starlette.requests import Request

from stopsearch.domain.instants import read_local
from stopsearch.serve.parameters import Asked, Parameter
from stopsearch.store.snapshots import Snapshot

_ID = re.compile(r"[0-9a-f]{12,64}", re.ASCII)


def _snapshot(value: str) -> str:
    if not _ID.fullmatch(value):
        raise ValueError("it must be a snapshot's id: 64 hexadecimal digits, or the first 12 at least")
    return value


def _snapshot_or_instant(value: str) -> str | datetime:
    return value if _ID.fullmatch(value) else read_local(value, name="since")


SINCE_SNAPSHOT = Parameter(
    name="since",
    read=_snapshot,
    schema={"type": "string", "pattern": "^[0-9a-f]{12,64}$"},
    description="The snapshot that you hold: its id, or the first 12 digits of it at least. Required.",
)
SINCE = Parameter(
    name="since",
    read=_snapshot_or_instant,
    schema={"type": "string"},
    description="Only revisions that came after it: a snapshot's id, or an instant with its zone (strictly after); a "
    "date stands for the midnight that begins it in Europe/London.",
)


async def asked_since(request: Request, asked: Asked) -> Snapshot | datetime | None:
    """
    Give the snapshot or the instant that `since` asks for; None: it was not given.

    Raises:
        UnknownSnapshot: No snapshot has this id.
    """
    since: str | datetime | None = asked.get("since")
    if isinstance(since, str):
        found: Snapshot = await request.app.state.reading.by_id(since)
        return found
    return since
