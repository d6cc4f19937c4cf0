"""
Which rows of `stop`, or of a rollup in its place, belong to the force-months and revisions that a question is asked of.

Conditions are on a table that is called `stop` in the statement: both rollups have the columns that tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg import sql

from stopsearch.domain.filters import RevisionState, StopFilter
from stopsearch.store.as_of import ServedRevision
from stopsearch.store.served_numbers import SLOT_DAYS, ServedNumbers, served_numbers
from stopsearch.store.snapshots import Snapshot

# Of revisions as `ServedNumbers` keeps them, under the names that `number_conditions` binds.
_SLOT = sql.SQL(
    """
    (stop.force_code - %(first_force)s::integer) * %(width)s::integer
    + (stop.month - %(first_held)s::date) / {days} + 1
    """
).format(days=sql.Literal(SLOT_DAYS))

_HAS_SLOT = sql.SQL(
    "stop.force_code BETWEEN %(first_force)s AND %(last_force)s AND stop.month BETWEEN %(first_held)s AND %(last_held)s"
)
_NUMBER = sql.SQL("(%(numbers)s::smallint[])[{}]").format(_SLOT)
_FIRST_NUMBER = sql.SQL("(%(first_numbers)s::smallint[])[{}]").format(_SLOT)
_SERVED = sql.SQL(
    "stop.first_revision <= {number} AND (stop.withdrawn_revision IS NULL OR stop.withdrawn_revision > {number})"
).format(number=_NUMBER)
_RESTATED = sql.SQL("stop.first_revision > {}").format(_FIRST_NUMBER)
# A stop may go and come back, or be written anew under other rules: it is withdrawn where none of its rows is served,
# and told by the last of those that were.
_WITHDRAWN = sql.SQL(
    """
    stop.withdrawn_revision <= {number} AND NOT EXISTS (
        SELECT FROM stop AS later WHERE later.id = stop.id
            AND later.first_revision >= stop.withdrawn_revision AND later.first_revision <= {number}
    )
    """
).format(number=_NUMBER)


def asked_revisions(snapshot: Snapshot, asked: StopFilter) -> list[ServedRevision]:
    """
    Give the revisions of a snapshot that a question is asked of: by force, month, and what holds of whole force-months.
    """
    return [
        revision
        for revision in snapshot.revisions
        if (not asked.forces or revision.force in asked.forces)
        and (asked.first is None or asked.first <= revision.month)
        and (asked.last is None or revision.month <= asked.last)
        and asked.date_only in (None, revision.is_date_only)
        and asked.doubled in (None, revision.is_doubled)
    ]


def revision_conditions(
    snapshot: Snapshot, revisions: Sequence[ServedRevision], state: RevisionState = RevisionState.SERVED
) -> tuple[list[sql.Composable], dict[str, Any]]:
    """
    Give the conditions on force, month and revision, and the values bound in them by name.

    Args:
        revisions: Those of the snapshot's that are asked of.
    """
    is_all = len(revisions) == len(snapshot.revisions)
    numbers = served_numbers(snapshot) if is_all else ServedNumbers(revisions)
    wanted, parameters = number_conditions(numbers, state)
    if not is_all:
        # An index finds the few forces that are asked for between the first and the last.
        wanted.append(sql.SQL("stop.force_code = ANY(%(forces)s::smallint[])"))
        parameters["forces"] = f"{{{','.join(map(str, sorted({each.force_code for each in revisions})))}}}"
    return wanted, parameters


def number_conditions(numbers: ServedNumbers, state: RevisionState) -> tuple[list[sql.Composable], dict[str, Any]]:
    """
    Give the conditions that a row is of one of some revisions, in a state, and the values bound in them by name.
    """
    parameters: dict[str, Any] = {
        "width": numbers.width,
        "first_force": numbers.first_force,
        "last_force": numbers.last_force,
        "first_held": numbers.first_month,
        "last_held": numbers.last_month,
        "numbers": numbers.numbers,
    }
    if state is RevisionState.WITHDRAWN:
        return [_HAS_SLOT, _WITHDRAWN], parameters
    if state is RevisionState.RESTATED:
        return [_HAS_SLOT, _SERVED, _RESTATED], {**parameters, "first_numbers": numbers.first_numbers}
    return [_HAS_SLOT, _SERVED], parameters
