"""
Dead letters as readers see them: those of given revisions, by their place in them, and those that are in a state now.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.types.json import Jsonb

from stopsearch.domain.months import Month
from stopsearch.domain.states import LetterState
from stopsearch.store.as_of import ServedRevision
from stopsearch.store.quality import keys_of


@dataclass(frozen=True, kw_only=True)
class ServedLetter:
    """
    One rejected record: what never changes of it.

    `raw` is JSON text, letter for letter as the publisher wrote it; None where it has more bytes than were asked for.
    """

    id: int
    force: str
    month: Month
    revision: int
    record_number: int
    raw: str | None
    raw_bytes: int
    rejections: list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class LetterNow:
    """
    A dead letter with what became of it up to now.
    """

    letter: ServedLetter
    state: LetterState
    attempts: int
    created_at: datetime
    decided_at: datetime | None


_SELECT = """
    SELECT letter.id, force.id, letter.month, letter.revision, letter.record_number,
    CASE WHEN octet_length(letter.raw::text) <= %(most_raw_bytes)s THEN letter.raw::text END,
    octet_length(letter.raw::text), letter.rejections
"""


def served_letters(
    connection: Connection,
    revisions: Sequence[ServedRevision],
    *,
    rule: str | None = None,
    after_record: int = 0,
    limit: int,
    most_raw_bytes: int,
) -> list[ServedLetter]:
    """
    Give the rejected records of some revisions, in the revisions' order, then by record number.

    Args:
        rule: Only those that broke this rule.
        after_record: Of the first revision, only those after this record.
        limit: At most so many.
        most_raw_bytes: How long a record may be to be given whole.
    """
    rows = connection.execute(
        _SELECT
        + """
        FROM unnest(%(codes)s::smallint[], %(months)s::date[], %(numbers)s::smallint[]) WITH ORDINALITY
            AS asked (force_code, month, number, place)
        JOIN dead_letter AS letter ON letter.force_code = asked.force_code AND letter.month = asked.month
            AND letter.revision = asked.number
        JOIN force ON force.code = letter.force_code
        WHERE (asked.place > 1 OR letter.record_number > %(after_record)s)
            AND (%(rule)s::jsonb IS NULL OR letter.rejections @> %(rule)s)
        ORDER BY asked.place, letter.record_number
        LIMIT %(limit)s
        """,
        {
            **keys_of(revisions),
            "rule": _of_rule(rule),
            "after_record": after_record,
            "limit": limit,
            "most_raw_bytes": most_raw_bytes,
        },
    )
    return [_letter(row) for row in rows]


def find_letter(connection: Connection, letter_id: int, *, most_raw_bytes: int) -> LetterNow | None:
    """
    Find one dead letter by its number; None: there is none.
    """
    row = connection.execute(
        _SELECT
        + """
        , letter.state, letter.attempts, letter.created_at, letter.decided_at
        FROM dead_letter AS letter JOIN force ON force.code = letter.force_code WHERE letter.id = %(id)s
        """,
        {"id": letter_id, "most_raw_bytes": most_raw_bytes},
    ).fetchone()
    return _now(row) if row else None


def letters_now(
    connection: Connection,
    *,
    states: Sequence[LetterState],
    forces: Sequence[str] = (),
    first: Month | None = None,
    last: Month | None = None,
    rule: str | None = None,
    after: int = 0,
    limit: int,
    most_raw_bytes: int,
) -> list[LetterNow]:
    """
    Give the dead letters that are in one of some states now, of any revision, by number.

    Args:
        after: Only those with a higher number.
    """
    rows = connection.execute(
        _SELECT
        + """
        , letter.state, letter.attempts, letter.created_at, letter.decided_at
        FROM dead_letter AS letter JOIN force ON force.code = letter.force_code
        WHERE letter.id > %(after)s AND letter.state = ANY(%(states)s)
            AND (%(all_forces)s OR force.id = ANY(%(forces)s))
            AND (%(first)s::date IS NULL OR letter.month >= %(first)s)
            AND (%(last)s::date IS NULL OR letter.month <= %(last)s)
            AND (%(rule)s::jsonb IS NULL OR letter.rejections @> %(rule)s)
        ORDER BY letter.id
        LIMIT %(limit)s
        """,
        {
            "states": [str(state) for state in states],
            "all_forces": not forces,
            "forces": list(forces),
            "first": first.first_day if first else None,
            "last": last.first_day if last else None,
            "rule": _of_rule(rule),
            "after": after,
            "limit": limit,
            "most_raw_bytes": most_raw_bytes,
        },
    )
    return [_now(row) for row in rows]


def _of_rule(rule: str | None) -> Jsonb | None:
    return Jsonb([{"rule": rule}]) if rule is not None else None


def _letter(row: tuple[Any, ...]) -> ServedLetter:
    return ServedLetter(
        id=row[0],
        force=row[1],
        month=Month.of(row[2]),
        revision=row[3],
        record_number=row[4],
        raw=row[5],
        raw_bytes=row[6],
        rejections=row[7],
    )


def _now(row: tuple[Any, ...]) -> LetterNow:
    return LetterNow(
        letter=_letter(row),
        state=LetterState(row[8]),
        attempts=row[9],
        created_at=row[10],
        decided_at=row[11],
    )
