"""
What is known of each force-month: what upstream lists, what the last look gave, and what is held.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import date, datetime

from psycopg import Connection
from psycopg.types.json import Jsonb

from stopsearch.domain.months import Month
from stopsearch.domain.published import Availability
from stopsearch.domain.states import MonthState
from stopsearch.store.forces import force_code


@dataclass(frozen=True, kw_only=True)
class Held:
    """
    What the database holds of one force-month before a run.
    """

    force_code: int
    state: MonthState | None  # None: nothing is known of it
    revision: int | None
    content_digest: bytes | None
    rules_version: int | None
    checked_at: datetime | None  # when the publisher was last asked for it, and answered
    published_at: datetime | None  # of the newest edition that holds the current content
    body_digests: frozenset[bytes]  # bodies that are known to hold the current content
    is_restated: bool
    known: frozenset[tuple[bytes, datetime]]  # content digest and publication of all other editions that are kept
    is_reverted: bool  # an operator chose the current revision
    next_number: int


def look(connection: Connection, force: str, month: Month) -> Held:
    """
    Tell what the database holds of one force-month.
    """
    code = force_code(connection, force)
    release = connection.execute(
        """
        SELECT state, current_revision, current_published_at, seen_body_digest, last_checked_at FROM month_release
        WHERE force_code = %s AND month = %s
        """,
        [code, month.first_day],
    ).fetchone()
    revisions = connection.execute(
        """
        SELECT number, content_digest, body_digest, rules_version, is_restated, published_at, cause FROM revision
        WHERE force_code = %s AND month = %s ORDER BY number
        """,
        [code, month.first_day],
    ).fetchall()
    state, current, published_at, seen, checked_at = release or (None,) * 5
    row = next((revision for revision in revisions if revision[0] == current), None)
    return Held(
        force_code=code,
        state=MonthState(state) if state else None,
        revision=current,
        content_digest=row[1] if row else None,
        rules_version=row[3] if row else None,
        checked_at=checked_at,
        published_at=published_at,
        body_digests=frozenset(digest for digest in (seen, row[2] if row else None) if digest),
        is_restated=bool(row[4]) if row else False,
        known=frozenset((revision[1], revision[5]) for revision in revisions if revision[0] != current),
        is_reverted=row is not None and row[6] == "revert",
        next_number=revisions[-1][0] + 1 if revisions else 1,
    )


def record_listing(connection: Connection, availability: Availability, *, at: datetime) -> None:
    """
    Record what the publisher lists: each listed force-month, and which ones are listed no more.

    A force-month that is listed and was never looked at is due; one that was due, failed or empty and is listed no
    more is either out of the publisher's window or not listed.
    """
    months = availability.months
    with connection.transaction():
        _keep_listing(connection, availability, at=at)
        codes = {force: force_code(connection, force) for force in sorted(availability.forces)}
        listed = [(codes[force], month.first_day) for month in months for force in sorted(availability.listed[month])]
        connection.execute("CREATE TEMP TABLE listed (force_code smallint, month date) ON COMMIT DROP")
        with connection.cursor() as cursor, cursor.copy("COPY listed FROM STDIN") as copy:
            for row in listed:
                copy.write_row(row)
        parameters = {"at": at, "first": months[0].first_day if months else date.max}
        connection.execute(
            """
            INSERT INTO month_release AS held
                (force_code, month, state, is_listed, first_listed_at, last_listed_at)
            SELECT force_code, month, 'due', true, %(at)s, %(at)s FROM listed ORDER BY force_code, month
            ON CONFLICT (force_code, month) DO UPDATE SET
                is_listed = true,
                first_listed_at = coalesce(held.first_listed_at, excluded.first_listed_at),
                last_listed_at = excluded.last_listed_at,
                state = CASE WHEN held.state IN ('not_listed', 'out_of_window') THEN 'due' ELSE held.state END
            """,
            parameters,
        )
        connection.execute(
            """
            UPDATE month_release AS held SET
                is_listed = false,
                state = CASE
                    WHEN state = 'held' THEN 'held'
                    WHEN month < %(first)s THEN 'out_of_window'
                    ELSE 'not_listed'
                END
            WHERE NOT EXISTS (
                SELECT FROM listed WHERE listed.force_code = held.force_code AND listed.month = held.month
            ) AND (is_listed OR state IN ('due', 'not_listed'))
            """,
            parameters,
        )


def _keep_listing(connection: Connection, availability: Availability, *, at: datetime) -> None:
    listed = {str(month): sorted(forces) for month, forces in sorted(availability.listed.items())}
    digest = hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).digest()
    last = connection.execute("SELECT id, digest FROM listing ORDER BY id DESC LIMIT 1").fetchone()
    if last is not None and last[1] == digest:
        connection.execute("UPDATE listing SET last_seen_at = %s WHERE id = %s", [at, last[0]])
    elif availability.months:
        connection.execute(
            """
            INSERT INTO listing (digest, first_month, last_month, forces_by_month, listed_at, last_seen_at)
            VALUES (%(digest)s, %(first)s, %(last)s, %(listed)s, %(at)s, %(at)s)
            """,
            {
                "digest": digest,
                "first": availability.months[0].first_day,
                "last": availability.months[-1].first_day,
                "listed": Jsonb(listed),
                "at": at,
            },
        )


def last_listing(connection: Connection) -> tuple[Availability, datetime] | None:
    """
    Give the publisher's list as it was last seen, and when; None where it was never asked.
    """
    row = connection.execute("SELECT forces_by_month, last_seen_at FROM listing ORDER BY id DESC LIMIT 1").fetchone()
    return (_availability(row[0]), row[1]) if row else None


def listing_at(connection: Connection, instant: datetime) -> tuple[Availability, datetime] | None:
    """
    Give the publisher's list as it was known at an instant, and when it was first seen so; None where it was not.
    """
    row = connection.execute(
        "SELECT forces_by_month, listed_at FROM listing WHERE listed_at <= %s ORDER BY id DESC LIMIT 1", [instant]
    ).fetchone()
    return (_availability(row[0]), row[1]) if row else None


def _availability(forces_by_month: dict[str, list[str]]) -> Availability:
    return Availability(listed={Month.parse(month): frozenset(forces) for month, forces in forces_by_month.items()})


def note_state(
    connection: Connection, code: int, month: Month, state: MonthState, *, at: datetime, is_look: bool
) -> None:
    """
    Note how a run ended that made no revision: empty, failed or refused.

    A held force-month stays held; where the publisher's answer was empty, or had to be refused, it is doubtful since.

    Args:
        at: When the publisher answered.
        is_look: Whether the publisher itself answered. A failure is no answer, and an archive is none.
    """
    connection.execute(
        """
        INSERT INTO month_release AS held (force_code, month, state, last_checked_at)
        VALUES (%(code)s, %(month)s, %(state)s, %(checked)s)
        ON CONFLICT (force_code, month) DO UPDATE SET
            state = CASE WHEN held.state = 'held' THEN held.state ELSE excluded.state END,
            doubtful_since = CASE
                WHEN held.state = 'held' AND excluded.state IN ('empty', 'refused') AND %(is_look)s
                THEN greatest(held.doubtful_since, %(at)s)
                ELSE held.doubtful_since
            END,
            last_checked_at = greatest(held.last_checked_at, excluded.last_checked_at)
        """,
        {
            "code": code,
            "month": month.first_day,
            "state": state,
            "at": at,
            "is_look": is_look,
            "checked": at if is_look and state is not MonthState.FAILED else None,
        },
    )


def note_unchanged(
    connection: Connection, code: int, month: Month, *, body_digest: bytes, published_at: datetime, is_look: bool
) -> None:
    """
    Note that a body holds the current content, which so is current as of that body's publication.

    Doubt ends where the body was published after it began.

    Args:
        is_look: Whether the publisher itself answered; an archive is no answer.
    """
    parameters = {
        "code": code,
        "month": month.first_day,
        "digest": body_digest,
        "published_at": published_at,
        "is_look": is_look,
    }
    connection.execute(
        """
        UPDATE month_release SET
            last_checked_at = CASE
                WHEN %(is_look)s THEN greatest(last_checked_at, %(published_at)s)
                ELSE last_checked_at
            END,
            doubtful_since = CASE WHEN doubtful_since > %(published_at)s THEN doubtful_since END,
            current_published_at = greatest(current_published_at, %(published_at)s),
            seen_body_digest = %(digest)s
        WHERE force_code = %(code)s AND month = %(month)s
        """,
        parameters,
    )
