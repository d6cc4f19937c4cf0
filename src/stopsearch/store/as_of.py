"""
What was served at an instant: the revisions that readers saw then, and the id that cites them.

A stop was served by revision `n` of its force-month where ``first_revision <= n`` and it was not yet withdrawn:
``withdrawn_revision IS NULL OR withdrawn_revision > n``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg import Connection

from stopsearch.domain.errors import RequestError
from stopsearch.domain.months import Month
from stopsearch.store.locks import between_commits

# Raise it with any change of what a snapshot's lines are: it heads them, so that old ids never mean something new.
SNAPSHOT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class ServedRevision:
    """
    One revision of one force-month, as it was served at an instant.
    """

    force: str
    force_code: int
    month: Month
    number: int
    content_digest: bytes
    rules_version: int
    received: int
    stored: int
    rejected: int
    is_restated: bool
    is_doubled: bool
    is_date_only: bool
    served_from: datetime
    first_datetime: datetime | None  # the earliest stop of it; None where it has none
    last_datetime: datetime | None
    first_number: int  # the first revision of this force-month that was ever served
    dismissed: str | None = None  # of the records that were dismissed before it was made, if any: their digest


@contextmanager
def one_snapshot(connection: Connection) -> Iterator[datetime]:
    """
    Read everything inside from one consistent state of the database; give the instant, by the server's clock.
    """
    with ExitStack() as reading:
        with between_commits(connection):
            reading.enter_context(connection.transaction())
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            # What the server or the user's role prefers must not change how values are written.
            connection.execute("SET LOCAL DateStyle = 'ISO'")
            connection.execute("SET LOCAL extra_float_digits = 1")
            row = connection.execute("SELECT clock_timestamp()").fetchone()  # what is seen is settled here
        assert row is not None  # a SELECT without FROM gives one row
        yield row[0]


def served_revisions(
    connection: Connection,
    *,
    as_of: datetime | None = None,
    is_of_ledger: bool = False,
    forces: Sequence[str] = (),
    first: Month | None = None,
    last: Month | None = None,
) -> list[ServedRevision]:
    """
    Give the revision of each force-month that was served at an instant, by force and month.

    Args:
        as_of: The instant, with its zone; None: what is served now.
        is_of_ledger: Whether the instant is one that the ledger tells. It is past then, also where the server's clock
            was set back since.
        forces: Only these forces; empty: all.
        first: No month before this one.
        last: No month after this one.

    Raises:
        RequestError: The instant lies in the future, or has no zone.
    """
    if as_of is not None and not is_of_ledger:
        _check_past(connection, as_of)
    rows = connection.execute(
        """
        SELECT force.id, revision.force_code, revision.month, revision.number, revision.content_digest,
            revision.rules_version, revision.received, revision.stored, revision.rejected, revision.is_restated,
            revision.is_doubled, revision.is_date_only, revision.served_from, revision.first_datetime,
            revision.last_datetime,
            CASE WHEN revision.number = 1 THEN 1 ELSE (
                SELECT min(earlier.number) FROM revision AS earlier
                WHERE earlier.force_code = revision.force_code AND earlier.month = revision.month
                    AND earlier.standing = 'served'
            ) END,
            CASE WHEN revision.rejected > 0 THEN (
                SELECT encode(sha256(convert_to(
                    string_agg(letter.raw::text, E'\n' ORDER BY letter.raw::text COLLATE "C"), 'UTF8')), 'hex')
                FROM dead_letter AS letter
                WHERE letter.force_code = revision.force_code AND letter.month = revision.month
                    AND letter.revision = revision.number
                    AND letter.state = 'dismissed' AND letter.decided_at < revision.served_from
            ) END
        FROM revision JOIN force ON force.code = revision.force_code
        WHERE revision.standing = 'served'
            AND CASE WHEN %(as_of)s::timestamptz IS NULL THEN revision.served_until IS NULL
                ELSE revision.served_from <= %(as_of)s
                    AND (revision.served_until IS NULL OR revision.served_until > %(as_of)s) END
            AND (%(all)s OR force.id = ANY(%(forces)s))
            AND (%(first)s::date IS NULL OR revision.month >= %(first)s)
            AND (%(last)s::date IS NULL OR revision.month <= %(last)s)
        ORDER BY force.id COLLATE "C", revision.month
        """,
        {
            "as_of": as_of,
            "all": not forces,
            "forces": list(forces),
            "first": first.first_day if first else None,
            "last": last.first_day if last else None,
        },
    )
    return [
        ServedRevision(
            force=row[0],
            force_code=row[1],
            month=Month.of(row[2]),
            number=row[3],
            content_digest=row[4],
            rules_version=row[5],
            received=row[6],
            stored=row[7],
            rejected=row[8],
            is_restated=row[9],
            is_doubled=row[10],
            is_date_only=row[11],
            served_from=row[12],
            first_datetime=row[13],
            last_datetime=row[14],
            first_number=row[15],
            dismissed=row[16],
        )
        for row in rows
    ]


def snapshot_of(revisions: Iterable[ServedRevision]) -> str:
    """
    Give the id of a snapshot: the same on any machine that serves the same content under the same rules.

    It is the SHA-256, in hexadecimal, of this ASCII text: the line ``stopsearch snapshot 1`` (the format's version),
    then one line a revision, ``<force> <YYYY-MM> <content digest in hexadecimal> <rules version>``, sorted as bytes;
    each line ends in a line feed. Revision numbers are no part of it: they count arrivals, which differ by machine.

    Where records of a revision stayed rejected because somebody had dismissed them, whatever its rules say, the line
    goes on with a space and their digest: the same content under the same rules is other stops without them. It is the
    SHA-256, in hexadecimal, of the records' raw JSON, sorted as bytes and parted by line feeds.

    Args:
        revisions: Every revision that was served at the instant, of all forces and months.
    """
    lines = sorted(
        f"{revision.force} {revision.month} {revision.content_digest.hex()} {revision.rules_version}"
        f"{f' {revision.dismissed}' if revision.dismissed else ''}\n"
        for revision in revisions
    )
    return hashlib.sha256(f"stopsearch snapshot {SNAPSHOT_VERSION}\n{''.join(lines)}".encode("ascii")).hexdigest()


def snapshot_id(connection: Connection, as_of: datetime | None = None) -> str:
    """
    Give the id of what was served at an instant, as `snapshot_of` makes it.

    Args:
        as_of: The instant, with its zone; None: now.

    Raises:
        RequestError: The instant lies in the future, or has no zone.
    """
    return snapshot_of(served_revisions(connection, as_of=as_of))


def id_range(prefix: bytes) -> tuple[UUID, UUID]:
    """
    Give the lowest and the highest id that begins with a prefix: the ids of a force-month, as its index holds them.
    """
    rest = 16 - len(prefix)
    return UUID(bytes=prefix + bytes(rest)), UUID(bytes=prefix + b"\xff" * rest)


def _check_past(connection: Connection, as_of: datetime) -> None:
    if as_of.tzinfo is None:
        raise RequestError(
            f"The instant {as_of.isoformat()} has no zone.", remedy="Write it in UTC, as 2024-03-01T12:30:00Z."
        )
    row = connection.execute("SELECT clock_timestamp()").fetchone()
    if row is not None and as_of > row[0]:
        raise RequestError(
            f"The instant {as_of.isoformat()} lies in the future: what will be served then is not known.",
            remedy="Leave it out to have what is served now.",
        )
