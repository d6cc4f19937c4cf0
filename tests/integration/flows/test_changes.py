"""
Changes between two snapshots: what is withdrawn and added leads exactly from the one to the other, also back.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from psycopg import Connection

from builders.ingests import TRIGGER, bring_in, edition, ingest_archives, settings_for
from builders.source_bodies import csv_body
from stopsearch.domain.filters import StopFilter
from stopsearch.domain.months import Month
from stopsearch.flows.changes import After, changed_stops, changes_between, differing_months
from stopsearch.flows.find_stops import find_stops
from stopsearch.flows.plan import Wanted
from stopsearch.flows.rebuild import revert
from stopsearch.sample import sample_archives
from stopsearch.store.database import Database
from stopsearch.store.snapshots import Snapshot, current_snapshot

pytestmark = pytest.mark.integration

EARLIER, LATER = sample_archives()
TWO_FORCES = Wanted(forces=("durham", "south-yorkshire"), first=Month(2020, 1), last=Month(2020, 2))

Stops = dict[str, dict[str, Any]]


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.connect(autocommit=True) as connection:
        yield connection


def now(connection: Connection) -> Snapshot:
    return current_snapshot(connection)[0]


def stops_of(connection: Connection, snapshot: Snapshot, asked: StopFilter | None = None) -> Stops:
    """
    Give every stop of a snapshot by id, as its pages tell them.
    """
    found: Stops = {}
    after = None
    while True:
        page = find_stops(connection, snapshot, asked or StopFilter(), limit=1000, after=after)
        found |= {stop["id"]: stop for stop in page.stops()}
        after = page.last
        if after is None:
            return found


def walk(
    connection: Connection, old: Snapshot, new: Snapshot, *, limit: int, asked: StopFilter | None = None
) -> list[dict[str, Any]]:
    """
    Give all changes, a page at a time.
    """
    found: list[dict[str, Any]] = []
    after: After | None = None
    while True:
        page = changes_between(connection, old, new, asked, after=after, limit=limit)
        assert len(page.rows) == limit or page.next is None
        found += changed_stops(connection, page)
        after = page.next
        if after is None:
            return found


def apply(stops: Stops, changes: list[dict[str, Any]]) -> Stops:
    """
    Apply changes as their description says, strictly: nothing is withdrawn that is not there, or added twice.
    """
    copy = dict(stops)
    for change in changes:
        stop = change["stop"]
        if change["change"] == "withdrawn":
            assert copy.pop(stop["id"]) == stop
    for change in changes:
        stop = change["stop"]
        if change["change"] == "added":
            assert stop["id"] not in copy
            copy[stop["id"]] = stop
    return copy


def check_both_ways(connection: Connection, old: Snapshot, new: Snapshot, *, limit: int = 250) -> list[dict[str, Any]]:
    before, after = stops_of(connection, old), stops_of(connection, new)
    there = walk(connection, old, new, limit=limit)
    assert apply(before, there) == after
    assert apply(after, walk(connection, new, old, limit=limit)) == before
    ids = [(change["stop"]["id"], change["change"] == "added") for change in there]
    assert ids == sorted(set(ids))
    return there


def test_real_revisions_lead_from_one_snapshot_to_the_other(database: Database, connection: Connection) -> None:
    empty = now(connection)
    ingest_archives(database, EARLIER, wanted=TWO_FORCES)
    first = now(connection)
    ingest_archives(database, LATER, wanted=TWO_FORCES)
    second = now(connection)

    changes = check_both_ways(connection, first, second)

    by_force = {
        (force, kind): sum(1 for each in changes if each["stop"]["force"] == force and each["change"] == kind)
        for force in TWO_FORCES.forces
        for kind in ("withdrawn", "added")
    }
    # Counted with `comm` over the sorted lines of both editions; 2020-01 and, of durham, 2020-02.
    assert by_force["durham", "withdrawn"] == by_force["durham", "added"] == 27 + 85
    assert (by_force["south-yorkshire", "withdrawn"], by_force["south-yorkshire", "added"]) == (795, 917)
    everything = walk(connection, empty, second, limit=1000)
    assert {each["change"] for each in everything} == {"added"}
    assert len(everything) == second.stops
    assert walk(connection, second, second, limit=10) == []


def test_revert_leads_back_and_a_row_that_came_back_is_no_change(database: Database, connection: Connection) -> None:
    ingest_archives(database, EARLIER, LATER, wanted=Wanted(forces=("durham",)))
    with_january = now(connection)
    revert(database, settings_for(), "durham", Month(2020, 1), trigger=TRIGGER)
    reverted = now(connection)
    revert(database, settings_for(), "durham", Month(2020, 1), trigger=TRIGGER)
    revert(database, settings_for(), "durham", Month(2020, 2), trigger=TRIGGER)
    both = now(connection)

    assert len(check_both_ways(connection, with_january, reverted)) == 27 + 27
    # January was taken back twice, so that it is what it was: other rows with the same ids and values.
    changes = check_both_ways(connection, with_january, both)
    assert {change["stop"]["month"] for change in changes} == {"2020-02"}
    assert len(changes) == 85 + 85


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
def test_page_may_end_anywhere(database: Database, connection: Connection, limit: int) -> None:
    """
    A page may end between what was withdrawn of one id and what was added of it.
    """
    bring_in(database, edition(csv_body({}, {"gender": "Female"}, {"gender": "Other"}), published="2023-10"))
    bring_in(database, edition(csv_body({}, {"age_range": "10-17"}), force="kent", published="2023-10"))
    old = now(connection)
    _give_other_rules(database, new_revision=csv_body({}, {"gender": "Female"}, {}))
    new = now(connection)

    changes = check_both_ways(connection, old, new, limit=limit)

    assert changes == walk(connection, old, new, limit=100)
    kinds = [(change["change"], change["stop"]["outcome"]) for change in changes]
    # One repeat is new, one stop is gone, and the two that stayed have another outcome by other rules.
    assert sorted(kind for kind, _ in kinds) == ["added"] * 3 + ["withdrawn"] * 3
    assert [outcome for kind, outcome in kinds if kind == "added"].count("Community resolution") == 2


def test_flag_of_the_whole_month_changes_each_of_its_stops(database: Database, connection: Connection) -> None:
    """
    The stops of a doubled file say so, each of them: where the file is doubled no more, each reads differently.
    """
    stops = [{"latitude": f"54.7{place:05}", "longitude": "-1.500000"} for place in range(15)]
    bring_in(database, edition(csv_body(*stops, *stops), published="2023-10"))
    doubled = now(connection)
    bring_in(database, edition(csv_body(*stops, *stops[:14], {}), published="2023-11"))
    single = now(connection)

    assert [each.is_doubled for each in (*doubled.revisions, *single.revisions)] == [True, False]
    changes = check_both_ways(connection, doubled, single, limit=7)
    assert len(changes) == 30 + 30


def test_only_what_was_asked_for(database: Database, connection: Connection) -> None:
    ingest_archives(database, EARLIER, wanted=TWO_FORCES)
    first = now(connection)
    ingest_archives(database, LATER, wanted=TWO_FORCES)
    second = now(connection)
    durham = StopFilter(forces=("durham",), first=Month(2020, 2))

    changes = walk(connection, first, second, limit=1000, asked=durham)

    assert {(each["stop"]["force"], each["stop"]["month"]) for each in changes} == {("durham", "2020-02")}
    assert apply(stops_of(connection, first, durham), changes) == stops_of(connection, second, durham)


def test_months_that_differ_in_nothing_are_not_looked_into(database: Database, connection: Connection) -> None:
    """
    Another order of the same records is the same content; a revision that added and withdrew nothing is no change.
    """
    bring_in(database, edition(csv_body({}), published="2023-10"))
    old = now(connection)
    with database.connect() as writing:
        writing.execute("UPDATE revision SET served_until = clock_timestamp()")
        writing.execute("CREATE TEMP TABLE again AS SELECT * FROM revision")
        writing.execute(
            """
            UPDATE again SET number = 2, cause = 'rules', rules_version = 99, served_from = served_until,
                served_until = NULL, added = 0, withdrawn = 0
            """
        )
        writing.execute("INSERT INTO revision SELECT * FROM again")
    new = now(connection)
    assert new.id != old.id
    assert differing_months(connection, old, new, StopFilter()) == []
    assert check_both_ways(connection, old, new) == []


def _give_other_rules(database: Database, *, new_revision: bytes) -> None:
    """
    Bring an edition in, and give the stops that stay another outcome, as rules of another version would.
    """
    bring_in(database, edition(new_revision, published="2023-11"))
    with database.connect() as connection:
        connection.execute(
            """
            CREATE TEMP TABLE remade AS SELECT stop.* FROM stop JOIN force ON force.code = force_code
            WHERE force.id = 'durham' AND first_revision = 1 AND withdrawn_revision IS NULL
            """
        )
        connection.execute("UPDATE remade SET first_revision = 2, outcome_code = 3")
        connection.execute(
            "UPDATE stop SET withdrawn_revision = 2 WHERE id IN (SELECT id FROM remade) AND withdrawn_revision IS NULL"
        )
        connection.execute("INSERT INTO stop SELECT * FROM remade")
