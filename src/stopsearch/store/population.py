"""
The residents of each force's area by ethnic group, as censuses counted them: written from the bundle, read for rates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import Connection
from sqlalchemy import Connection as AlchemyConnection

from stopsearch.census import CENSUS_YEARS, LICENCE, SOURCES, CensusCount, census_counts
from stopsearch.domain.errors import BadQuery
from stopsearch.domain.forces import FORCE_NAMES

# Codes are given out as `force_code` gives them, under the same lock, here to all new forces at once.
_LOCK_FORCES = "LOCK TABLE force IN SHARE ROW EXCLUSIVE MODE"
_ADD_FORCES = """
    INSERT INTO force (code, id, name)
    SELECT (SELECT coalesce(max(code), 0) FROM force) + row_number() OVER (ORDER BY fresh.id), fresh.id, fresh.name
    FROM unnest(%(ids)s::text[], %(names)s::text[]) AS fresh(id, name)
    WHERE NOT EXISTS (SELECT FROM force WHERE force.id = fresh.id)
"""
_STORED = """
    SELECT force.id, ethnic_group, label_group, persons, source = %(source)s AND licence = %(licence)s
    FROM population JOIN force ON force.code = force_code WHERE census_year = %(year)s
"""
_DELETE = "DELETE FROM population WHERE census_year = %(year)s"
_INSERT = """
    INSERT INTO population (force_code, census_year, ethnic_group, label_group, persons, source, licence)
    SELECT force.code, %(year)s, counted.ethnic_group, counted.label_group, counted.persons, %(source)s, %(licence)s
    FROM unnest(%(forces)s::text[], %(groups)s::text[], %(label_groups)s::text[], %(persons)s::integer[])
        AS counted(force, ethnic_group, label_group, persons)
    JOIN force ON force.id = counted.force
"""


def write_population(connection: AlchemyConnection) -> None:
    """
    Bring the table `population` to what the bundled censuses say, with the forces that it needs. The caller commits.

    A census whose rows are there already is only read; one that differs in any row is replaced whole. Censuses that
    are not bundled stay as they are.
    """
    for year in CENSUS_YEARS:
        counts = census_counts(year)
        told = {"year": year, "source": SOURCES[year], "licence": LICENCE}
        stored = {tuple(row) for row in connection.exec_driver_sql(_STORED, told)}
        if stored != {(each.force, each.ethnic_group, each.label_group, each.persons, True) for each in counts}:
            _replace(connection, counts, told)


def _replace(connection: AlchemyConnection, counts: tuple[CensusCount, ...], told: dict[str, Any]) -> None:
    forces = sorted({each.force for each in counts})
    connection.exec_driver_sql(_LOCK_FORCES)
    connection.exec_driver_sql(_ADD_FORCES, {"ids": forces, "names": [FORCE_NAMES[force] for force in forces]})
    connection.exec_driver_sql(_DELETE, told)
    columns = {
        "forces": [each.force for each in counts],
        "groups": [each.ethnic_group for each in counts],
        "label_groups": [each.label_group for each in counts],
        "persons": [each.persons for each in counts],
    }
    connection.exec_driver_sql(_INSERT, {**told, **columns})


@dataclass(frozen=True, kw_only=True)
class Residents:
    """
    The residents that one census counted, by force and broad ethnic group, with what must be said of the source.

    A force that has no area of its own (`btp`) is not among them.
    """

    census_year: int
    source: str
    licence: str
    by_force: Mapping[str, Mapping[str, int]]


def census_years(connection: Connection) -> tuple[int, ...]:
    """
    Give the years of the censuses that residents can be had from, oldest first.
    """
    rows = connection.execute("SELECT DISTINCT census_year FROM population ORDER BY census_year")
    return tuple(int(year) for (year,) in rows)


def residents(connection: Connection, census_year: int) -> Residents:
    """
    Give the residents that a census counted.

    Raises:
        BadQuery: There is no such census here.
    """
    rows = connection.execute(
        """
        SELECT force.id, label_group, sum(persons), min(source), min(licence)
        FROM population JOIN force ON force.code = force_code
        WHERE census_year = %(year)s AND label_group IS NOT NULL
        GROUP BY force.id, label_group ORDER BY force.id, label_group
        """,
        {"year": census_year},
    ).fetchall()
    if not rows:
        raise _no_census(census_year, census_years(connection))
    by_force: dict[str, dict[str, int]] = {}
    for force, group, persons, _, _ in rows:
        by_force.setdefault(force, {})[group] = int(persons)
    return Residents(census_year=census_year, source=rows[0][3], licence=rows[0][4], by_force=by_force)


def _no_census(census_year: int, held: tuple[int, ...]) -> BadQuery:
    years = " or ".join(map(str, held))
    return BadQuery(
        f"There are no residents of a census of {census_year}.",
        remedy=f"Name one of {years}." if held else "Run 'stopsearch db migrate', which writes the bundled censuses.",
        faults=(("census_year", str(census_year), "no census of that year is held"),),
    )
