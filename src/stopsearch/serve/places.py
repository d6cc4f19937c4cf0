"""
Where a page of a list goes on: a signed place, which belongs to its question and to its snapshot.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from hashlib import sha256
from typing import Any

from starlette.requests import Request

from stopsearch.domain.errors import BadCursor
from stopsearch.serve.parameters import Asked
from stopsearch.store.snapshots import Snapshot

_SIGNATURE_BYTES = 16


def next_page(request: Request, asked: Asked, snapshot: Snapshot | None, *place: str | int) -> dict[str, str]:
    """
    Give the query by which the next page is asked for, beside the canonical one.

    Args:
        snapshot: What the list is of; the next page is of the same. None: of a list that changes.
        place: The place after which the page begins, in parts.
    """
    pinned = {"snapshot": snapshot.id} if snapshot is not None else {}
    payload = json.dumps(place, separators=(",", ":")).encode()
    signed = _signature(request, asked, snapshot, payload) + payload
    return {"cursor": base64.urlsafe_b64encode(signed).rstrip(b"=").decode(), **pinned}


def place_asked(request: Request, asked: Asked, snapshot: Snapshot | None) -> tuple[Any, ...] | None:
    """
    Give the place after which the page that is asked for begins, as `next_page` was given it; None: the first page.

    Raises:
        BadCursor: It was not given out by this server for this question and snapshot.
    """
    cursor = asked.get("cursor")
    if cursor is None:
        return None
    try:
        signed = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        # A word has one spelling only: other letters in its last place, which decode to the same, are refused as well.
        is_ours = base64.urlsafe_b64encode(signed).rstrip(b"=").decode() == cursor
    except (ValueError, binascii.Error):
        signed, is_ours = b"", False
    signature, payload = signed[:_SIGNATURE_BYTES], signed[_SIGNATURE_BYTES:]
    if not (is_ours and payload) or not hmac.compare_digest(signature, _signature(request, asked, snapshot, payload)):
        reason = "it was not given out for this question and this snapshot, or was changed since"
        raise BadCursor(
            f"The cursor can't be used: {reason}.",
            remedy="Follow 'next' of a page as it is, or leave the cursor out to begin again.",
            faults=(("cursor", cursor[:40], reason),),
        )
    return tuple(json.loads(payload))


def _signature(request: Request, asked: Asked, snapshot: Snapshot | None, payload: bytes) -> bytes:
    key: bytes = request.app.state.cursor_key
    bound_to = snapshot.id if snapshot is not None else "now"
    said = b"\n".join((b"place", asked.path.encode(), asked.canonical.encode(), bound_to.encode(), payload))
    return hmac.digest(key, said, sha256)[:_SIGNATURE_BYTES]
