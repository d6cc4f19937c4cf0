"""
Law 5, history: a revision closes and adds rows and rewrites none; each past revision can be read as it was served.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

import polars as pl
import pytest

from builders.archives import csv_of, csv_rows, sample_month
from builders.ingests import TRIGGER, bring_in, bring_one_in, edition, settings_for
from builders.standin import make_api_record
from builders.store_state import breaches_of, content_of, row_places
from stopsearch.clean import clean_stops as clean_stops_module
from stopsearch.domain.months import Month
from stopsearch.domain.states import RunStatus
from stopsearch.flows.plan import Wanted
from stopsearch.flows.rebuild import reprocess, revert
from stopsearch.store.database import Database
from stopsearch.validate import contract, split

pytestmark = pytest.mark.integration

EARLIER = sample_month("durham", "2020-01", edition="2020-02")
LATER = sample_month("durham", "2020-01")


def at_revision(database: Database, number: int) -> Counter[Any]:
    """
    Read the rows that were served at a revision, by their intervals.
    """
    with database.connect() as connection:
        return Counter(
            connection.execute(
                """
                SELECT datetime, outcome, gender, latitude FROM stop_in_words
                WHERE first_revision <= %(n)s AND (withdrawn_revision IS NULL OR withdrawn_revision > %(n)s)
                """,
                {"n": number},
            ).fetchall()
        )


def as_published(body: bytes) -> Counter[Any]:
    return Counter(
        (
            datetime.fromisoformat(row["Date"]),
            row["Outcome"] or None,
            row["Gender"] or None,
            float(row["Latitude"]) if row["Latitude"] else None,
        )
        for row in csv_rows(body)
    )


def all_far(force: str, latitude: pl.Series, longitude: pl.Series) -> pl.Series:
    return (latitude > 0).alias("is_far_from_force")


def standing_of(database: Database) -> list[Any]:
    with database.connect() as connection:
        return connection.execute(
            "SELECT number, standing, cause, served_until IS NULL FROM revision ORDER BY number"
        ).fetchall()


def publish(database: Database, body: bytes, when: str) -> RunStatus:
    return bring_one_in(database, edition(body, month="2020-01", published=when)).status


def test_law_5_history_every_revision_is_read_back_as_it_was_served(database: Database) -> None:
    rows = csv_rows(LATER)
    editions = [EARLIER, LATER, csv_of(rows[20:]), csv_of(rows[:100]), EARLIER, LATER]
    for year, body in enumerate(editions, start=2020):
        assert publish(database, body, f"{year}-06") is RunStatus.REVISED

    for number, body in enumerate(editions, start=1):
        assert at_revision(database, number) == as_published(body)
    assert breaches_of(database) == {}


def test_law_5_history_an_instant_has_one_revision(database: Database) -> None:
    for year, body in enumerate([EARLIER, LATER, EARLIER], start=2020):
        publish(database, body, f"{year}-06")

    with database.connect() as connection:
        lives = connection.execute("SELECT served_from, served_until FROM revision ORDER BY number").fetchall()
        for number, (begins, _) in enumerate(lives, start=1):
            found = connection.execute(
                """
                SELECT number FROM revision
                WHERE served_from <= %(at)s AND (served_until IS NULL OR served_until > %(at)s)
                """,
                {"at": begins},
            ).fetchall()
            assert found == [(number,)]
    assert [life[1] for life in lives[:2]] == [life[0] for life in lives[1:]]


def test_law_5_history_unchanged_rows_are_not_rewritten(database: Database) -> None:
    publish(database, EARLIER, "2020-02")
    with database.connect() as connection:
        before = dict(connection.execute("SELECT ctid::text, xmin::text FROM stop").fetchall())

    publish(database, LATER, "2021-11")

    with database.connect() as connection:
        unchanged = connection.execute(
            "SELECT ctid::text, xmin::text FROM stop WHERE first_revision = 1 AND withdrawn_revision IS NULL"
        ).fetchall()
    assert len(unchanged) == 161 - 27
    assert all(before[place] == writer for place, writer in unchanged)


def test_law_5_history_an_edition_published_before_the_current_one_is_never_on_top(database: Database) -> None:
    publish(database, LATER, "2021-11")
    places, counts = row_places(database), row_places(database, "stop_count")

    assert publish(database, EARLIER, "2020-02") is RunStatus.HISTORIC
    assert publish(database, EARLIER, "2020-02") is RunStatus.UNCHANGED
    assert publish(database, LATER, "2021-11") is RunStatus.UNCHANGED

    assert (row_places(database), row_places(database, "stop_count")) == (places, counts)
    assert standing_of(database) == [(1, "served", "upstream", True), (2, "historic", "upstream", True)]
    assert at_revision(database, 2) == as_published(LATER)


def test_law_5_history_content_seen_again_later_ranks_as_published_later(database: Database) -> None:
    # A of January 2020, met again unchanged in an archive of December 2021; then B of June 2020 arrives late.
    assert publish(database, EARLIER, "2020-01") is RunStatus.REVISED
    assert publish(database, EARLIER, "2021-12") is RunStatus.UNCHANGED

    assert publish(database, LATER, "2020-06") is RunStatus.HISTORIC

    assert at_revision(database, 1) == as_published(EARLIER)
    assert standing_of(database)[0] == (1, "served", "upstream", True)
    assert publish(database, LATER, "2022-01") is RunStatus.REVISED  # but what is newer than all goes on top


def test_law_5_history_of_two_editions_of_one_date_the_later_arrival_is_served(database: Database) -> None:
    publish(database, EARLIER, "2020-06")

    assert publish(database, LATER, "2020-06") is RunStatus.REVISED


def test_law_5_history_an_edition_that_was_served_once_is_kept_once(database: Database) -> None:
    publish(database, EARLIER, "2020-02")
    publish(database, LATER, "2021-11")
    before = content_of(database)

    assert publish(database, EARLIER, "2020-02") is RunStatus.UNCHANGED

    assert content_of(database) == before


def test_law_5_history_a_change_of_our_rules_is_a_revision_of_its_own(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as under_other_rules:
        strict = contract.Rule(
            name="no_vehicles", column="type", message="", keeps=pl.col("type") != pl.lit("Vehicle search")
        )
        rules = (*contract.ALL_RULES, strict)
        for module in (contract, split):
            under_other_rules.setattr(module, "ALL_RULES", rules)
        under_other_rules.setattr(clean_stops_module, "far_from_force", all_far)
        records = [make_api_record(), make_api_record(type="Vehicle search"), make_api_record(location=None)]
        first = bring_one_in(database, edition(records, force="leicestershire"))
        assert (first.stored, first.rejected, first.error_text) == (2, 1, None)

    assert (
        bring_one_in(database, edition(records, force="leicestershire")).status is RunStatus.UNCHANGED
    )  # ingest acts on content alone
    [run] = reprocess(database, settings_for(), Wanted(), trigger=TRIGGER).runs

    assert (run.outcome.status, run.outcome.stored, run.outcome.rejected) == (RunStatus.REVISED, 3, 0)
    assert (run.outcome.added, run.outcome.withdrawn) == (2, 1)  # the vehicle, and the one with another flag
    assert [row[2] for row in standing_of(database)] == ["upstream", "rules"]
    with database.connect() as connection:
        flags = connection.execute(
            """
            SELECT withdrawn_revision, is_far_from_force FROM stop
            WHERE latitude IS NOT NULL AND first_revision = 1
            """
        ).fetchall()
        restated = connection.execute("SELECT bool_or(is_restated) FROM revision").fetchone()
        letters = connection.execute("SELECT state FROM dead_letter").fetchall()
    assert flags == [(2, True)]
    assert restated == (False,)  # the publisher changed nothing
    assert letters == [("replayed",)]
    assert breaches_of(database) == {}
    [again] = reprocess(database, settings_for(), Wanted(), trigger=TRIGGER).runs
    assert again.outcome.status is RunStatus.UNCHANGED


def test_law_5_history_a_revert_makes_the_edition_before_current_again(database: Database) -> None:
    bring_in(
        database,
        edition(EARLIER, month="2020-01", published="2020-02"),
        edition(LATER, month="2020-01", published="2021-11"),
    )

    [run] = revert(database, settings_for(), "durham", Month(2020, 1), trigger=TRIGGER).runs

    assert (run.outcome.status, run.outcome.added, run.outcome.withdrawn) == (RunStatus.REVISED, 27, 27)
    assert at_revision(database, 3) == as_published(EARLIER)
    assert at_revision(database, 2) == as_published(LATER)
    assert [row[2] for row in standing_of(database)] == ["upstream", "upstream", "revert"]
    assert breaches_of(database) == {}
