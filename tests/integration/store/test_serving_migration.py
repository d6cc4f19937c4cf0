"""
Migration 0002 on a database that holds stops: what it works out is what bringing the same in works out.
"""

from __future__ import annotations

from typing import Any

import pytest
from alembic import command

from builders.archives import csv_of, csv_rows, sample_month
from builders.ingests import bring_in, edition
from stopsearch.store import migrate as migrating
from stopsearch.store.database import Database

pytestmark = pytest.mark.integration

TOTALS = """
    SELECT revision.number, total.dimension_code, total.value_code, sum(total.stops)
    FROM stop_total AS total JOIN revision USING (force_code, month)
    WHERE revision.standing = 'served' AND total.first_revision <= revision.number
        AND (total.withdrawn_revision IS NULL OR total.withdrawn_revision > revision.number)
    GROUP BY force_code, month, 1, 2, 3 ORDER BY force_code, month, 1, 2, 3
"""
SPANS = "SELECT number, first_datetime, last_datetime FROM revision ORDER BY force_code, month, number"
SERVING = "SELECT generation, changed_at FROM serving"


def told(database: Database) -> dict[str, list[Any]]:
    with database.connect() as connection:
        return {query: connection.execute(query).fetchall() for query in (TOTALS, SPANS, SERVING)}


def test_totals_spans_and_generation_are_those_that_bringing_in_makes(database: Database) -> None:
    earlier = sample_month("durham", "2020-01", edition="2020-02")
    later = sample_month("durham", "2020-01", edition="2021-11")
    date_only = sample_month("dyfed-powys", "2020-02")
    bring_in(
        database,
        edition(earlier, month="2020-01", published="2020-03"),
        edition(later, month="2020-01", published="2021-12"),
        edition(csv_of(csv_rows(later)[:60]), month="2020-01", published="2022-01"),
        edition(date_only, force="dyfed-powys", month="2020-02", published="2021-12"),
    )
    made = told(database)
    assert len(made[TOTALS]) > 100

    with database.engine.connect() as connection:
        config = migrating._config(connection)
        command.downgrade(config, "0001")
        connection.commit()
    migrating.migrate(database.engine)

    assert told(database) == made
    bring_in(database, edition(later, month="2020-01", published="2023-01"))
    assert migrating.model_differences(database.engine) == []
    with database.connect() as connection:
        [(least, most)] = connection.execute(
            """
            SELECT min(stops), max(stops) FROM (
                SELECT sum(stops) AS stops FROM stop_total JOIN force ON force.code = force_code
                WHERE force.id = 'durham' AND withdrawn_revision IS NULL GROUP BY dimension_code
            ) AS dimension
            """
        ).fetchall()
    assert least == most == len(csv_rows(later))
