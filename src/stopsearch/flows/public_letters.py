"""
Dead letters for everybody: the rejected records of what a snapshot serves, as published, with the rules they broke.

What a snapshot says of them never changes. What became of them since is told only of now, and said to be.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from psycopg import Connection

from stopsearch.domain.errors import BadQuery, UnknownLetter
from stopsearch.domain.filters import StopFilter
from stopsearch.domain.months import Month
from stopsearch.domain.states import LetterState
from stopsearch.flows.covered import held_revisions
from stopsearch.flows.dead_letters import RULE_NAMES
from stopsearch.store.as_of import ServedRevision
from stopsearch.store.quality import RevisionFigures, figures_of
from stopsearch.store.served_letters import LetterNow, ServedLetter, find_letter, letters_now, served_letters
from stopsearch.store.snapshots import Snapshot

# A page holds records up to this length; a longer one is asked for by its number.
MOST_RAW_BYTES_IN_LIST = 16 * 1024
# Longer than any record that makes sense: what a publisher might send in place of one is not given on.
MOST_RAW_BYTES = 1024 * 1024
_HIGHEST_ID = 2**63 - 1

Place = tuple[str, Month, int]  # where a page begins: after this record of this force-month


@dataclass(frozen=True, kw_only=True)
class LetterCounts:
    """
    How many records were rejected, in all, by rule, and by force.

    A record that broke several rules counts under each. Where one rule was asked for, all counts are of that rule.
    """

    letters: int
    by_rule: dict[str, int]
    by_force: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Letters:
    """
    One page of a snapshot's dead letters, and the counts of all that were asked for.
    """

    letters: list[ServedLetter] = field(repr=False)
    counts: LetterCounts
    next: Place | None


@dataclass(frozen=True, kw_only=True)
class OneLetter:
    """
    One dead letter, and whether its revision is the one that the snapshot serves (None: no snapshot was asked).
    """

    now: LetterNow
    is_served: bool | None


def snapshot_letters(
    connection: Connection,
    snapshot: Snapshot,
    asked: StopFilter,
    *,
    rule: str | None = None,
    after: Place | None = None,
    limit: int,
) -> Letters:
    """
    Give the rejected records of the revisions that a snapshot serves, by force, month and record number.

    Args:
        asked: Which forces and months; nothing else of it counts.
        rule: Only those that broke this rule.

    Raises:
        BadQuery: There is no such rule.
    """
    rejecting = [revision for revision in held_revisions(snapshot, asked) if revision.rejected]
    figures = figures_of(connection, rejecting)
    check_known_rule(rule, (name for each in figures for name in each.rejected_by_rule))
    if rule is not None:
        kept = [pair for pair in zip(rejecting, figures, strict=True) if rule in pair[1].rejected_by_rule]
        rejecting, figures = [pair[0] for pair in kept], [pair[1] for pair in kept]
    wanted = [each for each in rejecting if after is None or (each.force, each.month) >= after[:2]]
    resumes = after is not None and bool(wanted) and (wanted[0].force, wanted[0].month) == after[:2]
    found = served_letters(
        connection,
        _enough(wanted, limit, rule, resumes=resumes),
        rule=rule,
        after_record=after[2] if after is not None and resumes else 0,
        limit=limit + 1,
        most_raw_bytes=MOST_RAW_BYTES_IN_LIST,
    )
    page = found[:limit]
    return Letters(
        letters=page,
        counts=_counts(rejecting, figures, rule),
        next=(page[-1].force, page[-1].month, page[-1].record_number) if len(found) > limit else None,
    )


def letters_in_state(
    connection: Connection,
    asked: StopFilter,
    *,
    states: Sequence[LetterState] = (LetterState.OPEN,),
    rule: str | None = None,
    after: int = 0,
    limit: int,
) -> list[LetterNow]:
    """
    Give the dead letters that are in one of some states now, by number: at most one more than `limit`.

    Raises:
        BadQuery: There is no such rule.
    """
    found = letters_now(
        connection,
        states=states,
        forces=asked.forces,
        first=asked.first,
        last=asked.last,
        rule=rule,
        after=after,
        limit=limit + 1,
        most_raw_bytes=MOST_RAW_BYTES_IN_LIST,
    )
    if not found:
        check_known_rule(rule, ())
    return found


def one_letter(connection: Connection, snapshot: Snapshot | None, letter_id: int) -> OneLetter:
    """
    Give one dead letter.

    Args:
        snapshot: What it is asked of; a letter of a later revision is not there yet. None: of now.

    Raises:
        UnknownLetter: There is none of this number.
    """
    found = find_letter(connection, letter_id, most_raw_bytes=MOST_RAW_BYTES) if letter_id <= _HIGHEST_ID else None
    if found is None:
        raise _unknown(letter_id)
    if snapshot is None:
        return OneLetter(now=found, is_served=None)
    letter = found.letter
    number = next(
        (each.number for each in snapshot.revisions if (each.force, each.month) == (letter.force, letter.month)), 0
    )
    if letter.revision > number:
        raise _unknown(letter_id)
    return OneLetter(now=found, is_served=letter.revision == number)


def check_known_rule(rule: str | None, others: Iterable[str]) -> None:
    """
    Make sure that a rule is one of today's, or one of some others.

    Raises:
        BadQuery: It is none; the reason names those that are close.
    """
    if rule is None or rule in RULE_NAMES:
        return
    names = sorted({*RULE_NAMES, *others})
    if rule in names:
        return
    near = difflib.get_close_matches(rule, names, n=3, cutoff=0.4)
    reason = f"did you mean {' or '.join(near)}?" if near else f"the rules are {', '.join(names)}"
    raise BadQuery(f"There is no rule '{rule}': {reason}", faults=(("rule", rule, f"there is no such rule: {reason}"),))


def _enough(wanted: list[ServedRevision], limit: int, rule: str | None, *, resumes: bool) -> list[ServedRevision]:
    """
    Leave out the revisions that a page will not come to.
    """
    if rule is not None:
        return wanted
    rejected = 0
    for place, revision in enumerate(wanted, start=1):
        # Of the one that the page goes on in, nobody knows how many are left.
        rejected += 0 if resumes and place == 1 else revision.rejected
        if rejected > limit:
            return wanted[:place]
    return wanted


def _counts(revisions: Sequence[ServedRevision], figures: Sequence[RevisionFigures], rule: str | None) -> LetterCounts:
    by_rule: Counter[str] = Counter()
    by_force: Counter[str] = Counter()
    for revision, told in zip(revisions, figures, strict=True):
        by_rule.update(told.rejected_by_rule)
        by_force[revision.force] += revision.rejected if rule is None else told.rejected_by_rule[rule]
    if rule is not None:
        by_rule = Counter({rule: by_rule[rule]} if by_rule[rule] else {})
    return LetterCounts(letters=by_force.total(), by_rule=dict(sorted(by_rule.items())), by_force=dict(by_force))


def _unknown(letter_id: int) -> UnknownLetter:
    return UnknownLetter(f"There is no dead letter {letter_id}.", remedy="/v1/dead-letters lists them.")
