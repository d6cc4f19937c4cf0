"""
What tells two snapshots apart: the force-months whose revisions differ, and in them the rows that only one has.

An id begins with its month and force, so that changes walked in the order of ids are walked force-month by
force-month, and a page can begin anywhere at the price of one look into the index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from psycopg import Connection, sql

from stopsearch.domain.months import Month
from stopsearch.store.as_of import ServedRevision
from stopsearch.store.export_rows import COLUMNS

# Withdrawn comes before added: a stop whose values changed is taken away first, and then brought anew.
_PLACES = {"withdrawn": 0, "added": 1}

# All that a reader sees of a stop. When a row came and went, and its record's number, are no part of it.
_VALUES: tuple[str, ...] = (
    "datetime",
    "local_date",
    "type_code",
    "operation",
    "operation_name_code",
    "latitude",
    "longitude",
    "is_far_from_force",
    "gender_code",
    "age_range_code",
    "self_defined_ethnicity_code",
    "officer_defined_ethnicity_code",
    "legislation_code",
    "object_of_search_code",
    "outcome_code",
    "outcome_linked_to_object_of_search",
    "removal_of_more_than_outer_clothing",
)


class Change(StrEnum):
    """
    What became of a stop between two snapshots.
    """

    WITHDRAWN = "withdrawn"  # the earlier one has it, so or at all, and the later one has not
    ADDED = "added"  # the later one has it, and the earlier one has not, so or at all

    @property
    def place(self) -> int:
        """
        Give its place among the changes of one id.
        """
        return _PLACES[self.value]


@dataclass(frozen=True, kw_only=True)
class MonthChange:
    """
    One force-month whose revision differs between two snapshots; at most one of the two has none.
    """

    force: str
    force_code: int
    month: Month
    low: UUID  # the lowest and the highest id that a stop of it can have
    high: UUID
    old: ServedRevision | None
    new: ServedRevision | None
    most_changes: int  # an upper bound, for cutting the walk into pieces

    @property
    def is_whole(self) -> bool:
        """
        Tell whether every stop of it reads differently: what is told of the whole month is told of each stop.
        """
        return (
            self.old is not None
            and self.new is not None
            and (self.old.is_doubled, self.old.is_date_only) != (self.new.is_doubled, self.new.is_date_only)
        )


@dataclass(frozen=True, kw_only=True)
class ChangedRow:
    """
    One change: the row of `stop` that was withdrawn or added, told by its id and first revision.
    """

    id: UUID
    change: Change
    force_code: int
    month: Month
    first_revision: int


_CHANGES = sql.SQL(
    """
    WITH differing AS (
        SELECT * FROM unnest(
            %(codes)s::smallint[], %(lows)s::uuid[], %(highs)s::uuid[], %(olds)s::smallint[], %(news)s::smallint[],
            %(wholes)s::boolean[]
        ) AS differing (force_code, low, high, old_number, new_number, is_whole)
    ),
    touched AS MATERIALIZED (
        SELECT stop.*, lives.was, lives.is_now, differing.is_whole
        FROM differing
        -- Fenced by OFFSET, so that each force-month is one look into the index of ids, whatever else might look cheap.
        CROSS JOIN LATERAL (
            SELECT * FROM stop WHERE stop.id BETWEEN greatest(differing.low, %(after_id)s) AND differing.high OFFSET 0
        ) AS stop
        CROSS JOIN LATERAL (SELECT
            stop.first_revision <= differing.old_number
                AND (stop.withdrawn_revision IS NULL OR stop.withdrawn_revision > differing.old_number),
            stop.first_revision <= differing.new_number
                AND (stop.withdrawn_revision IS NULL OR stop.withdrawn_revision > differing.new_number)
        ) AS lives (was, is_now)
        WHERE stop.force_code = differing.force_code
            AND (lives.was <> lives.is_now OR (lives.was AND differing.is_whole))
    )
    SELECT part.id, part.place, part.force_code, part.month, part.first_revision
    FROM (SELECT * FROM touched WHERE was) AS old
    FULL JOIN (SELECT * FROM touched WHERE is_now) AS new USING (id)
    CROSS JOIN LATERAL (VALUES
        (old.id, 0, old.force_code, old.month, old.first_revision),
        (new.id, 1, new.force_code, new.month, new.first_revision)
    ) AS part (id, place, force_code, month, first_revision)
    WHERE part.id IS NOT NULL
        AND (old.id IS NULL OR new.id IS NULL OR old.is_whole OR ROW({old_values}) IS DISTINCT FROM ROW({new_values}))
        AND (part.id, part.place) > (%(after_id)s, %(after_place)s)
    ORDER BY part.id, part.place
    LIMIT %(limit)s
    """
).format(
    old_values=sql.SQL(", ").join(sql.Identifier("old", name) for name in _VALUES),
    new_values=sql.SQL(", ").join(sql.Identifier("new", name) for name in _VALUES),
)


def changed_rows(
    connection: Connection,
    months: Sequence[MonthChange],
    *,
    after: tuple[UUID, Change] | None,
    limit: int,
) -> list[ChangedRow]:
    """
    Give the changes of some force-months, by id; of one id, what was withdrawn comes first.

    A row that went and came back with every value the same is no change.

    Args:
        after: Only those after this change.
    """
    rows = connection.execute(
        _CHANGES,
        {
            "codes": [month.force_code for month in months],
            "lows": [month.low for month in months],
            "highs": [month.high for month in months],
            "olds": [month.old.number if month.old else 0 for month in months],
            "news": [month.new.number if month.new else 0 for month in months],
            "wholes": [month.is_whole for month in months],
            "after_id": after[0] if after else UUID(int=0),
            "after_place": after[1].place if after else -1,
            "limit": limit,
        },
    )
    changes = {change.place: change for change in Change}
    return [
        ChangedRow(id=row[0], change=changes[row[1]], force_code=row[2], month=Month.of(row[3]), first_revision=row[4])
        for row in rows
    ]


def changes_at_most(
    connection: Connection, pairs: Sequence[tuple[ServedRevision | None, ServedRevision | None]]
) -> list[int]:
    """
    Give of each pair of revisions of one force-month how many changes there can be between them, at most.

    It is what the revisions between the two added and withdrew; none where our ledger says that nothing was.
    """
    known = [old or new for old, new in pairs]
    rows = connection.execute(
        """
        SELECT asked.place, coalesce(sum(revision.added + revision.withdrawn), 0)::bigint
        FROM unnest(%(codes)s::smallint[], %(months)s::date[], %(lows)s::smallint[], %(highs)s::smallint[])
            WITH ORDINALITY AS asked (force_code, month, low, high, place)
        LEFT JOIN revision ON revision.force_code = asked.force_code AND revision.month = asked.month
            AND revision.number > asked.low AND revision.number <= asked.high AND revision.standing = 'served'
        GROUP BY asked.place ORDER BY asked.place
        """,
        {
            "codes": [each.force_code for each in known if each is not None],
            "months": [each.month.first_day for each in known if each is not None],
            "lows": [min(_number(old), _number(new)) for old, new in pairs],
            "highs": [max(_number(old), _number(new)) for old, new in pairs],
        },
    )
    return [int(row[1]) for row in rows]


def _number(revision: ServedRevision | None) -> int:
    return revision.number if revision is not None else 0


# As exports give them; the flags of the whole month are the revision's.
WORDS: tuple[str, ...] = tuple(name for name in COLUMNS if name not in ("is_month_doubled", "is_month_date_only"))
_IN_WORDS = sql.SQL(
    """
    SELECT {columns}
    FROM unnest(%(ids)s::uuid[], %(firsts)s::smallint[]) WITH ORDINALITY AS asked (id, first_revision, place)
    JOIN stop_in_words ON stop_in_words.id = asked.id AND stop_in_words.first_revision = asked.first_revision
    ORDER BY asked.place
    """
).format(columns=sql.SQL(", ").join(sql.Identifier("stop_in_words", name) for name in WORDS))


def rows_in_words(connection: Connection, rows: Sequence[ChangedRow]) -> list[dict[str, Any]]:
    """
    Give the stops of some changes, in their order, as `WORDS` names their values.
    """
    found = connection.execute(
        _IN_WORDS, {"ids": [row.id for row in rows], "firsts": [row.first_revision for row in rows]}
    ).fetchall()
    assert len(found) == len(rows)  # rows are never deleted
    return [dict(zip(WORDS, row, strict=True)) for row in found]
