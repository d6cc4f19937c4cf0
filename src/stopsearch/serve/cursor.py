"""
Cursors: where a page ends, as an opaque word that only a server of this database can have made.

A cursor pins the snapshot of its walk and belongs to its query. Its bytes are: the version of this layout, the sort
order, the snapshot's id, the digest of the query, the last stop's time (microseconds since 1970, signed) and id, then
the signature of all of these; written in base64 for addresses, without padding.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from uuid import UUID

from stopsearch.domain.errors import BadCursor
from stopsearch.store.stop_query import Position

_VERSION = 1
_LAYOUT = struct.Struct(">BB32s16sq16s")
_SIGNATURE_BYTES = 16
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SHOWN = 40


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """
    Where a walk goes on: of which snapshot, in which order, after which stop.
    """

    snapshot: str  # the whole id
    is_descending: bool
    last: Position


def write_cursor(cursor: Cursor, query: str, key: bytes) -> str:
    """
    Give a cursor as the word that stands in an address.

    Args:
        query: The canonical query that it belongs to.
        key: What it is signed with.
    """
    content = _LAYOUT.pack(
        _VERSION,
        cursor.is_descending,
        bytes.fromhex(cursor.snapshot),
        _digest(query),
        (cursor.last.at - _EPOCH) // _MICROSECOND,
        cursor.last.id.bytes,
    )
    return base64.urlsafe_b64encode(content + _sign(content, key)).rstrip(b"=").decode()


def read_cursor(word: str, query: str, key: bytes, *, is_descending: bool) -> Cursor:
    """
    Read a cursor that was given out for a query.

    Raises:
        BadCursor: It is none, was changed, or was given out for another query.
    """
    try:
        # Decoding takes + and / for - and _, and padding; a word has one spelling only, so that is looked at below.
        found = base64.b64decode(word.encode("ascii") + b"=" * (-len(word) % 4), altchars=b"-_", validate=True)
        is_whole = len(found) == _LAYOUT.size + _SIGNATURE_BYTES
    except (ValueError, binascii.Error):
        is_whole = False
    if not is_whole or base64.urlsafe_b64encode(found).rstrip(b"=").decode() != word:
        raise _bad(word, "it is no cursor that this server gives out")
    content, signature = found[: _LAYOUT.size], found[_LAYOUT.size :]
    if not hmac.compare_digest(signature, _sign(content, key)):
        raise _bad(word, "it was changed, or comes from another server")
    version, descending, snapshot, digest, at, stop_id = _LAYOUT.unpack(content)
    if version != _VERSION:
        raise _bad(word, "it comes from another version of this server")
    if digest != _digest(query) or bool(descending) != is_descending:
        raise _bad(word, "it was given out for another query: filters, limit, fields and sort must stay")
    return Cursor(
        snapshot=snapshot.hex(),
        is_descending=bool(descending),
        last=Position(at=_EPOCH + at * _MICROSECOND, id=UUID(bytes=stop_id)),
    )


@lru_cache(1024)
def _digest(query: str) -> bytes:
    return hashlib.sha256(query.encode()).digest()[:16]


def _sign(content: bytes, key: bytes) -> bytes:
    return hmac.digest(key, content, "sha256")[:_SIGNATURE_BYTES]


def _bad(word: str, reason: str) -> BadCursor:
    shown = word if len(word) <= _SHOWN else f"{word[:_SHOWN]}…"
    return BadCursor(
        f"This cursor can't be used: {reason}.",
        remedy="Follow `next` of the page before as it is, or leave cursor= out to start again.",
        faults=(("cursor", shown, reason),),
    )
