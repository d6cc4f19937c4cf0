"""
A batch followed from its ledger: each force-month's end once, what is tried again later, and a report as of its runner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from builders.archives import sample_month, write_archive
from builders.ingests import ingest_api, ingest_archives, settings_for
from builders.standin import RunningStandin, make_api_record, running_standin
from builders.worker_batches import RecordingDispatch, planned_by_worker, queued_for_workers, work_off, work_on
from stopsearch.domain.errors import StoreUnavailable, UnknownBatch
from stopsearch.domain.states import BatchStatus, RunStatus
from stopsearch.flows import watch_batch as watching
from stopsearch.flows.cancel_batch import cancel_batch
from stopsearch.flows.plan_batch import plan_batch
from stopsearch.flows.tend_batches import tend_batches
from stopsearch.flows.watch_batch import Look, report_batch, watch_batch
from stopsearch.settings import Settings
from stopsearch.store.batch_progress import QueueProgress, queues_of_batch
from stopsearch.store.batch_reports import find_batch
from stopsearch.store.database import Database

pytestmark = pytest.mark.integration

RECORDS = [make_api_record(datetime=f"2023-07-{day:02d}T10:00:00+00:00") for day in range(1, 6)]
MONTHS: dict[tuple[str, str], Any] = {
    **{(force, f"2023-{month:02d}"): RECORDS for force in ("durham", "kent") for month in range(1, 4)},
    ("kent", "2023-04"): [*RECORDS, make_api_record(gender="?")],
}


@pytest.fixture
def standin() -> Iterator[RunningStandin]:
    with running_standin(MONTHS) as standin:
        yield standin


@pytest.fixture
def settings(standin: RunningStandin) -> Settings:
    return settings_for(standin.url, retry_attempts=1, retry_time_s=1)


def looks_while(database: Database, batch_id: int, *steps: Callable[[], object]) -> list[Look]:
    """
    Watch a batch to its end, and do one step after each look.
    """
    to_do = list(steps)

    def act(_: float) -> None:
        assert to_do, "the batch has not ended"
        to_do.pop(0)()

    return list(watch_batch(database, batch_id, sleep=act))


def keys(months: Any) -> list[tuple[str, str]]:
    return [(month.force, str(month.month)) for month in months]


def test_tells_each_end_once_and_what_is_tried_again(
    database: Database, standin: RunningStandin, settings: Settings
) -> None:
    dispatch = RecordingDispatch()
    batch_id = queued_for_workers(database, settings, dispatch)
    standin.faults.fail(status=503, force="kent", month="2023-03")

    def work_on_all() -> None:
        work_off(database, settings, dispatch)
        standin.faults.clear()

    def try_again() -> None:
        with database.connect(autocommit=True) as connection:
            connection.execute("UPDATE batch_month SET next_at = now() - interval '1 minute' WHERE ended_at IS NULL")
        tend_batches(database, settings, dispatch)
        work_off(database, settings, dispatch)

    looks = looks_while(
        database,
        batch_id,
        lambda: plan_batch(database, settings, dispatch, batch_id),
        lambda: work_on(database, settings, *dispatch.sent.pop(0)),
        work_on_all,
        lambda: None,
        try_again,
    )

    assert [look.batch.status for look in looks] == ["queued", *["running"] * 4, "finished"]
    assert [len(look.ended) for look in looks] == [0, 0, 1, 5, 0, 1]
    assert [keys(look.left) for look in looks] == [[], [], [], [("kent", "2023-03")], [], []]
    [left] = looks[3].left
    assert left.next_at is not None
    assert left.outcome.error_kind == "source_unavailable"
    assert sorted(key for look in looks for key in keys(look.ended)) == sorted(MONTHS)
    assert looks[-1].is_last
    assert not any(look.is_last for look in looks[:-1])


def test_a_report_of_workers_is_that_of_the_same_ingest_in_one_process(
    database: Database, standin: RunningStandin, settings: Settings, tmp_path: Path
) -> None:
    dispatch = RecordingDispatch()
    batch_id = planned_by_worker(database, settings, dispatch)
    standin.faults.fail(status=404, force="durham", month="2023-02")
    work_off(database, settings, dispatch)
    with database.connect(autocommit=True) as connection:
        by_workers = report_batch(database, find_batch(connection, batch_id))
        for table in ("month_release", "revision"):
            connection.execute(f"TRUNCATE {table} CASCADE")
    here = ingest_api(database, standin.url, retry_attempts=1)

    def told(report: Any) -> Any:
        return sorted((run.force, str(run.month), run.source, run.outcome) for run in report.runs)

    for mine, theirs in zip(told(here), told(by_workers), strict=True):
        assert mine[:3] == theirs[:3]
        assert mine[3].status == theirs[3].status
        for name in ("received", "stored", "rejected", "added", "mended", "rejected_by_rule", "error_kind"):
            assert getattr(mine[3], name) == getattr(theirs[3], name), (mine[:2], name)
    assert (by_workers.status, keys(by_workers.due)) == (here.status, keys(here.due))
    assert {month.reason for month in by_workers.due} == {"listed, not held"}


def test_a_batch_of_another_process_is_followed_and_reported_too(
    database: Database, standin: RunningStandin, settings: Settings, tmp_path: Path
) -> None:
    standin.faults.fail(status=404, force="kent", month="2023-03")
    here = ingest_api(database, standin.url, retry_attempts=1)
    write_archive(tmp_path / "2021-11.zip", {("durham", "2019-01"): sample_month("durham", "2019-01")})
    archive = ingest_archives(database, tmp_path / "2021-11.zip")

    for report in (here, archive):
        assert report.batch_id is not None
        [look] = looks_while(database, report.batch_id)
        assert sorted(keys(look.ended)) == sorted(keys(report.runs))
        again = report_batch(database, look.batch)
        assert again.status == report.status
        assert sorted((*keys([run])[0], run.outcome.status) for run in again.runs) == sorted(
            (*keys([run])[0], run.outcome.status) for run in report.runs
        )


def test_a_cancelled_one_says_what_is_left(database: Database, standin: RunningStandin, settings: Settings) -> None:
    dispatch = RecordingDispatch()
    batch_id = planned_by_worker(database, settings, dispatch)
    work_on(database, settings, *dispatch.sent.pop(0))
    cancel_batch(database, batch_id, requested_by="somebody")

    [look] = looks_while(database, batch_id)
    report = report_batch(database, look.batch)

    assert (report.status, report.cancelled_by, report.left) == (BatchStatus.CANCELLED, "somebody", len(MONTHS) - 1)
    assert [run.outcome.status for run in report.runs] == [RunStatus.REVISED]


def test_queues_tell_what_waits_is_tried_again_and_ended(
    database: Database, standin: RunningStandin, settings: Settings
) -> None:
    dispatch = RecordingDispatch()
    batch_id = planned_by_worker(database, settings, dispatch)
    standin.faults.fail(status=503, force="kent", month="2023-03")
    standin.faults.fail(status=404, force="durham", month="2023-03")
    by_key = {(month.force, str(month.month)): (batch, month) for batch, month in dispatch.sent}
    for key in (("kent", "2023-04"), ("kent", "2023-03"), ("durham", "2023-03"), ("durham", "2023-02")):
        work_on(database, settings, *by_key[key])

    with database.connect(autocommit=True) as connection:
        daily, backfill = queues_of_batch(connection, batch_id)

    assert daily.next_at is not None
    assert timedelta(0) < daily.next_at - datetime.now(UTC) < timedelta(minutes=2)
    assert daily == QueueProgress(
        queue="daily", waiting=0, on_the_way=0, again=1, next_at=daily.next_at, ended=2, failed=1
    )
    assert backfill == QueueProgress(
        queue="backfill", waiting=3, on_the_way=0, again=0, next_at=None, ended=1, failed=0
    )


def test_a_database_that_was_away_is_waited_for(
    database: Database, standin: RunningStandin, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    dispatch = RecordingDispatch()
    batch_id = planned_by_worker(database, settings, dispatch)
    find, fails = watching.find_batch, iter([False, True, True])

    def find_or_fail(*arguments: Any) -> Any:
        if next(fails, False):
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        return find(*arguments)

    monkeypatch.setattr(watching, "find_batch", find_or_fail)
    looks = list(watch_batch(database, batch_id, sleep=lambda _: work_off(database, settings, dispatch)))

    assert sorted(key for look in looks for key in keys(look.ended)) == sorted(MONTHS)
    assert len(looks) == 2

    monkeypatch.setattr(watching, "_PATIENCE_S", 0.0)
    monkeypatch.setattr(watching, "find_batch", lambda *_: (_ for _ in ()).throw(psycopg.OperationalError("gone")))
    with pytest.raises(StoreUnavailable):
        list(watch_batch(database, batch_id, poll_s=0.01))


def test_a_number_that_no_batch_has_is_told(database: Database) -> None:
    with pytest.raises(UnknownBatch, match="no batch 5"):
        list(watch_batch(database, 5))
