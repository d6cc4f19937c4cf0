"""
What changed between two snapshots: stops added and withdrawn, a page at a time, for whoever keeps a copy.

Taking the withdrawn stops of all pages out of the one snapshot, by id, and then putting the added ones in gives
exactly the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any
from uuid import UUID

from psycopg import Connection

from stopsearch.clean.identity import id_prefix
from stopsearch.domain.filters import StopFilter
from stopsearch.domain.months import Month
from stopsearch.flows.covered import held_revisions
from stopsearch.flows.stop_values import stop_json
from stopsearch.store.as_of import ServedRevision, id_range
from stopsearch.store.changes import (
    Change,
    ChangedRow,
    MonthChange,
    changed_rows,
    changes_at_most,
    rows_in_words,
)
from stopsearch.store.snapshots import Snapshot

# Force-months that one statement looks into at most.
_MOST_MONTHS = 64

After = tuple[UUID, Change]


@dataclass(frozen=True, kw_only=True)
class ChangedRows:
    """
    One page of the changes between two snapshots, with the force-months that differ, by the rows' force and month.
    """

    rows: list[ChangedRow] = field(repr=False)
    months: dict[tuple[int, Month], MonthChange] = field(repr=False)
    next: After | None


def changes_between(
    connection: Connection,
    old: Snapshot,
    new: Snapshot,
    asked: StopFilter | None = None,
    *,
    after: After | None = None,
    limit: int,
) -> ChangedRows:
    """
    Give one page of the changes that lead from one snapshot to another, in the order of ids.

    Either may be the earlier one. The same two snapshots give the same changes for ever.

    Args:
        asked: Which forces and months; nothing else of it counts.
        after: Only those after this change.
    """
    months = differing_months(connection, old, new, asked or StopFilter())
    found: list[ChangedRow] = []
    left = [month for month in months if after is None or month.high >= after[0]]
    for some in _pieces(left, limit + 1):
        found += changed_rows(connection, some, after=after, limit=limit + 1 - len(found))
        if len(found) > limit:
            break
    page = found[:limit]
    return ChangedRows(
        rows=page,
        months={(month.force_code, month.month): month for month in months},
        next=(page[-1].id, page[-1].change) if len(found) > limit else None,
    )


def differing_months(connection: Connection, old: Snapshot, new: Snapshot, asked: StopFilter) -> list[MonthChange]:
    """
    Give the force-months of which two snapshots serve different revisions, in the order of their stops' ids.

    Those between whose revisions nothing was added or withdrawn, and of whose stops nothing else reads differently,
    are left out.
    """
    before = {(each.force, each.month): each for each in held_revisions(old, asked)}
    after = {(each.force, each.month): each for each in held_revisions(new, asked)}
    pairs: list[tuple[ServedRevision | None, ServedRevision | None]] = [
        (before.get(key), after.get(key))
        for key in sorted(before.keys() | after.keys(), key=lambda key: id_prefix(*key))
        if (one := before.get(key)) is None or (other := after.get(key)) is None or one.number != other.number
    ]
    months = [
        _month_change(*pair, most_changes=most)
        for pair, most in zip(pairs, changes_at_most(connection, pairs), strict=True)
    ]
    return [month for month in months if month.most_changes]


def _month_change(old: ServedRevision | None, new: ServedRevision | None, *, most_changes: int) -> MonthChange:
    known = old or new
    assert known is not None  # one of the two holds it
    low, high = id_range(id_prefix(known.force, known.month))
    change = MonthChange(
        force=known.force,
        force_code=known.force_code,
        month=known.month,
        low=low,
        high=high,
        old=old,
        new=new,
        most_changes=most_changes,
    )
    if change.is_whole:
        return MonthChange(**{**change.__dict__, "most_changes": known.stored + (new.stored if new else 0)})
    return change


def _pieces(months: Sequence[MonthChange], enough: int) -> Iterator[list[MonthChange]]:
    """
    Cut the walk into pieces that hold about enough changes for a page. Ids that begin alike stay in one piece.
    """
    piece: list[MonthChange] = []
    most = 0
    for _, alike in groupby(months, key=lambda month: month.low):
        some = list(alike)
        piece += some
        most += sum(month.most_changes for month in some)
        if most >= enough or len(piece) >= _MOST_MONTHS:
            yield piece
            piece, most = [], 0
    if piece:
        yield piece


def changed_stops(connection: Connection, page: ChangedRows) -> list[dict[str, Any]]:
    """
    Give a page's changes as answers carry them: what became of it, and the stop with all its columns.
    """
    told = []
    for row, values in zip(page.rows, rows_in_words(connection, page.rows), strict=True):
        month = page.months[row.force_code, row.month]
        revision = month.old if row.change is Change.WITHDRAWN else month.new
        assert revision is not None  # it serves the row
        told.append(
            {
                "change": row.change.value,
                "stop": stop_json(
                    values, is_month_doubled=revision.is_doubled, is_month_date_only=revision.is_date_only
                ),
            }
        )
    return told
