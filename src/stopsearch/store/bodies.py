"""
What the publisher sent, kept as it came: compressed, by digest, so that nothing need be fetched twice.
"""

from __future__ import annotations

from datetime import datetime

import zstandard
from psycopg import Connection

from stopsearch.domain.errors import BodyGone
from stopsearch.domain.published import PublishedMonth
from stopsearch.domain.states import Shape
from stopsearch.store.edition import KeptBody

# Level 3 took 0.5 µs a record and made real answers 19 times smaller; level 6 took 2.1 µs for 24 times.
_LEVEL = 3


def compress(published: PublishedMonth) -> KeptBody:
    """
    Make a body ready to be kept.
    """
    return KeptBody(
        digest=published.body_digest,
        shape=published.shape,
        body_bytes=len(published.body),
        compressed=zstandard.ZstdCompressor(level=_LEVEL).compress(published.body),
    )


def keep_body(connection: Connection, body: KeptBody) -> None:
    """
    Keep a body; one that is kept already stays as it is, and is not sent again.
    """
    if connection.execute("SELECT FROM published_body WHERE digest = %s", [body.digest]).rowcount:
        return
    connection.execute(
        """
        INSERT INTO published_body (digest, shape, body_bytes, compressed) VALUES (%s, %s, %s, %s)
        ON CONFLICT (digest) DO NOTHING
        """,
        [body.digest, body.shape, body.body_bytes, body.compressed],
        binary=True,
    )


def read_body(connection: Connection, digest: bytes) -> tuple[bytes, KeptBody]:
    """
    Give a kept body back: its bytes as they came, and as it is kept.

    Raises:
        BodyGone: It has been pruned.
    """
    row = connection.execute(
        "SELECT shape, body_bytes, compressed FROM published_body WHERE digest = %s", [digest], binary=True
    ).fetchone()
    if row is None:
        raise BodyGone(
            f"The body {digest.hex()[:12]}… is no longer kept.",
            remedy="Bring the month in again from the publisher or an archive.",
        )
    shape, size, compressed = row
    body = zstandard.ZstdDecompressor().decompress(compressed, max_output_size=size)
    return body, KeptBody(digest=digest, shape=Shape(shape), body_bytes=size, compressed=compressed)


def prune_bodies(connection: Connection, *, kept_before: datetime) -> int:
    """
    Delete the bodies kept before an instant that no revision rests on.

    Returns:
        How many were deleted.
    """
    return connection.execute(
        """
        DELETE FROM published_body
        WHERE kept_at < %s
            AND NOT EXISTS (SELECT FROM revision WHERE revision.body_digest = published_body.digest)
        """,
        [kept_before],
    ).rowcount
