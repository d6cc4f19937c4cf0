"""
What holds of a whole ingest, whatever records come: conservation, idempotence, identity and replay. A few examples
each, since each one goes into a real database.
"""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builders.ingests import TRIGGER, bring_one_in, edition, settings_for
from builders.records import months
from builders.store_state import breaches_of, content_of, count_rows, row_places
from stopsearch.domain.states import RunStatus
from stopsearch.flows.rebuild import replay_letters
from stopsearch.store.database import Database
from stopsearch.validate import contract, split

pytestmark = pytest.mark.integration

few = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ANY_SHARE = {"refuse_share": 1.0}


def empty(database: Database) -> None:
    """
    Forget all that an example left, for the next.
    """
    with database.connect(autocommit=True) as connection:
        connection.execute(
            """
            TRUNCATE stop, stop_count, dead_letter, revision, month_release, ingest_run, ingest_batch,
                published_body, street CASCADE
            """
        )


@few
@given(month=months())
def test_conservation_and_idempotence(database: Database, month: list[Any]) -> None:
    empty(database)

    first = bring_one_in(database, edition(month), **ANY_SHARE)

    assert first.status is RunStatus.REVISED
    assert first.received == len(month)
    assert count_rows(database, "stop") + count_rows(database, "dead_letter") == len(month)
    assert breaches_of(database) == {}

    before, places = content_of(database), row_places(database)
    again = bring_one_in(database, edition(month), **ANY_SHARE)
    reordered = bring_one_in(database, edition(month[::-1]), **ANY_SHARE)
    assert again.status is reordered.status is RunStatus.UNCHANGED
    after = content_of(database)
    for table in ("published_body", "month_release"):  # which body is known to hold the content
        after.pop(table)
        before.pop(table)
    assert after == before
    assert row_places(database) == places


@few
@given(editions=st.lists(months(max_size=8), min_size=2, max_size=4))
def test_each_revision_holds_what_its_edition_alone_would_hold(database: Database, editions: list[list[Any]]) -> None:
    empty(database)
    alone = []
    for month in editions:
        bring_one_in(database, edition(month), **ANY_SHARE)
        alone.append(stops_at(database, 1))
        empty(database)

    for year, month in enumerate(editions, start=2024):
        outcome = bring_one_in(database, edition(month, published=f"{year}-01"), **ANY_SHARE)
        assert outcome.status in (RunStatus.REVISED, RunStatus.UNCHANGED)
        assert outcome.revision is not None
        assert stops_at(database, outcome.revision) == alone[year - 2024]
        assert breaches_of(database) == {}
    assert stops_at(database, 1) == alone[0]  # and the past stays as it was


@few
@given(month=months())
def test_a_replay_equals_a_clean_ingest(database: Database, month: list[Any]) -> None:
    empty(database)
    bring_one_in(database, edition(month), **ANY_SHARE)
    clean, letters = stops_at(database, 1), letters_at(database, 1)
    empty(database)
    strict = contract.Rule(name="no_men", column="gender", message="-", keeps=pl.col("gender").ne_missing("Male"))
    rules = (*contract.ALL_RULES, strict)
    with pytest.MonkeyPatch.context() as under_other_rules:
        for module in (contract, split):
            under_other_rules.setattr(module, "ALL_RULES", rules)
        bring_one_in(database, edition(month), **ANY_SHARE)

    report = replay_letters(database, settings_for(**ANY_SHARE), trigger=TRIGGER)

    [run] = report.runs
    assert run.outcome.revision is not None
    assert stops_at(database, run.outcome.revision) == clean
    assert letters_at(database, run.outcome.revision) == letters
    assert report.still_rejected == len(letters)
    assert breaches_of(database) == {}
    before = stops_at(database, run.outcome.revision), count_rows(database, "revision")
    again = replay_letters(database, settings_for(**ANY_SHARE), trigger=TRIGGER)
    assert again.replayed == 0
    assert (stops_at(database, run.outcome.revision), count_rows(database, "revision")) == before


def stops_at(database: Database, revision: int) -> list[tuple[Any, ...]]:
    with database.connect() as connection:
        return connection.execute(
            """
            SELECT id, datetime, local_date, type, operation, operation_name, latitude, longitude, is_far_from_force,
                gender, age_range, self_defined_ethnicity, officer_defined_ethnicity, legislation, object_of_search,
                outcome, outcome_linked_to_object_of_search, removal_of_more_than_outer_clothing
            FROM stop_in_words
            WHERE first_revision <= %(n)s AND (withdrawn_revision IS NULL OR withdrawn_revision > %(n)s)
            ORDER BY id
            """,
            {"n": revision},
        ).fetchall()


def letters_at(database: Database, revision: int) -> list[tuple[Any, ...]]:
    with database.connect() as connection:
        return connection.execute(
            "SELECT record_number, raw::text, rejections FROM dead_letter WHERE revision = %s ORDER BY 1", [revision]
        ).fetchall()
