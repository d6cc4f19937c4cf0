"""
A batch is cancelled, whoever runs it: it ends soon, what came in stays, and the next ingest brings the rest in.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from builders.archives import sample_month, write_archive
from builders.command_line import command_line_of, end
from builders.ingestion_server import server_settings
from builders.ingests import TRIGGER, bring_one_in, edition, ingest_api, ingest_archives, settings_for
from builders.standin import RunningStandin, make_api_record, running_standin
from builders.store_state import breaches_of, content_of, count_rows
from builders.worker_batches import (
    RecordingDispatch,
    outstanding,
    planned_by_worker,
    queued_for_workers,
    work_off,
    work_on,
)
from stopsearch.domain.errors import BatchEnded, UnknownBatch
from stopsearch.domain.states import BatchStatus, RunStatus, Source
from stopsearch.flows import bring_in, rebuild
from stopsearch.flows.asked_batches import AskedIngest, AskedReplay
from stopsearch.flows.batches import Batch, BatchReport
from stopsearch.flows.cancel_batch import cancel_batch
from stopsearch.flows.ingest_from_api import ingest_from_api
from stopsearch.flows.plan import Wanted
from stopsearch.flows.plan_batch import plan_batch
from stopsearch.flows.queued_batches import queue_batch, waiting_batches
from stopsearch.flows.rebuild import reprocess
from stopsearch.flows.tend_batches import tend_batches
from stopsearch.serve.ingestion_runner import IngestionRunner
from stopsearch.store.batch_reports import BatchEntry, find_batch
from stopsearch.store.database import Database
from stopsearch.store.forces import force_code
from stopsearch.store.ledger import begin_batch, begin_run, end_stale_batches
from stopsearch.store.locks import try_lock_month

pytestmark = pytest.mark.integration

RECORDS = [make_api_record(datetime=f"2023-07-{day:02d}T10:00:00+00:00") for day in range(1, 6)]
MONTHS = {(force, f"2023-{month:02d}"): RECORDS for force in ("durham", "kent") for month in range(1, 9)}
PATIENCE_S = 60.0


@pytest.fixture
def standin() -> Iterator[RunningStandin]:
    with running_standin(MONTHS) as standin:
        yield standin


def batch_of(database: Database, batch_id: int) -> BatchEntry:
    with database.connect(autocommit=True) as connection:
        return find_batch(connection, batch_id)


def cancel(database: Database, batch_id: int) -> BatchEntry:
    return cancel_batch(database, batch_id, requested_by="somebody")


def wait_until(holds: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def check_the_rest_comes_in(database: Database, standin: RunningStandin) -> None:
    """
    See that nothing is stuck, and that the next ingest brings in what the cancelled batch did not.
    """
    held = count_rows(database, "revision")
    with database.connect(autocommit=True) as connection:
        for table in ("ingest_batch", "ingest_run"):
            row = connection.execute(f"SELECT count(*) FROM {table} WHERE status IN ('queued', 'running')").fetchone()
            assert row == (0,)
        assert connection.execute("SELECT count(*) FROM batch_month WHERE ended_at IS NULL").fetchone() == (0,)
    standin.faults.clear()
    report = ingest_api(database, standin.url)
    assert report.status is BatchStatus.FINISHED
    assert len(report.runs) == len(MONTHS) - held
    assert count_rows(database, "revision") == len(MONTHS)
    assert breaches_of(database) == {}


def test_one_that_runs_in_a_process_ends_soon(database: Database, standin: RunningStandin) -> None:
    standin.faults.slow(0.4, path="/api/stops-force")
    settings = settings_for(standin.url, requests_in_flight=1)
    reports: list[BatchReport] = []

    def ingest() -> None:
        reports.append(asyncio.run(ingest_from_api(database, settings, Wanted(), trigger=TRIGGER)))

    thread = threading.Thread(target=ingest)
    thread.start()
    wait_until(lambda: count_rows(database, "revision") >= 2)
    asked = cancel(database, 1)
    thread.join(PATIENCE_S)

    [report] = reports
    assert (asked.status, asked.cancel_asked_by) == (BatchStatus.RUNNING, "somebody")
    assert (report.status, report.cancelled_by) == (BatchStatus.CANCELLED, "somebody")
    assert 0 < report.left < len(MONTHS) - 1
    ended = batch_of(database, 1)
    assert ended.status is BatchStatus.CANCELLED
    assert ended.ended_at is not None
    assert ended.cancel_asked_at is not None
    assert ended.ended_at >= ended.cancel_asked_at
    check_the_rest_comes_in(database, standin)


def test_the_command_that_runs_it_says_who_ended_it(
    database: Database, standin: RunningStandin, tmp_path: Path
) -> None:
    standin.faults.slow(0.4, path="/api/stops-force")
    stopsearch = command_line_of(database, tmp_path)
    process = stopsearch.start("ingest", UPSTREAM_URL=standin.url, REQUESTS_IN_FLIGHT="1")
    wait_until(lambda: count_rows(database, "revision") >= 1)
    told = stopsearch.look("batches", "cancel", "1").out
    ended = end(process)

    assert "Batch 1 ends as soon as what is being stored is finished." in told
    assert ended.code == 130, ended
    assert "Cancelled by " in ended.out
    assert "Run the same again: it goes on from here." in ended.out
    assert "Traceback" not in ended.err
    check_the_rest_comes_in(database, standin)


def test_a_command_that_reads_archives_stops_between_members(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [("durham", "2019-01"), ("wiltshire", "2019-01"), ("wiltshire", "2019-02"), ("cleveland", "2019-02")]
    archives = [
        write_archive(tmp_path / name, {key: sample_month(*key) for key in keys})
        for name in ("2021-10.zip", "2021-11.zip")
    ]
    prepare = bring_in.prepare_edition

    def prepare_slowly(*args: Any, **kwargs: Any) -> Any:
        if count_rows(database, "revision") == 0:
            cancel(database, 1)
        time.sleep(0.5)
        return prepare(*args, **kwargs)

    monkeypatch.setattr(bring_in, "prepare_edition", prepare_slowly)
    report = ingest_archives(database, *archives)

    assert report.status is BatchStatus.CANCELLED
    assert report.left >= 1
    monkeypatch.undo()
    assert ingest_archives(database, *archives).status is BatchStatus.FINISHED
    assert breaches_of(database) == {}


def test_a_rebuild_leaves_the_force_months_that_it_has_not_begun(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 5):
        bring_one_in(database, edition(RECORDS, month=f"2023-0{number}"))
    last = count_rows(database, "ingest_batch")
    rebuilds = []

    class Rebuild(rebuild.Rebuild):
        def run(self, batch_id: int) -> Any:
            rebuilds.append(batch_id)
            if len(rebuilds) == 2:
                cancel(database, batch_id)
            return super().run(batch_id)

    monkeypatch.setattr(rebuild, "Rebuild", Rebuild)
    report = reprocess(database, settings_for(), Wanted(), trigger=TRIGGER)

    assert (report.batch_id, report.cancelled_by, len(report.runs)) == (last + 1, "somebody", 2)
    assert batch_of(database, last + 1).status is BatchStatus.CANCELLED


def test_one_that_a_server_runs_ends_and_is_not_queued_again(database: Database, standin: RunningStandin) -> None:
    standin.faults.slow(0.4, path="/api/stops-force")
    settings = server_settings(standin.url, requests_in_flight=1)
    first, second = (
        queue_batch(database, settings, AskedIngest(wanted=Wanted(forces=(force,))), requested_by="a test")
        for force in ("kent", "durham")
    )
    with IngestionRunner(database, settings) as runner:
        wait_until(lambda: batch_of(database, first).ended >= 1)
        cancel(database, first)
        wait_until(lambda: batch_of(database, first).status is not BatchStatus.RUNNING)
        standin.faults.clear()
        wait_until(lambda: batch_of(database, second).status is BatchStatus.FINISHED)
        assert runner.is_running
        assert waiting_batches(database) == []

    assert batch_of(database, first).status is BatchStatus.CANCELLED
    assert 1 <= batch_of(database, first).ended < 8
    check_the_rest_comes_in(database, standin)


def test_one_that_a_server_has_not_planned_yet_ends_though_the_publisher_says_nothing(
    database: Database, standin: RunningStandin
) -> None:
    standin.faults.hang(60, path="/api/crimes-street-dates")
    settings = server_settings(standin.url)
    batch_id = queue_batch(database, settings, AskedIngest(wanted=Wanted()), requested_by="a test")
    with IngestionRunner(database, settings):
        wait_until(lambda: standin.stats.max_in_flight > 0)
        cancel(database, batch_id)
        began = time.monotonic()
        wait_until(lambda: batch_of(database, batch_id).status is BatchStatus.CANCELLED)
        assert time.monotonic() - began < 30


def test_one_that_waits_for_a_server_ends_at_once_and_is_never_begun(
    database: Database, standin: RunningStandin
) -> None:
    settings = server_settings(standin.url)
    batch_id = queue_batch(database, settings, AskedIngest(wanted=Wanted()), requested_by="a test")

    assert cancel(database, batch_id).status is BatchStatus.CANCELLED

    assert waiting_batches(database) == []
    with IngestionRunner(database, settings):
        time.sleep(0.3)
    assert (batch_of(database, batch_id).status, batch_of(database, batch_id).runs) == (BatchStatus.CANCELLED, {})
    check_the_rest_comes_in(database, standin)


@pytest.mark.parametrize("is_of_server", [True, False])
def test_one_whose_process_was_killed_ends_at_once(database: Database, is_of_server: bool) -> None:
    if is_of_server:
        batch_id = queue_batch(database, server_settings(), AskedReplay(), requested_by="a test")
        Batch(database, TRIGGER, {}, queued_id=batch_id)._connection.close()
    else:
        with database.connect(autocommit=True) as connection:
            batch_id = begin_batch(
                connection, trigger="ingest", requested_by="a test", asked_for={}, at=datetime.now(UTC)
            )
    wait_until(lambda: not batch_of(database, batch_id).is_alive)

    assert cancel(database, batch_id).status is BatchStatus.CANCELLED
    assert waiting_batches(database) == []


def test_one_that_is_killed_before_it_notices_does_not_wait_again(database: Database) -> None:
    batch_id = queue_batch(database, server_settings(), AskedReplay(), requested_by="a test")
    batch = Batch(database, TRIGGER, {}, queued_id=batch_id)
    assert cancel(database, batch_id).status is BatchStatus.RUNNING
    batch._connection.close()

    with database.connect(autocommit=True) as connection:
        wait_until(lambda: end_stale_batches(connection, at=datetime.now(UTC)))
    assert batch_of(database, batch_id).status is BatchStatus.CANCELLED
    assert waiting_batches(database) == []


def test_one_of_workers_that_is_not_planned_is_never_planned(database: Database, standin: RunningStandin) -> None:
    settings, dispatch = settings_for(standin.url), RecordingDispatch()
    batch_id = queued_for_workers(database, settings, dispatch)

    assert cancel(database, batch_id).status is BatchStatus.CANCELLED

    assert plan_batch(database, settings, dispatch, batch_id) == 0
    assert (dispatch.sent, count_rows(database, "batch_month")) == ([], 0)
    assert tend_batches(database, settings, dispatch).planned_again == 0
    check_the_rest_comes_in(database, standin)


def test_one_of_workers_that_nobody_works_on_ends_at_once_and_its_tasks_do_nothing(
    database: Database, standin: RunningStandin
) -> None:
    settings, dispatch = settings_for(standin.url), RecordingDispatch()
    batch_id = planned_by_worker(database, settings, dispatch)
    for _ in range(3):
        work_on(database, settings, *dispatch.sent.pop(0))

    ended = cancel(database, batch_id)
    work_off(database, settings, dispatch)

    assert (ended.status, ended.ended, ended.runs) == (BatchStatus.CANCELLED, len(MONTHS), {RunStatus.REVISED: 3})
    assert batch_of(database, batch_id) == ended
    assert sum(standin.stats.asked(*key) for key in MONTHS) == 3
    check_the_rest_comes_in(database, standin)


def test_what_a_worker_has_in_hand_is_finished_and_closes_the_batch(
    database: Database, standin: RunningStandin
) -> None:
    settings, dispatch = settings_for(standin.url), RecordingDispatch()
    batch_id = planned_by_worker(database, settings, dispatch)
    _, month = dispatch.sent[0]
    seen: list[BatchEntry] = []
    fetch = bring_in.BringIn._bring_one_in

    async def cancel_then_bring_in(self: Any, *arguments: Any) -> Any:
        seen.append(await asyncio.to_thread(cancel, database, batch_id))  # now that it holds the force-month's lock
        return await fetch(self, *arguments)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(bring_in.BringIn, "_bring_one_in", cancel_then_bring_in)
        done = work_on(database, settings, batch_id, month)

    assert [(look.status, look.ended) for look in seen] == [(BatchStatus.RUNNING, len(MONTHS) - 1)]
    assert (done.status, done.batch_status) == (RunStatus.REVISED, BatchStatus.CANCELLED)
    assert batch_of(database, batch_id).runs == {RunStatus.REVISED: 1}
    check_the_rest_comes_in(database, standin)


def test_what_fails_in_passing_while_its_batch_is_cancelled_is_not_tried_again(
    database: Database, standin: RunningStandin
) -> None:
    settings, dispatch = settings_for(standin.url, retry_attempts=1, retry_time_s=1), RecordingDispatch()
    batch_id = planned_by_worker(database, settings, dispatch)
    _, month = dispatch.sent[0]
    standin.faults.fail(status=503, path="/api/stops-force")
    # It is claimed and locked by another, so that cancelling leaves it be.
    with database.connect(autocommit=True) as other:
        code = force_code(other, month.force)

        def lock_and_cancel() -> None:
            assert try_lock_month(other, code, month.month)
            assert cancel(database, batch_id).status is BatchStatus.RUNNING
            other.execute("SELECT pg_advisory_unlock_all()")

        done = work_on(database, settings, batch_id, month, meanwhile=lock_and_cancel)

    assert done.status is RunStatus.FAILED
    assert outstanding(database, batch_id) == set()
    assert batch_of(database, batch_id).status is BatchStatus.CANCELLED
    check_the_rest_comes_in(database, standin)


def test_what_a_killed_worker_had_in_hand_does_not_keep_the_batch_open(
    database: Database, standin: RunningStandin
) -> None:
    settings, dispatch = settings_for(standin.url), RecordingDispatch()
    batch_id = planned_by_worker(database, settings, dispatch)
    _, month = dispatch.sent[0]
    with database.connect(autocommit=True) as worker:
        assert try_lock_month(worker, force_code(worker, month.force), month.month)

        def die() -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            work_on(database, settings, batch_id, month, meanwhile=die)
        assert cancel(database, batch_id).status is BatchStatus.RUNNING
    wait_until(lambda: tend_batches(database, settings, dispatch).closed)

    assert batch_of(database, batch_id).status is BatchStatus.CANCELLED
    check_the_rest_comes_in(database, standin)


def test_a_run_that_began_after_the_end_and_whose_worker_was_lost_is_ended(
    database: Database, standin: RunningStandin
) -> None:
    settings, dispatch = settings_for(standin.url), RecordingDispatch()
    batch_id = planned_by_worker(database, settings, dispatch)
    _, month = dispatch.sent[0]

    def end_it_and_die() -> None:
        # Claimed and not locked yet: cancelling takes it for one that nobody works on.
        assert cancel(database, batch_id).status is BatchStatus.CANCELLED
        with database.connect(autocommit=True) as worker:
            code = force_code(worker, month.force)
            assert try_lock_month(worker, code, month.month)
            begin_run(
                worker,
                batch_id=batch_id,
                force_code=code,
                month=month.month,
                source=Source.API,
                at=datetime.now(UTC),
            )
            # A second delivery while it is written leaves it be.
            assert work_on(database, settings, batch_id, month).status is None
            assert batch_of(database, batch_id).runs == {RunStatus.RUNNING: 1}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work_on(database, settings, batch_id, month, meanwhile=end_it_and_die)

    def delivered_again() -> bool:
        work_on(database, settings, batch_id, month)
        return batch_of(database, batch_id).runs == {RunStatus.CANCELLED: 1}

    wait_until(delivered_again)
    check_the_rest_comes_in(database, standin)


def test_asked_twice_it_stays_as_it_was_asked_first(database: Database, standin: RunningStandin) -> None:
    settings, dispatch = settings_for(standin.url), RecordingDispatch()
    batch_id = planned_by_worker(database, settings, dispatch)

    first = cancel(database, batch_id)
    second = cancel_batch(database, batch_id, requested_by="somebody else")

    assert second == first
    assert first.cancel_asked_by == "somebody"


def test_one_that_has_ended_otherwise_says_how(database: Database, standin: RunningStandin) -> None:
    ingest_api(database, standin.url)
    before = content_of(database), batch_of(database, 1)

    with pytest.raises(BatchEnded, match=r"Batch 1 has ended at .* \(finished\)"):
        cancel(database, 1)
    with pytest.raises(UnknownBatch, match="There is no batch 7"):
        cancel(database, 7)

    assert (content_of(database), batch_of(database, 1)) == before


def test_many_who_ask_at_once_while_workers_work_end_it_once(database: Database, standin: RunningStandin) -> None:
    settings, dispatch = settings_for(standin.url), RecordingDispatch()
    batch_id = planned_by_worker(database, settings, dispatch)
    tasks = list(dispatch.sent)
    threads = [
        *(threading.Thread(target=work_on, args=(database, settings, *task)) for task in tasks[:4]),
        *(threading.Thread(target=cancel, args=(database, batch_id)) for _ in range(4)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)

    assert batch_of(database, batch_id).status is BatchStatus.CANCELLED
    check_the_rest_comes_in(database, standin)


def test_an_archive_of_a_server_that_was_cancelled_is_not_gone_on_with(database: Database, tmp_path: Path) -> None:
    write_archive(tmp_path / "2021-11.zip", {("durham", "2019-01"): sample_month("durham", "2019-01")})
    settings = server_settings(archive_dir=tmp_path)
    asked = AskedIngest(wanted=Wanted(), source=Source.ARCHIVE, archives=("2021-11.zip",))
    batch_id = queue_batch(database, settings, asked, requested_by="a test")
    cancel(database, batch_id)

    with IngestionRunner(database, settings):
        time.sleep(0.3)

    assert count_rows(database, "ingest_run") == 0
