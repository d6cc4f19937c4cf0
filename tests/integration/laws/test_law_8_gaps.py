"""
Law 8, gaps are filled: due is what upstream lists less what the ledger holds, never "newer than the newest row".
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from builders.ingests import ingest_api, settings_for
from builders.standin import make_api_record, running_standin
from builders.store_state import breaches_of, count_rows, row_places
from stopsearch.domain.months import Month
from stopsearch.domain.states import RunStatus
from stopsearch.flows.ingest_from_api import plan_from_api
from stopsearch.flows.plan import Wanted
from stopsearch.store.database import Database

pytestmark = pytest.mark.integration

RECORDS = [make_api_record(datetime=f"2023-07-{day:02d}T10:00:00+00:00") for day in range(1, 11)]
MONTHS = {(force, f"2023-{month:02d}"): RECORDS for force in ("durham", "kent") for month in range(1, 5)}


def due(database: Database, url: str, wanted: Wanted | None = None, **changes: Any) -> list[tuple[str, str, str]]:
    _, months = asyncio.run(plan_from_api(database, settings_for(url, **changes), wanted or Wanted()))
    return [(month.force, str(month.month), str(month.reason)) for month in months]


def state_of(database: Database, force: str, month: str) -> tuple[Any, ...] | None:
    with database.connect() as connection:
        return connection.execute(
            """
            SELECT state, is_listed, doubtful_since IS NOT NULL, current_revision FROM month_release
            JOIN force ON force.code = force_code WHERE force.id = %s AND month = %s
            """,
            [force, Month.parse(month).first_day],
        ).fetchone()


def test_law_8_gaps_what_is_listed_and_not_held_is_due_and_nothing_else(database: Database) -> None:
    with running_standin(MONTHS) as standin:
        assert {month[:2] for month in due(database, standin.url)} == set(MONTHS)
        ingest_api(database, standin.url, Wanted(forces=("kent",)))

        assert due(database, standin.url) == [
            ("durham", f"2023-{month:02d}", "listed, not held") for month in (4, 3, 2, 1)
        ]
        ingest_api(database, standin.url)

        assert due(database, standin.url) == []
        again = ingest_api(database, standin.url)
    assert (again.batch_id, again.runs) == (None, [])


def test_law_8_gaps_a_month_that_appears_late_is_due(database: Database) -> None:
    with running_standin(MONTHS) as standin:
        standin.publication.hide("2023-02", "durham")
        ingest_api(database, standin.url)
        assert state_of(database, "durham", "2023-02") is None
        standin.publication.release("2023-02", "durham")

        assert due(database, standin.url) == [("durham", "2023-02", "listed, not held")]
        assert ingest_api(database, standin.url).count(RunStatus.REVISED) == 1


def test_law_8_gaps_a_row_dated_into_the_next_month_hides_no_month(database: Database) -> None:
    ahead = [*RECORDS, make_api_record(datetime="2023-12-31T23:30:00+00:00")]
    with running_standin(MONTHS | {("durham", "2023-04"): ahead}) as standin:
        standin.publication.hide("2023-03")
        ingest_api(database, standin.url)
        standin.publication.release("2023-03")

        assert {month[:2] for month in due(database, standin.url)} == {("durham", "2023-03"), ("kent", "2023-03")}


def test_law_8_gaps_a_month_that_failed_is_due_again(database: Database) -> None:
    with running_standin(MONTHS) as standin:
        standin.faults.fail(500, force="kent", month="2023-03")
        report = ingest_api(database, standin.url, retry_attempts=2, retry_time_s=1)
        assert (report.count(RunStatus.REVISED), report.count(RunStatus.FAILED)) == (7, 1)
        assert state_of(database, "kent", "2023-03") == ("failed", True, False, None)
        standin.faults.clear()

        assert due(database, standin.url) == [("kent", "2023-03", "failed before")]
        assert ingest_api(database, standin.url).count(RunStatus.REVISED) == 1
    assert state_of(database, "kent", "2023-03") == ("held", True, False, 1)


def test_law_8_gaps_a_month_that_is_listed_and_comes_empty_is_empty_and_not_zero(database: Database) -> None:
    with running_standin(MONTHS) as standin:
        standin.publication.empty("kent", "2023-04")
        report = ingest_api(database, standin.url)
        [run] = [run for run in report.runs if run.outcome.status is RunStatus.EMPTY]
        counts = (run.outcome.received, run.outcome.stored, run.outcome.rejected, run.outcome.revision)
        assert counts == (None, None, None, None)
        assert state_of(database, "kent", "2023-04") == ("empty", True, False, None)
        assert count_rows(database, "revision") == 7

        assert due(database, standin.url) == []  # not before some hours have passed
        assert due(database, standin.url, retry_empty_after_hours=0) == [
            ("kent", "2023-04", "listed, but came empty before")
        ]
        standin.publication.restore("kent", "2023-04")
        ingest_api(database, standin.url, retry_empty_after_hours=0)
    assert state_of(database, "kent", "2023-04") == ("held", True, False, 1)


def test_law_8_gaps_a_held_month_that_answers_nothing_keeps_its_revision_and_is_doubtful(database: Database) -> None:
    with running_standin(MONTHS) as standin:
        ingest_api(database, standin.url)
        places = row_places(database)
        standin.publication.empty("kent", "2023-04")

        report = ingest_api(database, standin.url, Wanted(recheck=True))

        assert (report.count(RunStatus.UNCHANGED), report.count(RunStatus.EMPTY)) == (7, 1)
        assert state_of(database, "kent", "2023-04") == ("held", True, True, 1)
        assert row_places(database) == places
        assert due(database, standin.url, retry_empty_after_hours=0) == [
            ("kent", "2023-04", "held, but doubtful since")
        ]
        standin.publication.restore("kent", "2023-04")
        ingest_api(database, standin.url, retry_empty_after_hours=0)
    assert state_of(database, "kent", "2023-04") == ("held", True, False, 1)
    assert breaches_of(database) == {}


def test_law_8_gaps_a_month_that_may_be_restated_is_checked_again(database: Database) -> None:
    with running_standin(MONTHS) as standin:
        ingest_api(database, standin.url)
        assert due(database, standin.url, recheck_after_days=1) == []
        with database.connect(autocommit=True) as connection:
            connection.execute("UPDATE month_release SET last_checked_at = last_checked_at - interval '2 days'")
        standin.publication.change("durham", "2023-01", drop=2, add=1)

        assert len(due(database, standin.url, recheck_after_days=1)) == 8
        report = ingest_api(database, standin.url, recheck_after_days=1)

    assert (report.count(RunStatus.UNCHANGED), report.count(RunStatus.REVISED)) == (7, 1)
    [run] = [run for run in report.runs if run.outcome.status is RunStatus.REVISED]
    assert (run.force, str(run.month), run.outcome.added, run.outcome.withdrawn) == ("durham", "2023-01", 1, 2)


def test_law_8_gaps_a_month_that_is_listed_no_more_is_told_apart(database: Database) -> None:
    with running_standin(MONTHS, window=3) as standin:
        for month in ("2023-03", "2023-04"):
            standin.publication.empty("kent", month)
        ingest_api(database, standin.url, Wanted(forces=("kent",)))
        standin.publication.unlist("kent", "2023-03")
        standin.publication.replace("kent", "2023-06", RECORDS)  # the window goes on by two months

        ingest_api(database, standin.url, Wanted(forces=("kent",)))

    assert state_of(database, "kent", "2023-02") == ("held", False, False, 1)  # out of the window, and held
    assert state_of(database, "durham", "2023-02") == ("out_of_window", False, False, None)  # never fetched
    assert state_of(database, "kent", "2023-03") == ("out_of_window", False, False, None)
    assert state_of(database, "kent", "2023-04") == ("empty", True, False, None)
