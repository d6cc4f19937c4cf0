"""
The matrix has a cell for every force and month, says why a month is not held, and never takes a gap for zero stops.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from builders.archives import csv_rows, sample_members
from builders.ingests import bring_in, edition, ingest_archives
from builders.source_bodies import api_record, csv_body, json_body
from stopsearch.domain.errors import MonthOutOfRange, UnknownForce
from stopsearch.domain.months import Month
from stopsearch.domain.published import Availability
from stopsearch.domain.states import MonthFlag, MonthState
from stopsearch.flows.coverage import coverage
from stopsearch.flows.plan import Wanted
from stopsearch.sample import sample_archives
from stopsearch.store.database import Database
from stopsearch.store.releases import record_listing

pytestmark = pytest.mark.integration

LISTED_AT = datetime(2023, 9, 1, 12, tzinfo=UTC)
JUNE, JULY, AUGUST = (Month(2023, number) for number in (6, 7, 8))


def list_months(database: Database, listed: dict[Month, set[str]]) -> None:
    availability = Availability(listed={month: frozenset(forces) for month, forces in listed.items()})
    with database.connect(autocommit=True) as connection:
        record_listing(connection, availability, at=LISTED_AT)


def test_counts_are_those_of_the_files_with_no_upstream_in_reach(database: Database) -> None:
    forces = ("durham", "greater-manchester")
    ingest_archives(database, *sample_archives(), wanted=Wanted(forces=forces))
    files = sample_members("2020-02") | sample_members("2021-11")
    expected = {key: len(csv_rows(body)) for key, body in files.items() if key[0] in forces}
    found = coverage(database)
    held = {(cell.force, str(cell.month)): cell for cell in found.cells if cell.state is MonthState.HELD}
    assert {key: cell.received for key, cell in held.items()} == expected
    assert all(cell.received == (cell.stored or 0) + (cell.rejected or 0) for cell in held.values())
    assert held["durham", "2020-01"].revision == 2
    assert MonthFlag.RESTATED in held["durham", "2020-01"].flags
    assert found.listed_at is None
    # Without a list of the publisher's, nothing can be called due or out of its window.
    gap = found.cell("greater-manchester", Month(2020, 1))
    assert (gap.state, gap.received, gap.stored, gap.rejected) == (MonthState.NOT_LISTED, None, None, None)


def test_has_a_cell_for_every_pair(database: Database) -> None:
    ingest_archives(database, *sample_archives(), wanted=Wanted(forces=("durham", "suffolk")))
    found = coverage(database)
    pairs = [(cell.force, cell.month) for cell in found.cells]
    assert pairs == [(force, month) for force in found.forces for month in found.months]
    assert [month.ordinal for month in found.months] == list(
        range(found.months[0].ordinal, found.months[-1].ordinal + 1)
    )
    assert sum(found.totals.values()) == len(found.cells)
    assert set(found.totals) == set(MonthState)
    assert all(found.cell(*pair) is cell for pair, cell in zip(pairs, found.cells, strict=True))


def test_tells_the_kinds_of_not_held_apart(database: Database) -> None:
    list_months(database, {JULY: {"durham", "kent", "btp"}, AUGUST: {"durham"}})
    bring_in(
        database,
        edition(csv_body({}), force="durham", month="2023-06"),
        edition(json_body(api_record()), force="durham", month="2023-07"),
        edition(json_body(), force="kent", month="2023-07"),
        edition(b"{", force="btp", month="2023-07"),
    )
    found = coverage(database)
    assert found.months == (JUNE, JULY, AUGUST)
    assert {(cell.force, cell.month.number): cell.state for cell in found.cells} == {
        ("durham", 6): MonthState.HELD,
        ("durham", 7): MonthState.HELD,
        ("durham", 8): MonthState.DUE,
        ("kent", 6): MonthState.OUT_OF_WINDOW,
        ("kent", 7): MonthState.EMPTY,
        ("kent", 8): MonthState.NOT_LISTED,
        ("btp", 6): MonthState.OUT_OF_WINDOW,
        ("btp", 7): MonthState.FAILED,
        ("btp", 8): MonthState.NOT_LISTED,
    }
    assert found.listed_at == LISTED_AT
    assert (found.totals[MonthState.HELD], found.totals[MonthState.REFUSED]) == (2, 0)


def test_held_month_that_comes_empty_is_doubtful_and_keeps_its_counts(database: Database) -> None:
    bring_in(database, edition(json_body(api_record())), edition(json_body()))
    [cell] = coverage(database).cells
    assert (cell.state, cell.flags, cell.stored) == (MonthState.HELD, (MonthFlag.DOUBTFUL,), 1)


def test_json_has_one_object_a_force_month(database: Database) -> None:
    list_months(database, {JULY: {"kent"}})
    bring_in(database, edition(json_body(api_record(), api_record(gender="Unheard of"))))
    durham, kent = (cell.as_json() for cell in coverage(database).cells)
    assert durham == {
        "force": "durham",
        "month": "2023-07",
        "state": "held",
        "flags": [],
        "revision": 1,
        "received": 2,
        "stored": 1,
        "rejected": 1,
    }
    assert kent == {
        "force": "kent",
        "month": "2023-07",
        "state": "due",
        "flags": [],
        "revision": None,
        "received": None,
        "stored": None,
        "rejected": None,
    }


def test_shows_what_is_wanted(database: Database) -> None:
    list_months(database, {JUNE: {"kent"}, JULY: {"kent", "durham"}, AUGUST: {"kent"}})
    found = coverage(database, Wanted(forces=("kent", "northern-ireland"), first=JULY, last=Month(2030, 1)))
    assert found.forces == ("kent", "northern-ireland")
    assert found.months == (JULY, AUGUST)
    assert found.cell("northern-ireland", JULY).state is MonthState.NOT_LISTED
    assert coverage(database, Wanted(first=Month(2030, 1))).cells == ()
    with pytest.raises(UnknownForce, match="kent"):
        coverage(database, Wanted(forces=("knet",)))
    with pytest.raises(MonthOutOfRange):
        coverage(database, Wanted(first=JULY, last=JUNE))


def test_nothing_known_is_an_empty_matrix(database: Database) -> None:
    found = coverage(database)
    assert (found.forces, found.months, found.cells) == ((), (), ())
    assert set(found.totals.values()) == {0}
