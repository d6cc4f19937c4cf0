"""
Law 7, courtesy: all processes together stay within the publisher's limit, and leave it alone while it is down.

Every test here asks a stand-in over HTTP that keeps the publisher's own limit: 15 requests a second, bursts of 30.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from builders.ingests import ingest_api
from builders.killable import killables
from builders.standin import RunningStandin, make_api_record, running_standin
from builders.store_state import breaches_of, count_rows
from stopsearch.domain.months import Month
from stopsearch.domain.states import RunStatus
from stopsearch.flows.plan import Wanted
from stopsearch.standin.limit import Limit
from stopsearch.store.database import Database

pytestmark = pytest.mark.integration


def months_of(count: int) -> dict[tuple[str, str], Any]:
    """
    Give so many force-months of one stop each.
    """
    first = Month(2022, 1)
    forces = ("durham", "kent", "surrey", "gwent")
    return {
        (forces[number % 4], str(first.plus(number // 4))): [
            make_api_record(datetime=f"{first.plus(number // 4)}-05T10:00:00+00:00")
        ]
        for number in range(count)
    }


def waits(standin: RunningStandin, month: str) -> list[float]:
    """
    Give the seconds between the requests for one month.
    """
    times = [arrival.at for arrival in standin.stats.arrivals if arrival.month == month]
    return [later - earlier for earlier, later in pairwise(times)]


def test_law_7_courtesy_a_backfill_meets_no_429(database: Database) -> None:
    with running_standin(months_of(60), limit=Limit(), latency_s=0.01) as standin:
        report = ingest_api(database, standin.url, requests_in_flight=5)

    assert report.count(RunStatus.REVISED) == 60
    assert standin.stats.limited == 0
    assert set(standin.stats.by_status) == {200}
    assert standin.stats.max_in_flight <= 5
    assert standin.stats.total <= 60 + 2  # the list, the forces' names, and each month once


def test_law_7_courtesy_processes_share_one_budget(database: Database) -> None:
    forces = (("durham", "kent"), ("surrey", "gwent"))
    with running_standin(months_of(72), limit=Limit()) as standin, ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(lambda two: ingest_api(database, standin.url, Wanted(forces=two)), forces))

    assert [report.count(RunStatus.REVISED) for report in reports] == [36, 36]
    assert standin.stats.limited == 0
    assert standin.stats.by_path["/api/stops-force"] == 72
    assert breaches_of(database) == {}


def test_law_7_courtesy_a_backfill_killed_and_resumed_meets_no_429(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    with (
        running_standin(months_of(64), limit=Limit()) as standin,
        killables(tmp_path / "errors.txt") as processes,
    ):
        for runs in (40, 15, 4):
            processes.run(kill_after=(runs, 0.01), database_url=database_url, upstream_url=standin.url)
        report = ingest_api(database, standin.url)

    assert report.status == "finished"
    assert count_rows(database, "revision") == 64
    assert standin.stats.limited == 0
    assert breaches_of(database) == {}


@pytest.mark.parametrize("as_date", [False, True], ids=["in seconds", "as a date"])
def test_law_7_courtesy_retry_after_is_honoured(database: Database, as_date: bool) -> None:
    with running_standin(months_of(1), limit=Limit()) as standin:
        standin.faults.storm(retry_after_s=2, as_date=as_date, times=1, path="/api/stops-force")
        report = ingest_api(database, standin.url)

    assert report.count(RunStatus.REVISED) == 1
    assert standin.stats.by_status == {200: 2, 429: 1}
    assert min(waits(standin, "2022-01")) >= (1.0 if as_date else 2.0)  # a date has whole seconds


def test_law_7_courtesy_a_storm_without_retry_after_is_waited_out(database: Database) -> None:
    with running_standin(months_of(8), limit=Limit()) as standin:
        order = standin.faults.storm(times=3, path="/api/stops-force")
        report = ingest_api(database, standin.url)

    assert order.met == 3
    assert report.count(RunStatus.REVISED) == 8
    assert standin.stats.limited == 0


def test_law_7_courtesy_nobody_knocks_while_the_publisher_is_down(database: Database) -> None:
    with running_standin(months_of(40), limit=Limit()) as standin:
        standin.faults.fail(503, path="/api/stops-force")
        down = ingest_api(
            database,
            standin.url,
            breaker_failures=3,
            breaker_pause_s=60,
            retry_attempts=2,
            retry_time_s=2,
            requests_in_flight=2,
        )
        asked = standin.stats.by_path["/api/stops-force"]
        standin.faults.clear()
        up = ingest_api(database, standin.url)

    assert down.status == "finished_with_failures"
    assert down.count(RunStatus.FAILED) == 40
    assert asked <= 10, "it went on knocking"
    assert {run.outcome.error_kind for run in down.runs} <= {"upstream_down", "source_unavailable"}
    assert (up.status, up.count(RunStatus.REVISED)) == ("finished", 40)
    assert {month.reason for month in up.due} == {"failed before"}


def test_law_7_courtesy_a_publisher_that_comes_back_is_asked_again_in_the_same_batch(database: Database) -> None:
    with running_standin(months_of(24), limit=Limit()) as standin:
        standin.faults.fail(503, for_s=1.5, path="/api/stops-force")
        report = ingest_api(
            database, standin.url, breaker_failures=3, breaker_pause_s=0.5, retry_attempts=3, retry_time_s=30
        )
        again = ingest_api(database, standin.url)

    assert report.count(RunStatus.REVISED) >= 16
    assert report.count(RunStatus.REVISED) + again.count(RunStatus.REVISED) == 24
    assert standin.stats.limited == 0
