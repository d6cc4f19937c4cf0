"""
The API brought in: only what is due and asked for, in one batch that can be stopped and gone on with.
"""

from __future__ import annotations

import asyncio

import pytest

from builders.ingests import TRIGGER, ingest_api, settings_for
from builders.standin import make_api_record, running_standin
from builders.store_state import breaches_of, count_rows
from stopsearch.domain.errors import MonthOutOfRange, SourceUnavailable, UnknownForce
from stopsearch.domain.months import Month
from stopsearch.domain.states import BatchStatus, RunStatus
from stopsearch.flows.ingest_from_api import ingest_from_api
from stopsearch.flows.plan import Wanted
from stopsearch.flows.runs import Job, RunReport
from stopsearch.store.database import Database

pytestmark = pytest.mark.integration

RECORDS = [make_api_record(datetime=f"2023-07-{day:02d}T10:00:00+00:00") for day in range(1, 6)]
MONTHS = {(force, f"2023-{month:02d}"): RECORDS for force in ("durham", "kent") for month in range(1, 7)}


def test_only_what_is_wanted_is_asked_for(database: Database) -> None:
    wanted = Wanted(forces=("kent",), first=Month(2023, 2), last=Month(2023, 3))
    with running_standin(MONTHS) as standin:
        report = ingest_api(database, standin.url, wanted)

    assert sorted((run.force, str(run.month)) for run in report.runs) == [("kent", "2023-02"), ("kent", "2023-03")]
    assert standin.stats.by_path["/api/stops-force"] == 2
    assert "/api/stops-no-location" not in standin.stats.by_path
    assert report.traffic is not None
    assert report.traffic.requests == standin.stats.total


def test_every_request_says_who_asks(database: Database) -> None:
    with running_standin(MONTHS) as standin:
        ingest_api(database, standin.url, Wanted(forces=("kent",)), contact="ops@example.org")

    assert all("stopsearch" in arrival.user_agent for arrival in standin.stats.arrivals)
    assert all("ops@example.org" in arrival.user_agent for arrival in standin.stats.arrivals)


def test_nothing_due_makes_no_batch(database: Database) -> None:
    with running_standin(MONTHS) as standin:
        ingest_api(database, standin.url)
        again = ingest_api(database, standin.url)

    assert (again.batch_id, again.due, again.status) == (None, [], BatchStatus.FINISHED)
    assert count_rows(database, "ingest_batch") == 1


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        (Wanted(forces=("kenty",)), UnknownForce),
        (Wanted(first=Month(2031, 1)), MonthOutOfRange),
        (Wanted(last=Month(2011, 1)), MonthOutOfRange),
        (Wanted(first=Month(2023, 3), last=Month(2023, 2)), MonthOutOfRange),
    ],
)
def test_what_cannot_be_meant_is_refused_with_nothing_written(
    database: Database, wanted: Wanted, error: type[Exception]
) -> None:
    with running_standin(MONTHS) as standin, pytest.raises(error) as refused:
        ingest_api(database, standin.url, wanted)

    assert refused.value.remedy  # type: ignore[attr-defined]
    assert count_rows(database, "ingest_batch") == count_rows(database, "month_release") == 0


def test_a_publisher_out_of_reach_is_said_so_and_nothing_is_written(database: Database) -> None:
    with pytest.raises(SourceUnavailable):
        ingest_api(database, "http://127.0.0.1:9/api", retry_attempts=1, retry_time_s=1)

    assert count_rows(database, "ingest_batch") == 0


@pytest.mark.parametrize("spoil", ["cut_off", "truncate", "html", "drop"])
def test_a_spoiled_answer_is_asked_for_again(database: Database, spoil: str) -> None:
    with running_standin({("durham", "2023-07"): RECORDS}) as standin:
        getattr(standin.faults, spoil)(times=2, path="/api/stops-force")
        report = ingest_api(database, standin.url)

    assert report.count(RunStatus.REVISED) == 1
    assert count_rows(database, "stop") == len(RECORDS)
    assert standin.stats.asked("durham", "2023-07") == 3


def test_a_month_is_published_as_of_its_fetch(database: Database) -> None:
    with running_standin({("durham", "2023-07"): RECORDS}) as standin:
        ingest_api(database, standin.url)

    with database.connect() as connection:
        row = connection.execute("SELECT published_at = fetched_at, source, origin FROM revision").fetchone()
    assert row is not None
    assert row[:2] == (True, "api")
    assert row[2].startswith(standin.root)
    assert "date=2023-07" in row[2]


def test_a_batch_that_is_told_to_stop_ends_cleanly_and_the_next_goes_on(database: Database) -> None:
    stopping = asyncio.Event()

    class StopsAfterTwo:
        finished = 0

        def run_started(self, job: Job) -> None:
            pass

        def run_finished(self, report: RunReport) -> None:
            self.finished += 1
            if self.finished == 2:
                stopping.set()

    with running_standin(MONTHS) as standin:
        standin.faults.slow(0.2, path="/api/stops-force")
        report = asyncio.run(
            ingest_from_api(
                database,
                settings_for(standin.url, requests_in_flight=2),
                Wanted(),
                trigger=TRIGGER,
                watcher=lambda *_: StopsAfterTwo(),
                stopping=stopping,
            )
        )
        assert report.status is BatchStatus.CANCELLED
        assert 2 <= report.count(RunStatus.REVISED) <= 4
        assert breaches_of(database) == {}
        standin.faults.clear()

        again = ingest_api(database, standin.url)

    assert again.count(RunStatus.REVISED) == len(MONTHS) - report.count(RunStatus.REVISED)
    assert count_rows(database, "revision") == len(MONTHS)
