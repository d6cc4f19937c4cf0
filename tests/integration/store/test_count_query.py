"""
Counts of older snapshots, after the months that they were of have been restated; and how a count is planned.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

import pytest

from builders.archives import sample_month
from builders.ingests import bring_in, edition
from builders.sample_rows import csv_stops
from stopsearch.domain.filters import RevisionState, StopFilter
from stopsearch.domain.grouping import Group
from stopsearch.domain.months import Month
from stopsearch.flows.count_stops import count_stops, count_total
from stopsearch.store.count_query import CountedFrom, month_code, plan_count
from stopsearch.store.database import Database
from stopsearch.store.snapshots import Snapshot, current_snapshot

pytestmark = pytest.mark.integration

FORCE, MONTH = "durham", "2020-02"
EARLIER = sample_month(FORCE, MONTH, edition="2020-02")
LATER = sample_month(FORCE, MONTH, edition="2021-11")
OTHER = sample_month("suffolk", MONTH)

Row = dict[str, Any]

# One for each source: what is served of a snapshot must be told by all of them alike.
GROUPINGS: dict[CountedFrom, tuple[Group, ...]] = {
    CountedFrom.REVISIONS: (Group.FORCE, Group.MONTH),
    CountedFrom.STOP_TOTAL: (Group.FORCE, Group.OUTCOME),
    CountedFrom.STOP_COUNT: (Group.OUTCOME, Group.SELF_DEFINED_ETHNIC_GROUP, Group.AGE_RANGE),
    CountedFrom.ROWS: (Group.LEGISLATION, Group.OUTCOME, Group.HOUR),
}


@pytest.mark.parametrize(
    ("told_apart", "needs_rows", "planned"),
    [
        ((), False, CountedFrom.REVISIONS),
        (("force", "month"), False, CountedFrom.REVISIONS),
        (("force", "month", "legislation"), False, CountedFrom.STOP_TOTAL),
        (("outcome",), False, CountedFrom.STOP_TOTAL),
        (("hour",), False, CountedFrom.STOP_TOTAL),
        (("month", "outcome", "gender"), False, CountedFrom.STOP_COUNT),
        (("outcome", "legislation"), False, CountedFrom.ROWS),
        (("gender", "weekday"), False, CountedFrom.ROWS),
        ((), True, CountedFrom.ROWS),
        (("gender",), True, CountedFrom.ROWS),
    ],
)
def test_the_cheapest_source_that_can_tell_is_planned(
    told_apart: Collection[str], needs_rows: bool, planned: CountedFrom
) -> None:
    assert plan_count(told_apart, needs_rows=needs_rows) is planned


def test_each_month_has_a_code_of_its_own() -> None:
    months = [Month(2000, 1).plus(number) for number in range(12_000)]

    codes = [month_code(month) for month in months]
    assert len(set(codes)) == len(months)
    assert 0 <= min(codes) <= max(codes) < 2**15  # they travel in two bytes


def counts_of(database: Database, snapshot: Snapshot, asked: StopFilter, by: tuple[Group, ...]) -> dict[Any, int]:
    with database.connect(autocommit=True) as connection:
        return {row[:-1]: row[-1] for row in count_stops(connection, snapshot, asked, by).rows()}


def served_now(database: Database) -> Snapshot:
    with database.connect(autocommit=True) as connection:
        return current_snapshot(connection)[0]


def rows_of(*bodies: tuple[str, bytes]) -> list[Row]:
    return [row for force, body in bodies for row in csv_stops(force, MONTH, body)]


def expected(rows: list[Row], by: tuple[Group, ...]) -> Counter[tuple[Any, ...]]:
    return Counter(tuple(row[group] for group in by) for row in rows)


def without(rows: list[Row], taken: list[Row]) -> list[Row]:
    """
    Give the rows that are left of a multiset when another is taken from it.
    """
    left = Counter(map(str, rows)) - Counter(map(str, taken))
    by_text = {str(row): row for row in rows}
    return [by_text[text] for text in left.elements()]


def test_an_older_snapshot_counts_what_it_served(database: Database) -> None:
    assert EARLIER != LATER
    moments = [
        ([(FORCE, EARLIER)], rows_of((FORCE, EARLIER))),
        ([(FORCE, LATER)], rows_of((FORCE, LATER))),
        ([("suffolk", OTHER), (FORCE, EARLIER)], rows_of((FORCE, EARLIER), ("suffolk", OTHER))),
    ]
    snapshots = []
    for number, (bodies, _) in enumerate(moments):
        # The last of them brings the first edition back: its stops have two rows each where they were withdrawn.
        published = f"202{2 + number}-01"
        bring_in(database, *(edition(body, force=force, month=MONTH, published=published) for force, body in bodies))
        snapshots.append(served_now(database))

    assert len({snapshot.id for snapshot in snapshots}) == 3
    assert max(revision.number for revision in snapshots[-1].revisions) == 3
    for snapshot, (_, rows) in zip(snapshots, moments, strict=True):
        for source, by in GROUPINGS.items():
            with database.connect(autocommit=True) as connection:
                counts = count_stops(connection, snapshot, StopFilter(), by)
            assert counts.counted_from is source
            assert {row[:-1]: row[-1] for row in counts.rows()} == expected(rows, by), source
            # Rows tell it too, whatever is planned.
            with database.connect(autocommit=True) as connection:
                by_rows = count_stops(connection, snapshot, StopFilter(), by, source=CountedFrom.ROWS)
            assert list(by_rows.rows()) == list(counts.rows())


def test_restated_and_withdrawn_stops_are_those_that_differ_between_the_editions(database: Database) -> None:
    first, second = rows_of((FORCE, EARLIER)), rows_of((FORCE, LATER))
    bring_in(database, edition(EARLIER, force=FORCE, month=MONTH, published="2022-01"))
    before = served_now(database)
    bring_in(database, edition(LATER, force=FORCE, month=MONTH, published="2023-01"))
    after = served_now(database)
    by = (Group.LEGISLATION, Group.OUTCOME)

    restated, withdrawn = (StopFilter(revision_state=RevisionState(state)) for state in ("restated", "withdrawn"))
    assert counts_of(database, after, restated, by) == expected(without(second, first), by) != {}
    assert counts_of(database, after, withdrawn, by) == expected(without(first, second), by) != {}
    # Of the snapshot before, nothing was restated and nothing withdrawn, whatever came later.
    assert counts_of(database, before, restated, by) == counts_of(database, before, withdrawn, by) == {}


def test_a_withdrawn_stop_that_came_back_is_not_withdrawn(database: Database) -> None:
    for published, body in (("2022-01", EARLIER), ("2023-01", LATER), ("2024-01", EARLIER)):
        bring_in(database, edition(body, force=FORCE, month=MONTH, published=published))
    bring_in(database, edition(OTHER, force="suffolk", month=MONTH))
    first, second = rows_of((FORCE, EARLIER)), rows_of((FORCE, LATER))

    with database.connect(autocommit=True) as connection:
        snapshot = current_snapshot(connection)[0]
        withdrawn = count_total(connection, snapshot, StopFilter(revision_state=RevisionState.WITHDRAWN))
        served = count_total(connection, snapshot, StopFilter(forces=(FORCE,), located=True))
    assert withdrawn.stops == len(without(second, first)) > 0
    assert served.stops == sum(row["latitude"] is not None for row in first)
    assert served.counted_from is CountedFrom.ROWS


def test_of_a_force_that_is_not_held_no_total_is_told(database: Database) -> None:
    bring_in(database, edition(OTHER, force="suffolk", month=MONTH))
    snapshot = served_now(database)

    assert counts_of(database, snapshot, StopFilter(forces=(FORCE,)), (Group.FORCE,)) == {}
    assert counts_of(database, snapshot, StopFilter(forces=(FORCE,), labels={"gender": ("Male",)}), ()) == {}
    assert counts_of(database, snapshot, StopFilter(forces=(FORCE,), located=True), ()) == {}
    assert counts_of(
        database,
        snapshot,
        StopFilter(labels={"type": ("Vehicle search",), "age_range": ("under 10",)}, located=True),
        (),
    ) == {(): 0}


def test_nothing_is_counted_where_nothing_is_held(database: Database) -> None:
    snapshot = served_now(database)

    for by in (*GROUPINGS.values(), tuple(Group)[:3]):
        assert counts_of(database, snapshot, StopFilter(), by) == {}
    assert counts_of(database, snapshot, StopFilter(), ()) == {}
