"""
Snapshots: an id stands for a set of revisions, for ever, with what was missing then.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from builders.archives import csv_of, csv_rows, sample_month
from builders.ingests import bring_in, edition
from stopsearch.domain.errors import RequestError, UnknownSnapshot
from stopsearch.domain.months import Month
from stopsearch.domain.published import Availability
from stopsearch.domain.states import MonthState
from stopsearch.store.database import Database
from stopsearch.store.ledger import is_batch
from stopsearch.store.releases import note_state, record_listing
from stopsearch.store.snapshots import (
    Snapshot,
    current_snapshot,
    find_snapshot,
    generation,
    list_snapshots,
    snapshot_at,
)

pytestmark = pytest.mark.integration

EARLIER = sample_month("durham", "2020-01", edition="2020-02")
LATER = sample_month("durham", "2020-01", edition="2021-11")


def publish(database: Database, body: bytes, when: str, **of: Any) -> None:
    bring_in(database, edition(body, **{"month": "2020-01", "published": when, **of}))


def now_of(database: Database) -> Snapshot:
    with database.connect(autocommit=True) as connection:
        return current_snapshot(connection)[0]


def numbers(snapshot: Snapshot) -> list[tuple[str, str, int]]:
    return [(revision.force, str(revision.month), revision.number) for revision in snapshot.revisions]


def test_each_new_revision_is_a_new_generation_and_nothing_else_is(database: Database) -> None:
    seen = []
    for year, body in enumerate([EARLIER, EARLIER, LATER], start=2020):
        publish(database, body, f"{year}-06")
        with database.connect() as connection:
            seen.append(generation(connection))

    assert seen == [1, 1, 2]


def test_generations_follow_the_instants_that_revisions_are_served_from(database: Database) -> None:
    publish(database, EARLIER, "2020-06")
    publish(database, LATER, "2021-06")
    publish(database, csv_of(csv_rows(LATER)[:50]), "2022-06", month="2020-02")

    with database.connect() as connection:
        [(changed_at,)] = connection.execute("SELECT changed_at FROM serving").fetchall()
        [(newest,)] = connection.execute("SELECT max(served_from) FROM revision").fetchall()
    assert changed_at == newest


def test_an_id_is_found_again_with_the_revisions_that_it_had(database: Database) -> None:
    publish(database, EARLIER, "2020-06")
    before = now_of(database)
    publish(database, LATER, "2021-06")
    after = now_of(database)

    with database.connect(autocommit=True) as connection:
        found = find_snapshot(connection, before.id)
    assert found == before
    assert (numbers(before), numbers(after)) == ([("durham", "2020-01", 1)], [("durham", "2020-01", 2)])
    assert before.id != after.id
    assert before.stops == len(csv_rows(EARLIER))


def test_what_is_told_of_a_snapshot_stays_as_it_was_kept_first(database: Database) -> None:
    publish(database, EARLIER, "2020-06")
    first = now_of(database)
    assert first.gaps == ()
    with database.connect(autocommit=True) as connection:
        listed = {Month(2020, 1): frozenset({"durham"}), Month(2020, 3): frozenset({"durham", "kent"})}
        record_listing(connection, Availability(listed=listed), at=datetime.now(UTC))
        code = connection.execute("SELECT code FROM force WHERE id = 'durham'").fetchone()
        assert code is not None
        note_state(connection, code[0], Month(2020, 1), MonthState.EMPTY, at=datetime.now(UTC), is_look=True)

    assert now_of(database) == first  # nothing was revised: the same id, the same answers
    publish(database, LATER, "2021-06")
    second = now_of(database)
    assert second.forces == ("durham", "kent")
    assert [(gap.force, gap.state, str(gap.first), str(gap.last)) for gap in second.gaps] == [
        ("durham", "not_listed", "2020-02", "2020-02"),
        ("durham", "due", "2020-03", "2020-03"),
        ("kent", "not_listed", "2020-01", "2020-02"),
        ("kent", "due", "2020-03", "2020-03"),
    ]


def test_a_doubtful_month_is_told_by_the_snapshot_of_then(database: Database) -> None:
    publish(database, EARLIER, "2020-06")
    with database.connect(autocommit=True) as connection:
        [(code,)] = connection.execute("SELECT code FROM force WHERE id = 'durham'").fetchall()
        note_state(connection, code, Month(2020, 1), MonthState.EMPTY, at=datetime.now(UTC), is_look=True)
    publish(database, csv_of(csv_rows(LATER)[:50]), "2022-06", month="2020-02")

    assert now_of(database).doubtful == {("durham", Month(2020, 1))}


def test_content_that_comes_back_has_its_old_id_and_is_told_as_it_was(database: Database) -> None:
    ids = []
    for year, body in enumerate([EARLIER, LATER, EARLIER], start=2020):
        publish(database, body, f"{year}-06")
        ids.append(now_of(database))

    assert ids[0] == ids[2] != ids[1]
    with database.connect() as connection:
        kept = list_snapshots(connection, limit=10)
    assert [each.id for each in kept] == [ids[1].id, ids[0].id]


def test_an_instant_gives_what_was_served_then(database: Database) -> None:
    publish(database, EARLIER, "2020-06")
    before = now_of(database)
    publish(database, LATER, "2021-06")
    after = now_of(database)

    with database.connect(autocommit=True) as connection:
        connection.execute("DELETE FROM snapshot")  # as if nobody had looked
        just_before = snapshot_at(connection, after.served_from - timedelta(microseconds=1))
        at_once = snapshot_at(connection, after.served_from)
        nothing = snapshot_at(connection, before.served_from - timedelta(microseconds=1))
        with pytest.raises(RequestError):
            snapshot_at(connection, datetime.now(UTC) + timedelta(hours=1))
    assert (just_before.id, at_once.id) == (before.id, after.id)
    assert (nothing.revisions, nothing.stops, nothing.months) == ((), 0, None)


def test_what_is_served_still_is_told_as_it_stands_also_where_an_instant_is_asked_first(database: Database) -> None:
    publish(database, EARLIER, "2020-06")
    with database.connect(autocommit=True) as connection:
        connection.execute("DELETE FROM snapshot")  # as after an upgrade: nothing was kept
        listed = {month: frozenset({"durham"}) for month in (Month(2020, 1), Month(2020, 2))}
        record_listing(connection, Availability(listed=listed), at=datetime.now(UTC))
        [(code,)] = connection.execute("SELECT code FROM force WHERE id = 'durham'").fetchall()
        for month in listed:
            note_state(connection, code, month, MonthState.EMPTY, at=datetime.now(UTC), is_look=True)
        asked = snapshot_at(connection, datetime.now(UTC))

    assert asked.doubtful == {("durham", Month(2020, 1))}
    assert [(str(gap.first), gap.state) for gap in asked.gaps] == [("2020-02", "empty")]
    assert now_of(database) == asked


def test_a_clock_that_was_set_back_hides_nothing_that_was_served(database: Database) -> None:
    publish(database, EARLIER, "2020-06")
    with database.connect(autocommit=True) as connection:
        connection.execute("DELETE FROM snapshot")
        for statement in (
            "UPDATE revision SET served_from = served_from + interval '1 hour'",
            "UPDATE serving SET changed_at = changed_at + interval '1 hour'",
        ):
            connection.execute(statement)
    first = now_of(database)

    assert now_of(database) == first
    with database.connect(autocommit=True) as connection:
        assert find_snapshot(connection, first.id) == first
    publish(database, LATER, "2021-06")
    assert numbers(now_of(database)) == [("durham", "2020-01", 2)]


def test_an_empty_store_has_a_snapshot_too_and_keeps_it(database: Database) -> None:
    empty = now_of(database)
    publish(database, EARLIER, "2020-06")

    with database.connect(autocommit=True) as connection:
        assert find_snapshot(connection, empty.id) == empty
    assert empty.revisions == ()


@pytest.mark.parametrize("asked", ["0" * 64, "0" * 12, "%", "_" * 12, "g" * 64])
def test_an_id_that_was_never_given_out_is_unknown(database: Database, asked: str) -> None:
    now_of(database)
    with database.connect(autocommit=True) as connection, pytest.raises(UnknownSnapshot, match="No snapshot"):
        find_snapshot(connection, asked)


def test_an_id_may_be_shortened_while_it_is_one(database: Database) -> None:
    publish(database, EARLIER, "2020-06")
    found = now_of(database)
    with database.connect(autocommit=True) as connection:
        assert find_snapshot(connection, found.id[:12]) == found
        connection.execute(
            """
            INSERT INTO snapshot (id, served_from, stops, force_months, forces, gaps, doubtful)
            VALUES (%s, now(), 0, 0, '[]', '[]', '[]')
            """,
            [found.id[:12] + "f" * 52],
        )
        with pytest.raises(UnknownSnapshot, match="More than one"):
            find_snapshot(connection, found.id[:12])


def test_a_batch_keeps_the_snapshot_that_it_leaves(database: Database) -> None:
    publish(database, EARLIER, "2020-06")

    with database.connect() as connection:
        assert is_batch(connection, 1)
        [kept] = list_snapshots(connection, limit=10)
    assert kept.id == now_of(database).id
    assert (kept.stops, kept.force_months) == (len(csv_rows(EARLIER)), 1)
