"""
The planner knows the tables that were filled, without waiting for autovacuum.
"""

from __future__ import annotations

import pytest

from builders.ingests import ingest_api
from builders.standin import make_api_record, running_standin
from stopsearch.flows.plan import Wanted
from stopsearch.store.database import Database
from stopsearch.store.statistics import refresh_statistics

pytestmark = pytest.mark.integration

RECORDS = [make_api_record(datetime=f"2023-07-15T{n // 60:02d}:{n % 60:02d}:00+00:00") for n in range(1200)]
MONTHS = {(force, f"2023-{month:02d}"): RECORDS for force in ("durham", "kent") for month in range(1, 9)}


def test_a_first_ingest_leaves_statistics_behind(database: Database) -> None:
    with running_standin(MONTHS) as standin:
        ingest_api(database, standin.url, Wanted())
    with database.connect(autocommit=True) as connection:
        known = connection.execute(
            "SELECT null_frac FROM pg_stats WHERE tablename = 'stop' AND attname = 'withdrawn_revision'"
        ).fetchall()
    assert known == [(1.0,)]


def test_what_has_not_changed_is_not_looked_at_again(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        assert refresh_statistics(connection) == []
