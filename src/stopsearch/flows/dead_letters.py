"""
Look at dead letters, and dismiss those that are to stay rejected. Replay is in `rebuild`.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from stopsearch.domain.errors import RequestError, UnknownLetter
from stopsearch.domain.months import Month
from stopsearch.domain.states import LetterState
from stopsearch.flows.plan import Wanted, check_wanted
from stopsearch.store.database import Database
from stopsearch.store.forces import known_forces
from stopsearch.store.letters import DeadLetter, dismiss_letters, find_letters
from stopsearch.validate.contract import ALL_RULES

# Why a record could not be read at all: the decoders say it, in place of a rule.
_UNREADABLE = ("bad_quote", "not_an_object", "not_readable_json", "not_utf8", "wrong_column_count")

RULE_NAMES: tuple[str, ...] = tuple(sorted([*(each.name for each in ALL_RULES), *_UNREADABLE]))


def list_letters(
    database: Database,
    *,
    force: str | None = None,
    month: Month | None = None,
    rule: str | None = None,
    states: Sequence[LetterState] = (LetterState.OPEN,),
    limit: int | None = None,
) -> list[DeadLetter]:
    """
    List dead letters, by force, month, revision and record number.

    Args:
        rule: Only those that broke this rule.
        limit: At most so many.

    Raises:
        UnknownForce: A force that nobody knows.
        RequestError: A rule that is none.
    """
    check_rule(database, rule)
    with database.connect(autocommit=True) as connection:
        if force is not None:
            check_wanted(Wanted(forces=(force,)), forces=known_forces(connection), window=None)
        return find_letters(connection, force=force, month=month, rule=rule, states=states, limit=limit)


def check_rule(database: Database, rule: str | None) -> None:
    """
    Make sure that a rule is one of today's, or one that a kept letter broke.

    Raises:
        RequestError: It is none; the remedy names those that are close.
    """
    if rule is None or rule in RULE_NAMES:
        return
    with database.connect(autocommit=True) as connection:
        if find_letters(connection, rule=rule, states=tuple(LetterState), limit=1):
            return
    near = difflib.get_close_matches(rule, RULE_NAMES, n=3, cutoff=0.4)
    raise RequestError(
        f"There is no rule '{rule}'.",
        remedy=f"Did you mean {' or '.join(near)}?" if near else f"The rules are {', '.join(RULE_NAMES)}.",
    )


def show_letter(database: Database, letter_id: int) -> DeadLetter:
    """
    Show one dead letter, whatever its state.

    Raises:
        UnknownLetter: There is none of this number.
    """
    with database.connect(autocommit=True) as connection:
        found = find_letters(connection, ids=[letter_id], states=tuple(LetterState))
    if not found:
        raise _unknown([letter_id])
    return found[0]


def check_letters(database: Database, ids: Sequence[int]) -> None:
    """
    Make sure that there are dead letters of these numbers, whatever their state.

    Raises:
        UnknownLetter: There is a number that no letter has.
    """
    if not ids:
        return
    with database.connect(autocommit=True) as connection:
        found = {letter.id for letter in find_letters(connection, ids=ids, states=tuple(LetterState))}
    if missing := [number for number in ids if number not in found]:
        raise _unknown(missing)


def dismiss(database: Database, ids: Sequence[int], *, reason: str) -> int:
    """
    Dismiss open letters: their records stay rejected, and go on counting as rejected.

    All of them or none; letters that are dismissed already stay as they are.

    Returns:
        How many were open, and are dismissed now.

    Raises:
        UnknownLetter: There is a number that no letter has.
        RequestError: There is a letter that was replayed or superseded.
    """
    with database.connect(autocommit=True) as connection, connection.transaction():
        found = {letter.id: letter for letter in find_letters(connection, ids=ids, states=tuple(LetterState))}
        if missing := [number for number in ids if number not in found]:
            raise _unknown(missing)
        for letter in found.values():
            if letter.state in (LetterState.REPLAYED, LetterState.SUPERSEDED):
                raise RequestError(
                    f"Dead letter {letter.id} is {letter.state} already.",
                    remedy="Only open letters can be dismissed: 'stopsearch dead-letters list' shows them.",
                )
        return dismiss_letters(connection, ids, reason=reason)


def _unknown(ids: Sequence[int]) -> UnknownLetter:
    numbers = ", ".join(map(str, ids))
    return UnknownLetter(
        f"There is no dead letter {numbers}.", remedy="'stopsearch dead-letters list' shows them with their numbers."
    )
