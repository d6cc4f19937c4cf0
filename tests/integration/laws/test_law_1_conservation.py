"""
Law 1, conservation: records received = stops stored + records dead-lettered; repeats that were sent are kept.
"""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest

from builders.archives import sample_month
from builders.ingests import bring_in, bring_one_in, edition
from builders.standin import make_api_record
from builders.store_state import breaches_of, count_rows
from stopsearch.store.database import Database

pytestmark = pytest.mark.integration


def test_law_1_conservation_every_record_is_a_stop_or_a_dead_letter(database: Database) -> None:
    records: list[Any] = [
        *[make_api_record()] * 3,  # exact repeats
        *[make_api_record(datetime=f"2023-07-{day:02d}T10:00:00+00:00") for day in range(1, 29)],
        make_api_record(gender="A gender that no list has"),
        make_api_record(type=None),
        make_api_record(datetime="yesterday"),
        make_api_record(location={"latitude": "0.1", "longitude": "0.1", "street": {"id": 1, "name": "Nowhere"}}),
        "not a record at all",
        None,
        {},
    ]

    outcome = bring_one_in(database, edition(records))

    assert (outcome.received, outcome.stored, outcome.rejected) == (38, 31, 7)
    assert (count_rows(database, "stop"), count_rows(database, "dead_letter")) == (31, 7)
    with database.connect() as connection:
        numbers = connection.execute(
            "SELECT record_number FROM stop UNION ALL SELECT record_number FROM dead_letter ORDER BY 1"
        ).fetchall()
    assert numbers == [(number,) for number in range(1, 39)]
    assert breaches_of(database) == {}


def test_law_1_conservation_exact_repeats_are_kept_as_repeats(database: Database) -> None:
    body = sample_month("suffolk", "2019-10")  # a file in which every line occurs twice
    lines = body.decode().splitlines()[1:]

    outcome = bring_one_in(database, edition(body, force="suffolk", month="2019-10"))

    assert outcome.stored == len(lines) > len(set(lines))
    with database.connect() as connection:
        row = connection.execute("SELECT count(*), count(DISTINCT id) FROM stop").fetchone()
        doubled = connection.execute("SELECT is_doubled FROM revision").fetchone()
    assert row == (len(lines), len(lines))
    assert doubled == (True,)


def test_law_1_conservation_a_ragged_line_of_a_file_is_a_dead_letter(database: Database) -> None:
    body = sample_month("durham", "2019-01") + b"Person search,2019-01-05T10:00:00+00:00,False\n"

    outcome = bring_one_in(database, edition(body, month="2019-01"))

    assert (outcome.received, outcome.stored, outcome.rejected) == (180, 179, 1)
    assert outcome.rejected_by_rule == {"wrong_column_count": 1}


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("UPDATE revision SET received = received + 1", "ck_revision_conservation"),
        ("UPDATE revision SET stored = stored - 1", "ck_revision_conservation"),
        ("UPDATE revision SET received = 0, stored = 1, rejected = -1", "ck_revision_counts_not_negative"),
        ("UPDATE ingest_run SET rejected = 5", "ck_ingest_run_conservation"),
        ("INSERT INTO stop SELECT * FROM stop LIMIT 1", "uq_stop_id_withdrawn_revision"),
        ("UPDATE stop SET withdrawn_revision = first_revision", "ck_stop_withdrawn_after_first"),
        ("UPDATE stop SET latitude = NULL", "ck_stop_location_is_whole"),
        ("UPDATE stop SET first_revision = 7", "fk_stop_force_code_month_first_revision"),
        ("UPDATE stop_count SET stops = 0", "ck_stop_count_counts_something"),
        ("UPDATE month_release SET current_revision = NULL", "ck_month_release_held_has_revision"),
        ("UPDATE month_release SET current_revision = 7", "fk_month_release_force_code_month_current_revision"),
        ("UPDATE month_release SET month = month + 1", "ck_month_release_month_is_first_day"),
        ("UPDATE revision SET standing = 'historic'", "ck_revision_served_has_start"),
        ("UPDATE revision SET served_until = served_from", "ck_revision_served_forwards"),
        ("UPDATE revision SET cause = 'whim'", "ck_revision_cause_known"),
        ("DELETE FROM published_body", "fk_revision_body_digest"),
        ("DELETE FROM revision", "violates foreign key"),
    ],
)
def test_law_1_conservation_the_database_itself_refuses(database: Database, change: str, constraint: str) -> None:
    bring_in(database, edition([make_api_record(), make_api_record(gender="?")]))

    with database.connect() as connection, pytest.raises(psycopg.errors.IntegrityError, match=constraint):
        connection.execute(change)


def test_law_1_conservation_the_database_refuses_a_second_current_revision(database: Database) -> None:
    bring_in(database, edition([make_api_record()]), edition([make_api_record(gender="Female")]))

    with database.connect() as connection, pytest.raises(psycopg.errors.IntegrityError, match="uq_revision_current"):
        connection.execute("UPDATE revision SET served_until = NULL")


def test_law_1_conservation_a_record_too_odd_to_be_read_is_kept_as_it_came(database: Database) -> None:
    odd = {"type": ["Person search"], "datetime": 5, "note": "\x00", "location": "Durham"}
    records = [make_api_record(), odd]

    outcome = bring_one_in(database, edition(records))

    assert (outcome.stored, outcome.rejected) == (1, 1)
    with database.connect() as connection:
        [(number, raw)] = connection.execute("SELECT record_number, raw::text FROM dead_letter").fetchall()
    assert (number, json.loads(raw)) == (2, odd)
    assert "\\u0000" in raw
