"""
The runner of a server: it stops cleanly or is cut short, and the next one goes on with what was unfinished.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from builders.archives import sample_month, write_archive
from builders.ingestion_server import ENDED, server_settings
from builders.ingests import TRIGGER, ingest_api
from builders.standin import make_api_record, running_standin
from builders.store_state import breaches_of, count_rows
from stopsearch.domain.months import Month
from stopsearch.domain.states import Source
from stopsearch.flows import bring_in, queued_batches
from stopsearch.flows.asked_batches import AskedIngest, AskedReplay
from stopsearch.flows.batches import Batch, Trigger
from stopsearch.flows.plan import Wanted
from stopsearch.flows.queued_batches import queue_batch, waiting_batches
from stopsearch.serve import ingestion_runner
from stopsearch.serve.ingestion_runner import IngestionRunner
from stopsearch.settings import Settings
from stopsearch.store.batch_reports import BatchEntry, find_batch, runs_of_batch
from stopsearch.store.database import Database
from stopsearch.store.forces import force_code
from stopsearch.store.ledger import begin_batch, begin_run, end_stale_batches
from stopsearch.store.locks import try_lock_month

pytestmark = pytest.mark.integration

RECORDS = [make_api_record(datetime=f"2023-07-{day:02d}T10:00:00+00:00") for day in range(1, 6)]
MONTHS = {(force, f"2023-{month:02d}"): RECORDS for force in ("durham", "kent") for month in range(1, 7)}
PATIENCE_S = 60.0


def queue(database: Database, settings: Settings, **wanted: Any) -> int:
    return queue_batch(database, settings, AskedIngest(wanted=Wanted(**wanted)), requested_by="a test")


def batch_of(database: Database, batch_id: int) -> BatchEntry:
    with database.connect(autocommit=True) as connection:
        return find_batch(connection, batch_id)


def runs_of(database: Database, batch_id: int) -> list[tuple[str, str, str]]:
    with database.connect(autocommit=True) as connection:
        runs = runs_of_batch(connection, batch_id, after=0, limit=1000)
    return [(run.force, run.month, run.status) for run in runs]


def wait_until(holds: Any) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def until_ended(database: Database, batch_id: int) -> BatchEntry:
    wait_until(lambda: batch_of(database, batch_id).status in ENDED)
    return batch_of(database, batch_id)


@pytest.mark.parametrize("recheck", [False, True])
def test_the_next_runner_goes_on_with_a_batch_that_was_stopped(database: Database, recheck: bool) -> None:
    with running_standin(MONTHS) as standin:
        if recheck:
            ingest_api(database, standin.url)
            standin.stats.reset()
        settings = server_settings(standin.url, requests_in_flight=2)
        standin.faults.slow(0.1, path="/api/stops-force")
        batch_id = queue(database, settings, recheck=recheck)
        with IngestionRunner(database, settings):
            wait_until(lambda: batch_of(database, batch_id).ended >= 3)
        stopped = batch_of(database, batch_id)
        settled = [run for run in runs_of(database, batch_id) if run[2] in ("revised", "unchanged")]
        standin.faults.clear()
        with IngestionRunner(database, settings):
            ended = until_ended(database, batch_id)

    assert (stopped.status, stopped.is_alive, stopped.ended_at) == ("queued", False, None)
    assert 3 <= len(settled) < len(MONTHS)
    assert ended.status == "finished"
    assert (ended.force_months, ended.ended) == (len(MONTHS), len(MONTHS))
    done = [run for run in runs_of(database, batch_id) if run[2] in ("revised", "unchanged")]
    assert sorted(run[:2] for run in done) == sorted(MONTHS)
    assert [standin.stats.asked(*run[:2]) for run in settled] == [1] * len(settled)
    assert count_rows(database, "ingest_batch") == 1 + recheck
    assert count_rows(database, "revision") == len(MONTHS)
    assert breaches_of(database) == {}


def test_the_next_runner_goes_on_with_a_batch_whose_process_was_killed(database: Database) -> None:
    with running_standin(MONTHS) as standin:
        settings = server_settings(standin.url)
        batch_id = queue(database, settings)
        batch = Batch(database, Trigger(name="http", requested_by="a test"), {}, queued_id=batch_id)
        with database.connect(autocommit=True) as connection:
            code = force_code(connection, "kent")
            begin_run(
                connection,
                batch_id=batch_id,
                force_code=code,
                month=Month(2023, 1),
                source=Source.API,
                at=datetime.now(UTC),
            )
        batch._connection.close()  # as a kill does: the lock is gone, and nothing was said
        killed = batch_of(database, batch_id)
        with IngestionRunner(database, settings):
            ended = until_ended(database, batch_id)

    assert (killed.status, killed.is_alive) == ("running", False)
    assert ended.status == "finished"
    assert ended.runs == {"revised": len(MONTHS), "cancelled": 1}


def test_other_batches_end_those_cut_short_but_for_the_ones_that_a_server_was_asked_for(database: Database) -> None:
    now = datetime.now(UTC)
    with database.connect(autocommit=True) as connection:
        of_command = begin_batch(connection, trigger="ingest", requested_by="a test", asked_for={}, at=now)
    of_server = queue(database, server_settings())
    Batch(database, TRIGGER, {}, queued_id=of_server)._connection.close()

    with database.connect(autocommit=True) as connection:
        # The server lets go of a closed connection's locks a moment later.
        wait_until(
            lambda: end_stale_batches(connection, at=now) == 0 and batch_of(database, of_server).status == "queued"
        )
        wait_until(
            lambda: batch_of(database, of_command).status == "cancelled" or end_stale_batches(connection, at=now)
        )

    assert batch_of(database, of_command).status == "cancelled"
    assert batch_of(database, of_server).status == "queued"
    assert [entry.id for entry in waiting_batches(database)] == [of_server]


def test_members_that_a_stopped_batch_has_read_are_not_read_again(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [("durham", "2019-01"), ("wiltshire", "2019-01"), ("wiltshire", "2019-02"), ("cleveland", "2019-02")]
    for name in ("2021-11.zip", "2021-12.zip"):
        write_archive(tmp_path / name, {key: sample_month(*key) for key in keys})
    settings = server_settings(archive_dir=tmp_path)
    asked = AskedIngest(wanted=Wanted(), source=Source.ARCHIVE, archives=("2021-12.zip", "2021-11.zip"))
    batch_id = queue_batch(database, settings, asked, requested_by="a test")

    slow = bring_in.prepare_edition

    def prepare_slowly(*args: Any, **kwargs: Any) -> Any:
        time.sleep(0.1)
        return slow(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(bring_in, "prepare_edition", prepare_slowly)
        with IngestionRunner(database, settings):
            wait_until(lambda: batch_of(database, batch_id).ended >= 2)
    stopped = batch_of(database, batch_id)
    with IngestionRunner(database, settings):
        ended = until_ended(database, batch_id)

    assert stopped.status == "queued"
    assert 2 <= stopped.ended < 2 * len(keys)
    assert (ended.status, ended.ended, ended.force_months) == ("finished", 2 * len(keys), 2 * len(keys))
    assert ended.runs["revised"] + ended.runs["unchanged"] == 2 * len(keys)


def test_a_batch_that_still_asks_what_is_listed_stops_at_once(database: Database) -> None:
    with running_standin(MONTHS) as standin:
        standin.faults.hang(60, path="/api/crimes-street-dates")
        settings = server_settings(standin.url)
        batch_id = queue(database, settings)
        with IngestionRunner(database, settings):
            wait_until(lambda: standin.stats.max_in_flight > 0)
            began = time.monotonic()
        took_s = time.monotonic() - began

    assert batch_of(database, batch_id).status == "queued"
    assert took_s < 30  # and not the minute for which the publisher says nothing


def test_runners_of_two_servers_run_each_batch_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[int] = []
    both_look = threading.Barrier(2, timeout=20)

    async def count(_database: Any, _settings: Any, entry: Any, *_: Any) -> list[Any]:
        runs.append(entry.id)
        return []

    look = ingestion_runner.waiting_batches

    def look_together(database: Database) -> Any:
        found = look(database)
        if found:
            both_look.wait()
        return found

    monkeypatch.setattr(queued_batches, "_bring_in", count)
    monkeypatch.setattr(ingestion_runner, "waiting_batches", look_together)
    settings = server_settings()
    ids = [queue(database, settings) for _ in range(5)]
    with IngestionRunner(database, settings), IngestionRunner(database, settings):
        for batch_id in ids:
            until_ended(database, batch_id)

    assert sorted(runs) == ids


def test_batches_run_one_after_another_in_the_order_asked_for(database: Database) -> None:
    with running_standin(MONTHS) as standin:
        settings = server_settings(standin.url)
        wanted = [{"forces": ("kent",)}, {"forces": ("durham",)}, {}]
        ids = [queue(database, settings, **each) for each in wanted]
        with IngestionRunner(database, settings):
            ended = [until_ended(database, batch_id) for batch_id in ids]

    assert [batch.runs for batch in ended] == [{"revised": 6}, {"revised": 6}, {}]
    for earlier, later in pairwise(ended):
        assert earlier.ended_at is not None
        assert later.started_at is not None
        assert earlier.ended_at <= later.started_at


def test_a_force_month_that_another_process_writes_is_said_to_be_busy(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bring_in, "_BUSY_WAIT_S", 0.0)
    with running_standin(MONTHS) as standin, database.connect(autocommit=True) as other:
        assert try_lock_month(other, force_code(other, "kent"), Month(2023, 2))
        settings = server_settings(standin.url)
        batch_id = queue(database, settings, forces=("kent",))
        with IngestionRunner(database, settings):
            ended = until_ended(database, batch_id)

    assert ended.status == "finished_with_failures"
    assert ended.runs == {"revised": 5, "busy": 3}
    assert (ended.force_months, ended.ended) == (6, 5)


def test_a_database_that_was_away_is_looked_at_again(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingestion_runner, "_LOOK_AGAIN_S", 0.05)
    looks: list[int] = []
    look = ingestion_runner.waiting_batches

    def fail_at_first(database: Database) -> Any:
        looks.append(1)
        if len(looks) < 3:
            raise RuntimeError("away")
        return look(database)

    monkeypatch.setattr(ingestion_runner, "waiting_batches", fail_at_first)
    settings = server_settings()
    batch_id = queue_batch(database, settings, AskedReplay(), requested_by="a test")
    with IngestionRunner(database, settings) as runner:
        assert until_ended(database, batch_id).status == "finished"
        assert runner.is_running

    assert not runner.is_running
    runner.wake()  # of no use any more, and no harm
