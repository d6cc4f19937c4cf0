"""
Dead letters: rejected records as published, with why, kept until they are replayed or dismissed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection, sql
from psycopg.types.json import Jsonb

from stopsearch.domain.months import Month
from stopsearch.domain.states import LetterState
from stopsearch.store.edition import Edition
from stopsearch.store.releases import Held


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """
    One dead letter, as people see it.
    """

    id: int
    force: str
    month: Month
    revision: int
    record_number: int
    raw: str
    rejections: list[dict[str, Any]]
    state: LetterState
    reason: str | None
    attempts: int
    created_at: datetime
    decided_at: datetime | None


def keep_letters(connection: Connection, edition: Edition, held: Held) -> None:
    """
    Keep the rejected records of an edition under its new revision, one letter a record.
    """
    if not edition.letters:
        return
    with (
        connection.cursor() as cursor,
        cursor.copy(
            """
            COPY dead_letter
                (force_code, month, revision, record_number, raw, rejections, state, reason, attempts, decided_at)
            FROM STDIN
            """
        ) as copy,
    ):
        for letter in edition.letters:
            copy.write_row(
                (
                    held.force_code,
                    edition.month.first_day,
                    held.next_number,
                    letter.record_number,
                    letter.raw,
                    Jsonb(letter.rejections),
                    letter.state,
                    letter.reason,
                    letter.attempts,
                    letter.decided_at,
                )
            )


def supersede_open(connection: Connection, code: int, month: Month) -> None:
    """
    Mark the open letters of a force-month superseded: a later revision has taken their place.
    """
    connection.execute(
        """
        UPDATE dead_letter SET state = 'superseded', decided_at = clock_timestamp()
        WHERE force_code = %s AND month = %s AND state = 'open'
        """,
        [code, month.first_day],
    )


def find_letters(
    connection: Connection,
    *,
    force: str | None = None,
    month: Month | None = None,
    rule: str | None = None,
    states: Sequence[LetterState] = (LetterState.OPEN,),
    ids: Sequence[int] | None = None,
    limit: int | None = None,
) -> list[DeadLetter]:
    """
    Find dead letters, by force, month, revision and record number.
    """
    wanted: list[sql.SQL] = [sql.SQL("letter.state = ANY(%(states)s)")]
    if force is not None:
        wanted.append(sql.SQL("force.id = %(force)s"))
    if month is not None:
        wanted.append(sql.SQL("letter.month = %(month)s"))
    if rule is not None:
        wanted.append(sql.SQL("letter.rejections @> %(rule)s"))
    if ids is not None:
        wanted.append(sql.SQL("letter.id = ANY(%(ids)s)"))
    query = sql.SQL(
        """
        SELECT letter.id, force.id, letter.month, letter.revision, letter.record_number, letter.raw::text,
            letter.rejections, letter.state, letter.reason, letter.attempts, letter.created_at, letter.decided_at
        FROM dead_letter AS letter JOIN force ON force.code = letter.force_code
        WHERE {}
        ORDER BY force.id, letter.month, letter.revision, letter.record_number
        LIMIT %(limit)s
        """
    ).format(sql.SQL(" AND ").join(wanted))
    rows = connection.execute(
        query,
        {
            "states": [str(state) for state in states],
            "force": force,
            "month": month.first_day if month else None,
            "rule": Jsonb([{"rule": rule}]),
            "ids": list(ids or ()),
            "limit": limit,
        },
    )
    return [
        DeadLetter(
            id=row[0],
            force=row[1],
            month=Month.of(row[2]),
            revision=row[3],
            record_number=row[4],
            raw=row[5],
            rejections=row[6],
            state=LetterState(row[7]),
            reason=row[8],
            attempts=row[9],
            created_at=row[10],
            decided_at=row[11],
        )
        for row in rows
    ]


def dismiss_letters(connection: Connection, ids: Sequence[int], *, reason: str) -> int:
    """
    Dismiss open letters: their records stay rejected, and are not replayed.

    Returns:
        How many were open, and are dismissed now.
    """
    return connection.execute(
        """
        UPDATE dead_letter SET state = 'dismissed', reason = %s, decided_at = clock_timestamp()
        WHERE id IN (SELECT id FROM dead_letter WHERE id = ANY(%s) AND state = 'open' ORDER BY id FOR UPDATE)
        """,
        [reason, list(ids)],
    ).rowcount


def lock_letters(connection: Connection, ids: Sequence[int]) -> dict[int, LetterState]:
    """
    Lock letters until the transaction ends: nobody can decide on them meanwhile. In the order of their ids.

    Returns:
        The state of each as it is now, by id.
    """
    rows = connection.execute(
        "SELECT id, state FROM dead_letter WHERE id = ANY(%s) ORDER BY id FOR UPDATE", [list(ids)]
    )
    return {int(row[0]): LetterState(row[1]) for row in rows}


def mark_replayed(connection: Connection, ids: Sequence[int]) -> None:
    """
    Mark open letters replayed: their records are stops now.
    """
    connection.execute(
        """
        UPDATE dead_letter SET state = 'replayed', attempts = attempts + 1, decided_at = clock_timestamp()
        WHERE id = ANY(%s) AND state = 'open'
        """,
        [list(ids)],
    )


def count_attempt(connection: Connection, ids: Sequence[int]) -> None:
    """
    Count a replay that cleared nothing: the letters stay open.
    """
    connection.execute(
        "UPDATE dead_letter SET attempts = attempts + 1 WHERE id = ANY(%s) AND state = 'open'", [list(ids)]
    )
