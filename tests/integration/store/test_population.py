"""
Migrating leaves the censuses' residents in the database, once, and nothing that was not brought in looks brought in.
"""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest
import sqlalchemy as sa

from builders.store_state import row_places
from stopsearch.census import LICENCE, SOURCES, census_counts
from stopsearch.domain.errors import BadQuery
from stopsearch.flows.coverage import coverage
from stopsearch.store.database import Database
from stopsearch.store.forces import any_unnamed, force_code, known_forces
from stopsearch.store.migrate import migrate
from stopsearch.store.population import census_years, residents, write_population

pytestmark = pytest.mark.integration

# As the Office for National Statistics published them for England and Wales.
BROAD_GROUPS = {
    2011: {"White": 48_209_395, "Mixed": 1_224_400, "Asian": 4_213_531, "Black": 1_864_890, "Other": 563_696},
    2021: {"White": 48_699_231, "Mixed": 1_717_977, "Asian": 5_515_455, "Black": 2_409_283, "Other": 1_255_632},
}


def write(database: Database) -> None:
    with database.engine.begin() as connection:
        write_population(connection)


@pytest.mark.parametrize("year", BROAD_GROUPS)
def test_the_groups_of_all_forces_add_up_to_the_published_census(database: Database, year: int) -> None:
    with database.connect() as connection:
        found = residents(connection, year)
    sums: Counter[str] = Counter()
    for groups in found.by_force.values():
        sums.update(groups)
    assert sums == BROAD_GROUPS[year]
    assert len(found.by_force) == 43
    assert found.by_force.keys().isdisjoint({"btp", "northern-ireland"})
    assert (found.census_year, found.source, found.licence) == (year, SOURCES[year], LICENCE)


def test_all_residents_of_2021_are_there(database: Database) -> None:
    with database.connect() as connection:
        row = connection.execute("SELECT sum(persons), count(*) FROM population WHERE census_year = 2021").fetchone()
    assert row == (59_597_578, 43 * 19)


def test_a_force_has_the_residents_of_its_own_area(database: Database, shared_data: Path) -> None:
    """
    Read apart from what was bundled: 2021 by group, 2011 by the subtotals that the bundle leaves out.
    """
    reference = shared_data / "reference"
    expected: Counter[tuple[str, str]] = Counter()
    with (reference / "census2021_ethnic_group_by_police_force_area.csv").open(newline="") as file:
        for line in csv.DictReader(file):
            expected[line["force_id"], line["ethnic_group_6"].partition(" ")[0].rstrip(",")] += int(line["persons"])
    with database.connect() as connection:
        found, earlier = residents(connection, 2021).by_force, residents(connection, 2011).by_force
    assert {(force, group): n for force, groups in found.items() for group, n in groups.items()} == expected
    with (reference / "census2011_ethnic_group_by_police_force_area.csv").open(newline="") as file:
        subtotals = {
            tuple(int(line[f"Ethnic Group: {group}; measures: Value"]) for group in BROAD_GROUPS[2011])
            for line in csv.DictReader(file)
        }
    assert {tuple(groups[group] for group in BROAD_GROUPS[2011]) for groups in earlier.values()} == subtotals
    assert sum(earlier["metropolitan"].values()) == 8_166_566


def test_writing_again_touches_no_row(database: Database) -> None:
    before = row_places(database, "population"), row_places(database, "force")
    write(database)
    migrate(database.engine)
    assert (row_places(database, "population"), row_places(database, "force")) == before


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM population WHERE ethnic_group LIKE 'White: Irish'",
        "UPDATE population SET persons = persons + 1 WHERE force_code = 1 AND census_year = 2021",
        "UPDATE population SET source = 'hearsay' WHERE census_year = 2011",
        "UPDATE population SET ethnic_group = 'White: Roman' WHERE ethnic_group = 'White: Roma'",
        "INSERT INTO population SELECT force_code, census_year, 'Twice', label_group, persons, 'hearsay', licence"
        " FROM population WHERE ethnic_group = 'White: Irish'",
        "DELETE FROM population",
    ],
)
def test_what_differs_from_the_bundle_is_mended(database: Database, damage: str) -> None:
    query = "SELECT * FROM population ORDER BY force_code, census_year, ethnic_group"
    with database.connect() as connection:
        before = connection.execute(query).fetchall()
        assert connection.execute(damage).rowcount > 0
        connection.commit()
        write(database)
        assert connection.execute(query).fetchall() == before


def test_a_census_that_is_not_bundled_is_left_alone(database: Database) -> None:
    with database.connect() as connection:
        connection.execute(
            "INSERT INTO population VALUES (1, 2001, 'All', 'White', 7, 'a table of one''s own', 'none')"
        )
        connection.commit()
        write(database)
        assert census_years(connection) == (2001, 2011, 2021)
        assert list(residents(connection, 2001).by_force.values()) == [{"White": 7}]


def test_forces_that_were_there_keep_their_codes(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        connection.execute("DELETE FROM population")
        connection.execute("DELETE FROM force")
        kept = {force: force_code(connection, force) for force in ("wiltshire", "btp", "a-new-one")}
        write(database)
        codes = known_forces(connection)
        assert kept.items() <= codes.items()
        assert len(codes) == 43 + 2
        assert sorted(codes.values()) == list(range(1, 46))
        assert residents(connection, 2021).by_force["wiltshire"]["White"] == sum(
            each.persons for each in census_counts(2021) if (each.force, each.label_group) == ("wiltshire", "White")
        )


def test_an_unknown_census_is_told_with_those_that_there_are(database: Database) -> None:
    with database.connect() as connection, pytest.raises(BadQuery, match="2001") as caught:
        residents(connection, 2001)
    assert "2011 or 2021" in caught.value.remedy
    assert [fault[:2] for fault in caught.value.faults] == [("census_year", "2001")]


def test_with_no_census_at_all_the_remedy_is_to_migrate(database: Database) -> None:
    with database.connect() as connection:
        connection.execute("DELETE FROM population")
        assert census_years(connection) == ()
        with pytest.raises(BadQuery, match="stopsearch db migrate"):
            residents(connection, 2021)


def test_an_older_database_gets_its_residents_by_migrating(database: Database) -> None:
    with database.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM population"))
        connection.execute(sa.text("DELETE FROM force"))
    migrate(database.engine)
    with database.connect() as connection:
        assert census_years(connection) == (2011, 2021)


def test_an_empty_store_still_holds_no_force_month(database: Database) -> None:
    """
    The forces that residents need are no forces that published.
    """
    found = coverage(database)
    assert (found.forces, found.months, found.cells) == ((), (), ())
    with database.connect() as connection:
        assert not any_unnamed(connection)
        assert len(known_forces(connection)) == 43
