"""
The statements of a page: both ways to tell a snapshot's stops give the same rows, and indexes lead to them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
import pytest

from builders.ingests import bring_in, edition
from builders.standin import make_api_record
from stopsearch.domain.filters import Circle, RevisionState, StopFilter
from stopsearch.domain.months import Month
from stopsearch.flows.find_stops import Pages, find_stops
from stopsearch.store.database import Database, outside_database
from stopsearch.store.served_numbers import ServedNumbers, served_numbers
from stopsearch.store.snapshots import Snapshot, current_snapshot, find_snapshot
from stopsearch.store.stop_query import PageQuery, Position, Told

if TYPE_CHECKING:
    from conftest import PostgresServer

pytestmark = pytest.mark.integration

_FORCES = ("durham", "kent", "essex", "btp")
_MONTHS = ("2019-02", "2019-03", "2020-02", "2020-12")


@pytest.fixture(scope="module")
def held_template(
    postgres_server: PostgresServer, migrated_template: str, database_names: Iterator[str]
) -> Iterator[str]:
    """
    Four forces by four months, each revised once: two of its six stops are taken back, and one is added.
    """
    name = next(database_names)
    database = outside_database(postgres_server.create(name, template=migrated_template))
    for part in (range(6), range(2, 7)):
        bring_in(
            database,
            *(
                edition([_record(month, number) for number in part], force=force, month=month)
                for force in _FORCES
                for month in _MONTHS
            ),
        )
    database.close()
    yield name
    postgres_server.drop(name)


@pytest.fixture
def held(postgres_server: PostgresServer, held_template: str, database_names: Iterator[str]) -> Iterator[Database]:
    name = next(database_names)
    database = outside_database(postgres_server.create(name, template=held_template))
    yield database
    database.close()
    postgres_server.drop(name)


def _record(month: str, number: int) -> dict[str, Any]:
    place = None if number % 3 == 0 else make_api_record()["location"]
    return make_api_record(datetime=f"{month}-{number + 1:02d}T12:00:00+00:00", location=place)


@pytest.fixture
def connection(held: Database) -> Iterator[psycopg.Connection]:
    with held.connect(autocommit=True) as connection:
        yield connection


_FILTERS = [
    StopFilter(),
    StopFilter(forces=("kent",)),
    StopFilter(forces=("kent", "durham")),
    StopFilter(forces=_FORCES),
    StopFilter(forces=("kent", "surrey")),
    StopFilter(first=Month.parse("2019-03"), last=Month.parse("2020-02")),
    StopFilter(forces=("essex", "btp"), first=Month.parse("2020-01"), located=True),
    StopFilter(datetime_from=datetime(2019, 3, 3, 12, tzinfo=UTC), datetime_before=datetime(2020, 2, 5, tzinfo=UTC)),
    StopFilter(circle=Circle(latitude=52.63, longitude=-1.13, radius_m=500), labels={"gender": ("Male", "none")}),
    StopFilter(forces=("surrey",)),
    StopFilter(first=Month.parse("2031-01")),
]


@pytest.mark.parametrize("asked", _FILTERS, ids=range(len(_FILTERS)))
@pytest.mark.parametrize("is_descending", [False, True])
def test_both_ways_to_tell_a_snapshot_give_the_same_pages(
    connection: psycopg.Connection, held: Database, asked: StopFilter, is_descending: bool
) -> None:
    snapshot, generation = current_snapshot(connection)
    pages = Pages(snapshot, asked, limit=3, is_descending=is_descending)

    async def walk_both() -> int:
        rows, after = 0, None
        reading = await psycopg.AsyncConnection.connect(held.conninfo, autocommit=True)
        async with reading:
            while True:
                seen, current = await pages.find_current(reading, after)
                by_numbers = await pages.find_async(reading, after)
                assert seen == generation
                assert current.stops() == by_numbers.stops() == pages.find(connection, after).stops()
                assert current.last == by_numbers.last
                rows += len(current.rows)
                after = current.last
                if after is None:
                    return rows

    count = asyncio.run(walk_both())
    assert (count == 0) == (asked in _FILTERS[-2:])


def test_the_generation_is_told_by_every_page(connection: psycopg.Connection, held: Database) -> None:
    """
    By one that holds nothing too, and by the one that saw a later state than its snapshot.
    """
    snapshot, generation = current_snapshot(connection)
    bring_in(held, edition([_record("2021-01", 1)], force="kent", month="2021-01"))

    async def seen(asked: StopFilter) -> tuple[int, int]:
        async with await psycopg.AsyncConnection.connect(held.conninfo, autocommit=True) as reading:
            seen, page = await Pages(snapshot, asked).find_current(reading)
            return seen, len(page.rows)

    assert asyncio.run(seen(StopFilter())) == (generation + 1, 81)
    assert asyncio.run(seen(StopFilter(forces=("surrey",)))) == (generation + 1, 0)


@pytest.mark.parametrize("state", RevisionState)
def test_states_other_than_served_are_told_by_numbers(connection: psycopg.Connection, state: RevisionState) -> None:
    snapshot, _ = current_snapshot(connection)
    asked = StopFilter(revision_state=state)
    expected = {RevisionState.SERVED: 5, RevisionState.RESTATED: 1, RevisionState.WITHDRAWN: 2}[state]
    assert len(find_stops(connection, snapshot, asked).rows) == expected * len(_FORCES) * len(_MONTHS)
    assert Pages(snapshot, asked).can_be_current == (state is RevisionState.SERVED)


def test_a_page_is_exact_whatever_came_since(connection: psycopg.Connection, held: Database) -> None:
    snapshot, _ = current_snapshot(connection)
    before = find_stops(connection, snapshot, StopFilter(), limit=1000).stops()
    bring_in(
        held,
        edition([_record("2019-02", 9)], force="durham", month="2019-02"),
        edition([_record("2019-01", 1)], force="durham", month="2019-01"),
        edition([_record("2021-01", 1)], force="essex", month="2021-01"),
        edition([_record("2019-02", 1)], force="surrey", month="2019-02"),
    )
    assert find_stops(connection, snapshot, StopFilter(), limit=1000).stops() == before
    assert len(before) == 80


@pytest.mark.parametrize(
    ("asked", "index"),
    [
        (StopFilter(), "ix_stop_datetime_id"),
        (StopFilter(forces=("kent",)), "ix_stop_force_code_datetime_id"),
        (StopFilter(forces=("kent", "durham")), "ix_stop_force_code_datetime_id"),
        (StopFilter(forces=("kent",), first=Month.parse("2020-02")), "ix_stop_force_code_datetime_id"),
    ],
)
@pytest.mark.parametrize("told", Told)
@pytest.mark.parametrize("is_descending", [False, True])
def test_a_page_is_read_in_the_order_of_an_index_from_where_it_begins(
    connection: psycopg.Connection, asked: StopFilter, index: str, told: Told, is_descending: bool
) -> None:
    """
    Nothing is read before the page's place, nor sorted beyond what a page of each force holds: so depth costs nothing.
    """
    snapshot, _ = current_snapshot(connection)
    # In a table as small as this any plan would do; what matters is that this one is possible.
    for setting in ("enable_seqscan", "enable_bitmapscan", "enable_sort", "enable_incremental_sort"):
        connection.execute(f"SET {setting} = off")
    place = Position(at=datetime(2020, 2, 4, 12, tzinfo=UTC), id=UUID(int=0))
    statement = PageQuery(snapshot, asked, limit=3, is_descending=is_descending).statement(told, place)
    row = connection.execute(b"EXPLAIN (ANALYZE, FORMAT JSON) " + statement.text, statement.parameters).fetchone()
    assert row is not None
    scans = [node for node in _nodes(row[0][0]["Plan"]) if node.get("Relation Name") == "stop"]
    assert scans
    for scan in scans:
        assert scan["Index Name"] == index
        assert "ROW(stop" in scan["Index Cond"] or "ROW(datetime" in scan["Index Cond"]
        # The sixteen force-months have 112 rows, of which few lie beyond the place and none before it is looked at.
        assert scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0) <= 12


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


def test_a_month_range_is_entered_where_its_stops_begin(connection: psycopg.Connection) -> None:
    snapshot, _ = current_snapshot(connection)
    asked = StopFilter(first=Month.parse("2020-02"), last=Month.parse("2020-02"))
    statement = PageQuery(snapshot, asked, limit=100, is_descending=False).statement(Told.AS_CURRENT)
    assert statement.parameters["start"] == datetime(2020, 2, 3, 12, tzinfo=UTC)
    assert statement.parameters["before"] == datetime(2020, 2, 7, 12, 0, 0, 1, tzinfo=UTC)


def test_nothing_is_searched_for_what_is_not_held(connection: psycopg.Connection) -> None:
    snapshot, _ = current_snapshot(connection)
    for asked in (StopFilter(forces=("surrey",)), StopFilter(forces=("kent",), first=Month.parse("2031-01"))):
        for told in Told:
            statement = PageQuery(snapshot, asked, limit=3, is_descending=False).statement(told)
            row = connection.execute(b"EXPLAIN (FORMAT JSON) " + statement.text, statement.parameters).fetchone()
            assert row is not None
            assert not [node for node in _nodes(row[0][0]["Plan"]) if node.get("Relation Name") == "stop"]


def test_values_are_bound_and_never_part_of_the_text(connection: psycopg.Connection) -> None:
    snapshot, _ = current_snapshot(connection)
    odd = "'; DROP TABLE stop; --"
    asked = StopFilter(operation_name=odd, labels={"outcome": ("Arrest",)}, forces=("kent",))
    for told in Told:
        statement = PageQuery(snapshot, asked, limit=9, is_descending=False).statement(told)
        assert b"DROP" not in statement.text
        assert statement.parameters["operation_name"] == odd
        assert statement.text.endswith(b"LIMIT 10) AS page ON true")
    assert find_stops(connection, snapshot, asked).rows == []


def test_texts_do_not_depend_on_what_a_connection_prefers(connection: psycopg.Connection) -> None:
    snapshot, _ = current_snapshot(connection)
    usual = find_stops(connection, snapshot, StopFilter()).stops()
    connection.execute("SET DateStyle = 'German'")
    connection.execute("SET extra_float_digits = -12")
    connection.execute("SET TimeZone = 'Asia/Tokyo'")
    assert find_stops(connection, snapshot, StopFilter()).stops() == usual


def test_slots_are_told_apart_over_all_years(connection: psycopg.Connection) -> None:
    """
    Months begin 28 days apart at least: over a century no two fall into one slot, and the server counts as we do.
    """
    snapshot, _ = current_snapshot(connection)
    revision = snapshot.revisions[0]
    months = [Month(year, number) for year in range(2010, 2111) for number in range(1, 13)]
    many = [_moved(revision, force_code=code, month=month) for code in (3, 5) for month in months]
    numbers = ServedNumbers(many)
    found = connection.execute(
        """
        SELECT (%(numbers)s::smallint[])[
            (%(force)s - %(first)s) * %(width)s + (month - %(base)s::date) / 28 + 1
        ] FROM unnest(%(months)s::date[]) AS month
        """,
        {
            "numbers": numbers.numbers,
            "force": 5,
            "first": numbers.first_force,
            "width": numbers.width,
            "base": numbers.first_month,
            "months": [month.first_day for month in months],
        },
    ).fetchall()
    assert [number for (number,) in found] == [each.number for each in many if each.force_code == 5]
    assert len({each.number for each in many}) > 1000


def _moved(revision: Any, *, force_code: int, month: Month) -> Any:
    return replace(revision, force_code=force_code, month=month, number=month.ordinal % 32_000 + force_code)


def test_the_array_is_made_once_for_a_snapshot(connection: psycopg.Connection) -> None:
    snapshot, _ = current_snapshot(connection)
    again: Snapshot = find_snapshot(connection, snapshot.id)
    assert served_numbers(snapshot) is served_numbers(snapshot)
    assert served_numbers(again) is not served_numbers(snapshot)
    assert served_numbers(snapshot).numbers is served_numbers(snapshot).numbers


def test_rows_are_told_as_json_has_them(connection: psycopg.Connection) -> None:
    snapshot, _ = current_snapshot(connection)
    page = find_stops(connection, snapshot, StopFilter(), fields=("id", "datetime", "latitude"))
    for text, stop in zip(page.words.json_rows(page.rows), page.stops(), strict=True):
        assert json.loads(text) == stop
        assert list(stop) == ["id", "datetime", "latitude"]
