"""
The editions that the database has kept: which body each revision rests on.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection

from stopsearch.domain.errors import UnknownRevision
from stopsearch.domain.months import Month
from stopsearch.domain.published import PublishedMonth
from stopsearch.domain.states import Source, Standing
from stopsearch.store.bodies import read_body
from stopsearch.store.edition import KeptBody


@dataclass(frozen=True, kw_only=True)
class KeptEdition:
    """
    One revision of a force-month, as far as it can be made again from its body.
    """

    force: str
    month: Month
    number: int
    standing: Standing
    source: Source
    origin: str
    body_digest: bytes
    content_digest: bytes
    fetched_at: datetime
    published_at: datetime
    is_restated: bool
    is_current: bool
    rules_version: int
    mended: dict[str, int]
    rejected_by_rule: dict[str, int]
    quality: dict[str, Any]
    is_doubled: bool
    is_date_only: bool
    batch_id: int | None  # the batch that made it


_EDITIONS = """
    SELECT force.id, revision.month, revision.number, revision.standing, revision.source, revision.origin,
        revision.body_digest, revision.content_digest, revision.fetched_at, revision.published_at,
        revision.is_restated, revision.standing = 'served' AND revision.served_until IS NULL, revision.rules_version,
        revision.mended, revision.rejected_by_rule, revision.quality, revision.is_doubled, revision.is_date_only,
        run.batch_id
    FROM revision
    JOIN force ON force.code = revision.force_code
    LEFT JOIN ingest_run AS run ON run.id = revision.run_id
"""


def editions_of(connection: Connection, force: str, month: Month) -> list[KeptEdition]:
    """
    Give every revision of a force-month, by number.

    Raises:
        UnknownRevision: The force-month has none.
    """
    rows = connection.execute(
        _EDITIONS + "WHERE force.id = %s AND revision.month = %s ORDER BY revision.number", [force, month.first_day]
    ).fetchall()
    if not rows:
        raise UnknownRevision(
            f"Nothing is held of {force} {month}.", remedy="'stopsearch coverage' shows what is held."
        )
    return [_edition(row) for row in rows]


def current_editions(connection: Connection) -> list[KeptEdition]:
    """
    Give the current revision of every held force-month, by force and month.
    """
    rows = connection.execute(
        _EDITIONS
        + "WHERE revision.standing = 'served' AND revision.served_until IS NULL ORDER BY force.id, revision.month"
    )
    return [_edition(row) for row in rows]


def made_by_batch(connection: Connection, batch_id: int) -> list[KeptEdition]:
    """
    Give the current revisions that one batch made, by force and month.
    """
    rows = connection.execute(
        _EDITIONS
        + """
        WHERE revision.standing = 'served' AND revision.served_until IS NULL AND run.batch_id = %s
        ORDER BY force.id, revision.month
        """,
        [batch_id],
    )
    return [_edition(row) for row in rows]


def read_edition(connection: Connection, edition: KeptEdition) -> tuple[PublishedMonth, KeptBody]:
    """
    Give what the publisher sent for an edition, as it came.

    Raises:
        BodyGone: Its body has been pruned.
    """
    body, kept = read_body(connection, edition.body_digest)
    published = PublishedMonth(
        force=edition.force,
        month=edition.month,
        shape=kept.shape,
        source=edition.source,
        origin=edition.origin,
        body=body,
        fetched_at=edition.fetched_at,
        published_at=edition.published_at,
    )
    return published, kept


def _edition(row: tuple[Any, ...]) -> KeptEdition:
    return KeptEdition(
        force=row[0],
        month=Month.of(row[1]),
        number=row[2],
        standing=Standing(row[3]),
        source=Source(row[4]),
        origin=row[5],
        body_digest=row[6],
        content_digest=row[7],
        fetched_at=row[8],
        published_at=row[9],
        is_restated=row[10],
        is_current=row[11],
        rules_version=row[12],
        mended=row[13],
        rejected_by_rule=row[14],
        quality=row[15],
        is_doubled=row[16],
        is_date_only=row[17],
        batch_id=row[18],
    )
