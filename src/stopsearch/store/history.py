"""
The history of force-months: what every revision says of itself, and the stops that one of them served.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

import polars as pl
from psycopg import Connection, sql

from stopsearch.domain.errors import UnknownRevision
from stopsearch.domain.months import Month
from stopsearch.domain.states import Cause, Source, Standing
from stopsearch.domain.stops import BOOLEAN_FIELDS, FIELDS

# What a stop holds beside its id: the published fields, and what our rules derive.
STOP_VALUES: dict[str, pl.DataType] = {
    name: {
        "datetime": pl.Datetime("us", "UTC"),
        "latitude": pl.Float64(),
        "longitude": pl.Float64(),
        **{name: pl.Boolean() for name in BOOLEAN_FIELDS},
    }.get(name, pl.String())
    for name in FIELDS
} | {"local_date": pl.Date(), "is_far_from_force": pl.Boolean()}


@dataclass(frozen=True, kw_only=True)
class RevisionEntry:
    """
    One revision of one force-month, as the ledger has it. The digests are in hexadecimal.
    """

    force: str
    month: Month
    number: int
    cause: Cause
    standing: Standing
    is_current: bool
    served_from: datetime | None  # None: it was never served
    served_until: datetime | None
    source: Source
    origin: str
    fetched_at: datetime
    published_at: datetime
    received: int
    stored: int
    rejected: int
    added: int
    withdrawn: int
    is_restated: bool
    is_doubled: bool
    is_date_only: bool
    content_digest: str
    body_digest: str
    body_bytes: int | None  # None: the body has been pruned
    identity_version: int
    rules_version: int
    mended: dict[str, int]
    rejected_by_rule: dict[str, int]
    quality: dict[str, Any]
    batch_id: int | None
    run_id: int | None


# Every statement that gives revisions begins so; `entry_of` reads its rows.
ENTRIES = """
    SELECT force.id, revision.month, revision.number, revision.cause, revision.standing,
        revision.standing = 'served' AND revision.served_until IS NULL,
        revision.served_from, revision.served_until, revision.source, revision.origin,
        revision.fetched_at, revision.published_at, revision.received, revision.stored, revision.rejected,
        revision.added, revision.withdrawn, revision.is_restated, revision.is_doubled, revision.is_date_only,
        encode(revision.content_digest, 'hex'), encode(revision.body_digest, 'hex'), body.body_bytes,
        revision.identity_version, revision.rules_version, revision.mended, revision.rejected_by_rule,
        revision.quality, run.batch_id, revision.run_id
    FROM revision
    JOIN force ON force.code = revision.force_code
    LEFT JOIN published_body AS body ON body.digest = revision.body_digest
    LEFT JOIN ingest_run AS run ON run.id = revision.run_id
"""


def find_revisions(
    connection: Connection,
    *,
    forces: Sequence[str] = (),
    first: Month | None = None,
    last: Month | None = None,
    causes: Sequence[Cause] = (),
    standings: Sequence[Standing] = (),
    since: datetime | None = None,
    only_changes: bool = False,
    limit: int | None = None,
) -> list[RevisionEntry]:
    """
    Find revisions, by force, month and number.

    Args:
        forces: Only these forces; empty: all. So with causes and standings.
        since: Only those that arrived since then: served from it on, or, where historic, fetched.
        only_changes: Leave out the first revision of each force-month.
        limit: At most so many, the latest arrivals.
    """
    rows = connection.execute(
        ENTRIES
        + """
        WHERE (%(all_forces)s OR force.id = ANY(%(forces)s))
            AND (%(first)s::date IS NULL OR revision.month >= %(first)s)
            AND (%(last)s::date IS NULL OR revision.month <= %(last)s)
            AND (%(all_causes)s OR revision.cause = ANY(%(causes)s))
            AND (%(all_standings)s OR revision.standing = ANY(%(standings)s))
            AND (%(since)s::timestamptz IS NULL OR coalesce(revision.served_from, revision.fetched_at) >= %(since)s)
            AND (NOT %(only_changes)s OR revision.number > 1)
        ORDER BY coalesce(revision.served_from, revision.fetched_at) DESC, force.id, revision.month, revision.number
        LIMIT %(limit)s
        """,
        {
            "all_forces": not forces,
            "forces": list(forces),
            "first": first.first_day if first else None,
            "last": last.first_day if last else None,
            "all_causes": not causes,
            "causes": [str(cause) for cause in causes],
            "all_standings": not standings,
            "standings": [str(standing) for standing in standings],
            "since": since,
            "only_changes": only_changes,
            "limit": limit,
        },
    )
    return sorted((entry_of(row) for row in rows), key=lambda entry: (entry.force, entry.month, entry.number))


def find_revision(connection: Connection, force: str, month: Month, number: int | None = None) -> RevisionEntry:
    """
    Find one revision of a force-month.

    Args:
        number: Its number; None: the current one.

    Raises:
        UnknownRevision: There is none.
    """
    row = connection.execute(
        ENTRIES
        + """
        WHERE force.id = %(force)s AND revision.month = %(month)s
            AND CASE WHEN %(number)s::smallint IS NULL
                THEN revision.standing = 'served' AND revision.served_until IS NULL
                ELSE revision.number = %(number)s END
        """,
        {"force": force, "month": month.first_day, "number": number if number is None else min(number, 32_767)},
    ).fetchone()
    if row is not None and (number is None or row[2] == number):
        return entry_of(row)
    numbers = [
        str(found)
        for (found,) in connection.execute(
            """
            SELECT revision.number FROM revision JOIN force ON force.code = revision.force_code
            WHERE force.id = %s AND revision.month = %s ORDER BY revision.number
            """,
            [force, month.first_day],
        )
    ]
    if not numbers:
        raise UnknownRevision(
            f"Nothing is held of {force} {month}.", remedy="'stopsearch coverage' shows what is held."
        )
    raise UnknownRevision(
        f"{force} {month} has no {'current revision' if number is None else f'revision {number}'}.",
        remedy=f"It has {', '.join(numbers)}.",
    )


_SERVED_STOPS = sql.SQL(
    """
    SELECT id::text, {values} FROM stop_in_words
    WHERE id BETWEEN %(low)s AND %(high)s AND force = %(force)s
        AND first_revision <= %(number)s AND (withdrawn_revision IS NULL OR withdrawn_revision > %(number)s)
    ORDER BY stop_in_words.id
    """
)


def served_stops(connection: Connection, force: str, number: int, ids: tuple[UUID, UUID]) -> pl.DataFrame:
    """
    Give the stops that one revision of one force-month served: `id` as text and `STOP_VALUES`, by id.

    Args:
        number: A revision that was served.
        ids: The lowest and the highest id of the force-month.
    """
    rows = connection.execute(
        _SERVED_STOPS.format(values=sql.SQL(", ").join(map(sql.Identifier, STOP_VALUES))),
        {"low": ids[0], "high": ids[1], "force": force, "number": number},
    ).fetchall()
    return pl.DataFrame(rows, schema={"id": pl.String(), **STOP_VALUES}, orient="row")


def entry_of(row: tuple[Any, ...]) -> RevisionEntry:
    """
    Read a row of `ENTRIES`.
    """
    values = dict(zip((field.name for field in fields(RevisionEntry)), row, strict=True))
    values["month"] = Month.of(values["month"])
    for name, kind in (("cause", Cause), ("standing", Standing), ("source", Source)):
        values[name] = kind(values[name])
    return RevisionEntry(**values)
