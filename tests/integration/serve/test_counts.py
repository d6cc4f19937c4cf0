"""
Totals by every group and filter, against plain counts of the same real rows by the standard library.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import combinations
from math import asin, cos, radians, sin, sqrt
from typing import Any

import pytest
from psycopg import Connection

from builders.sample_rows import sample_rows
from stopsearch.domain.dimensions import COUNTED_TOGETHER
from stopsearch.domain.errors import BadQuery
from stopsearch.domain.filters import Box, Circle, StopFilter
from stopsearch.domain.grouping import Group
from stopsearch.domain.months import Month
from stopsearch.flows.count_stops import Counts, count_stops, count_total
from stopsearch.store.count_query import CountedFrom
from stopsearch.store.database import Database
from stopsearch.store.snapshots import Snapshot, current_snapshot

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("stocked")]

Row = dict[str, Any]
Wanted = Callable[[Row], bool]

# The order of answers, written down a second time where it is not that of the alphabet or of time.
ORDER: dict[str, tuple[Any, ...]] = {
    "type": ("Person search", "Vehicle search", "Person and Vehicle search"),
    "gender": ("Male", "Female", "Other", None),
    "age_range": ("under 10", "10-17", "18-24", "25-34", "over 34", None),
    "self_defined_ethnic_group": ("White", "Mixed", "Asian", "Black", "Other", None),
    "officer_defined_ethnic_group": ("White", "Black", "Asian", "Other", "Mixed", None),
    "officer_defined_ethnicity": ("White", "Black", "Asian", "Other", "Mixed", None),
    "outcome_group": ("No further action", "Arrest", "Out-of-court disposal", "Summons or charge", None),
    "hour": (*range(24), None),
    "weekday": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
}


@pytest.fixture
def reading(stocked: Database) -> Iterator[Connection[Any]]:
    """
    A connection to the sample.
    """
    with stocked.connect(autocommit=True) as connection:
        yield connection


@pytest.fixture
def snapshot(reading: Connection[Any]) -> Snapshot:
    """
    What is served of the sample.
    """
    return current_snapshot(reading)[0]


def expected(by: Sequence[str], wanted: Wanted = lambda _: True) -> Counter[tuple[Any, ...]]:
    return Counter(tuple(stop[group] for group in by) for stop in sample_rows().stops if wanted(stop))


def found(counts: Counts) -> dict[tuple[Any, ...], int]:
    rows = list(counts.rows())
    by_key = {row[:-1]: row[-1] for row in rows}
    assert len(by_key) == len(rows)  # no combination is listed twice
    assert 0 not in by_key.values()
    return by_key


@pytest.mark.parametrize("group", Group)
def test_each_group_alone_counts_what_the_rows_say(reading: Connection[Any], snapshot: Snapshot, group: Group) -> None:
    counts = count_stops(reading, snapshot, StopFilter(), (group,))

    assert found(counts) == expected((group,))
    values = [value for value, _ in counts.rows()]
    if group in ORDER:
        assert values == [value for value in ORDER[group] if value in values]
    elif group.dimension is None:
        assert values == sorted(values)


def test_every_pair_of_groups_counts_what_the_rows_say(reading: Connection[Any], snapshot: Snapshot) -> None:
    for by in combinations(Group, 2):
        assert found(count_stops(reading, snapshot, StopFilter(), by)) == expected(by), by


@pytest.mark.parametrize("by", list(combinations(Group, 3))[::17], ids="-".join)
def test_three_groups_count_what_the_rows_say(
    reading: Connection[Any], snapshot: Snapshot, by: tuple[Group, ...]
) -> None:
    assert found(count_stops(reading, snapshot, StopFilter(), by)) == expected(by)


def test_rows_are_sorted_by_the_groups_in_their_order(reading: Connection[Any], snapshot: Snapshot) -> None:
    by = (Group.SELF_DEFINED_ETHNIC_GROUP, Group.MONTH, Group.FORCE)
    rows = [row[:-1] for row in count_stops(reading, snapshot, StopFilter(), by).rows()]

    groups = ORDER["self_defined_ethnic_group"]
    assert rows == sorted(rows, key=lambda row: (groups.index(row[0]), row[1], row[2]))
    assert rows[-1][0] is None


def sources(by: Sequence[Group], labels: Sequence[str] = ()) -> list[CountedFrom]:
    """
    Name every source that can tell these groups apart.
    """
    dimensions = {group.dimension for group in by if group.dimension} | set(labels)
    able = [CountedFrom.ROWS]
    if not dimensions:
        able.append(CountedFrom.REVISIONS)
    if len(dimensions) == 1:
        able.append(CountedFrom.STOP_TOTAL)
    if dimensions <= set(COUNTED_TOGETHER):
        able.append(CountedFrom.STOP_COUNT)
    return able


@pytest.mark.parametrize(
    ("by", "labels", "planned"),
    [
        ((), {}, CountedFrom.REVISIONS),
        ((Group.FORCE, Group.MONTH), {}, CountedFrom.REVISIONS),
        ((Group.QUARTER, Group.YEAR), {}, CountedFrom.REVISIONS),
        ((Group.FORCE, Group.MONTH, Group.SELF_DEFINED_ETHNIC_GROUP), {}, CountedFrom.STOP_TOTAL),
        ((Group.OUTCOME, Group.OUTCOME_GROUP), {}, CountedFrom.STOP_TOTAL),
        ((Group.YEAR, Group.HOUR), {}, CountedFrom.STOP_TOTAL),
        ((Group.FORCE,), {"legislation": ("none", "Firearms Act 1968 (section 47)")}, CountedFrom.STOP_TOTAL),
        ((Group.OUTCOME,), {"outcome_group": ("Arrest", "none")}, CountedFrom.STOP_TOTAL),
        ((Group.FORCE, Group.GENDER, Group.OUTCOME_GROUP), {}, CountedFrom.STOP_COUNT),
        ((Group.GENDER,), {"self_defined_ethnic_group": ("none", "Black")}, CountedFrom.STOP_COUNT),
        ((Group.MONTH,), {"type": ("Person search",), "age_range": ("none", "10-17")}, CountedFrom.STOP_COUNT),
        ((Group.LEGISLATION, Group.OBJECT_OF_SEARCH), {}, CountedFrom.ROWS),
        ((Group.HOUR, Group.WEEKDAY, Group.GENDER), {}, CountedFrom.ROWS),
        ((Group.WEEKDAY,), {"object_of_search": ("Fireworks", "none")}, CountedFrom.ROWS),
    ],
)
def test_every_source_that_can_tell_gives_the_same(
    reading: Connection[Any],
    snapshot: Snapshot,
    by: tuple[Group, ...],
    labels: dict[str, tuple[str, ...]],
    planned: CountedFrom,
) -> None:
    asked = StopFilter(labels=labels)
    wanted = expected(by, lambda stop: all((stop[name] or "none") in words for name, words in labels.items()))
    fields = {"outcome_group": "outcome", "self_defined_ethnic_group": "self_defined_ethnicity"}
    able = sources(by, [fields.get(name, name) for name in labels])

    assert count_stops(reading, snapshot, asked, by).counted_from == planned
    assert planned in able
    for source in able:
        counts = count_stops(reading, snapshot, asked, by, source=source)
        assert counts.counted_from == source
        assert found(counts) == wanted, source


def metres(stop: Row, latitude: float, longitude: float) -> float:
    here, there = radians(stop["latitude"]), radians(latitude)
    east = radians(stop["longitude"] - longitude)
    half = sin((here - there) / 2) ** 2 + cos(here) * cos(there) * sin(east / 2) ** 2
    return 2 * 6_371_008.8 * asin(sqrt(half))


NOON = datetime(2020, 5, 17, 11, tzinfo=UTC)  # 12:00 in London
AUTUMN = datetime(2020, 10, 25, 1, tzinfo=UTC)  # summer time ends at this instant
FILTERS: dict[str, tuple[StopFilter, Wanted]] = {
    "forces": (
        StopFilter(forces=("suffolk", "durham", "kent")),
        lambda stop: stop["force"] in ("suffolk", "durham", "kent"),
    ),
    "months": (
        StopFilter(first=Month(2019, 12), last=Month(2020, 3)),
        lambda stop: "2019-12" <= stop["month"] <= "2020-03",
    ),
    "from only": (StopFilter(first=Month(2020, 11)), lambda stop: stop["month"] >= "2020-11"),
    "before any": (StopFilter(last=Month(2018, 12)), lambda _: False),
    "time": (
        StopFilter(datetime_from=NOON, datetime_before=AUTUMN),
        lambda stop: NOON <= stop["datetime"] < AUTUMN,
    ),
    "gender not given": (StopFilter(labels={"gender": ("none",)}), lambda stop: stop["gender"] is None),
    "two parts": (
        StopFilter(labels={"gender": ("Female", "Other"), "self_defined_ethnic_group": ("Mixed", "none")}),
        lambda stop: stop["gender"] in ("Female", "Other") and stop["self_defined_ethnic_group"] in ("Mixed", None),
    ),
    "label and its group": (
        StopFilter(labels={"outcome": ("Arrest", "Caution (simple or conditional)"), "outcome_group": ("Arrest",)}),
        lambda stop: stop["outcome"] == "Arrest",
    ),
    "object": (
        StopFilter(labels={"object_of_search": ("Stolen goods",), "type": ("Person search",)}),
        lambda stop: stop["object_of_search"] == "Stolen goods" and stop["type"] == "Person search",
    ),
    "linked": (
        StopFilter(flags={"outcome_linked_to_object_of_search": True}),
        lambda stop: stop["outcome_linked_to_object_of_search"] is True,
    ),
    "operation not said": (StopFilter(flags={"operation": None}), lambda stop: stop["operation"] is None),
    "no removal": (
        StopFilter(flags={"removal_of_more_than_outer_clothing": False}, forces=("suffolk", "kent", "dorset")),
        lambda stop: (
            stop["removal_of_more_than_outer_clothing"] is False and stop["force"] in ("suffolk", "kent", "dorset")
        ),
    ),
    "operation that nobody named": (StopFilter(operation_name="Sceptre"), lambda _: False),
    "not located": (StopFilter(located=False), lambda stop: stop["latitude"] is None),
    "box": (
        StopFilter(box=Box(west=-1.6, south=53.3, east=-1.4, north=53.5)),
        lambda stop: (
            stop["latitude"] is not None and 53.3 <= stop["latitude"] <= 53.5 and -1.6 <= stop["longitude"] <= -1.4
        ),
    ),
    "circle": (
        StopFilter(circle=Circle(latitude=53.38, longitude=-1.47, radius_m=1500)),
        lambda stop: stop["latitude"] is not None and metres(stop, 53.38, -1.47) <= 1500,
    ),
    "date-only": (StopFilter(date_only=True), lambda stop: stop["is_month_date_only"]),
    "not date-only, of months": (
        StopFilter(date_only=False, first=Month(2020, 2), last=Month(2020, 8)),
        lambda stop: not stop["is_month_date_only"] and "2020-02" <= stop["month"] <= "2020-08",
    ),
    "doubled": (StopFilter(doubled=True), lambda stop: stop["is_month_doubled"]),
    "doubled, by rows": (
        StopFilter(doubled=True, located=True),
        lambda stop: stop["is_month_doubled"] and stop["latitude"] is not None,
    ),
}
GROUPINGS = [
    (),
    (Group.FORCE, Group.MONTH),
    (Group.QUARTER, Group.OUTCOME_GROUP),
    (Group.HOUR,),
    (Group.GENDER, Group.SELF_DEFINED_ETHNIC_GROUP, Group.SELF_DEFINED_ETHNICITY),
    (Group.WEEKDAY, Group.LEGISLATION),
]


@pytest.mark.parametrize("name", FILTERS)
def test_each_filter_lets_the_same_rows_through_whatever_they_are_grouped_by(
    reading: Connection[Any], snapshot: Snapshot, name: str
) -> None:
    asked, wanted = FILTERS[name]
    stops = sum(map(wanted, sample_rows().stops))

    assert count_total(reading, snapshot, asked).stops == stops
    for by in GROUPINGS:
        counted = found(count_stops(reading, snapshot, asked, by)) if by or stops else {}
        assert counted == expected(by, wanted), by


def test_more_than_three_groups_or_one_twice_are_refused(reading: Connection[Any], snapshot: Snapshot) -> None:
    for by in (tuple(Group)[:4], (Group.FORCE, Group.FORCE)):
        with pytest.raises(BadQuery) as caught:
            count_stops(reading, snapshot, StopFilter(), by)
        assert caught.value.faults[0][0] == "by"


def test_the_share_of_unknown_ethnicity_is_that_of_what_was_counted(
    reading: Connection[Any], snapshot: Snapshot
) -> None:
    stops = [stop for stop in sample_rows().stops if stop["force"] == "suffolk"]
    unknown = sum(stop["self_defined_ethnic_group"] is None for stop in stops) / len(stops)
    unseen = sum(stop["officer_defined_ethnicity"] is None for stop in stops) / len(stops)
    asked = StopFilter(forces=("suffolk",))

    def shares(*by: Group) -> dict[str, float | None]:
        return count_stops(reading, snapshot, asked, by).unknown_shares()

    assert 0 < unknown < 1
    # "Not stated" is a label of its own, and as unknown as nothing.
    assert shares(Group.SELF_DEFINED_ETHNICITY) == {"self_defined_ethnicity": unknown}
    assert shares(Group.FORCE, Group.SELF_DEFINED_ETHNIC_GROUP) == {"self_defined_ethnicity": unknown}
    assert shares(Group.OFFICER_DEFINED_ETHNICITY, Group.SELF_DEFINED_ETHNIC_GROUP) == {
        "officer_defined_ethnicity": unseen,
        "self_defined_ethnicity": unknown,
    }
    assert shares(Group.FORCE, Group.GENDER) == {}
    nothing = count_stops(reading, snapshot, StopFilter(last=Month(2018, 1)), (Group.OFFICER_DEFINED_ETHNICITY,))
    assert nothing.unknown_shares() == {"officer_defined_ethnicity": None}
