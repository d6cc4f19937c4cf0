"""
Workers as processes on a real broker: today's data is not kept waiting, a worker that is told to end hands its task on,
and the process that forks the others stays small.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from builders.ingests import settings_for
from builders.standin import RunningStandin, make_api_record, running_standin
from builders.store_state import breaches_of
from builders.worker_batches import outstanding
from builders.workers import running_worker
from stopsearch.domain.errors import BrokerUnavailable
from stopsearch.domain.months import Month
from stopsearch.domain.states import BatchStatus
from stopsearch.flows.asked_batches import AskedIngest
from stopsearch.flows.plan import Wanted
from stopsearch.flows.plan_batch import queue_for_workers, send_batch
from stopsearch.settings import Settings
from stopsearch.store.batch_reports import find_batch
from stopsearch.store.database import Database
from stopsearch.worker.app import declare_queues, make_celery
from stopsearch.worker.dispatch import CeleryDispatch
from stopsearch.worker.queues import DEAD_QUEUE, TASK_QUEUES

pytestmark = pytest.mark.integration

RECORDS = [make_api_record(datetime=f"2023-07-{day:02d}T10:00:00+00:00") for day in range(1, 6)]
MONTHS = {("kent", str(Month(2023, 7).plus(-back))): RECORDS for back in range(24)}
NEWEST = {("kent", Month(2023, 7)), ("kent", Month(2023, 6))}
PATIENCE_S = 90.0


@pytest.fixture
def standin() -> Iterator[RunningStandin]:
    with running_standin(MONTHS, latency_s=0.5) as standin:
        yield standin


@pytest.fixture
def environment(database_url: str, broker_url: str, redis_url: str, standin: RunningStandin) -> dict[str, str]:
    return {
        "STOPSEARCH_DATABASE_URL": database_url,
        "STOPSEARCH_BROKER_URL": broker_url,
        "STOPSEARCH_REDIS_URL": redis_url,
        "STOPSEARCH_UPSTREAM_URL": standin.url,
    }


@pytest.fixture
def settings(environment: Mapping[str, str]) -> Settings:
    return settings_for(
        **{name.removeprefix("STOPSEARCH_").lower(): value for name, value in environment.items()},
    )


def start(database: Database, settings: Settings, **wanted: Month) -> int:
    batch_id = queue_for_workers(
        database, settings, AskedIngest(wanted=Wanted(**wanted)), trigger="ingest", requested_by="a test"
    )
    assert send_batch(database, CeleryDispatch.from_settings(settings), batch_id)
    return batch_id


def status_of(database: Database, batch_id: int) -> BatchStatus:
    with database.connect(autocommit=True) as connection:
        return find_batch(connection, batch_id).status


def wait_until(database: Database, batch_id: int, *statuses: BatchStatus) -> None:
    until = time.monotonic() + PATIENCE_S
    while status_of(database, batch_id) not in statuses:
        assert time.monotonic() < until, status_of(database, batch_id)
        time.sleep(0.1)


def test_a_backfill_does_not_keep_todays_data_waiting(
    database: Database, settings: Settings, environment: Mapping[str, str], tmp_path: Path
) -> None:
    with running_worker(environment, tmp_path / "worker.log", "--concurrency", "1"):
        backfill = start(database, settings, last=Month(2023, 5))
        wait_until(database, backfill, BatchStatus.RUNNING)
        daily = start(database, settings, first=Month(2023, 6))
        wait_until(database, daily, BatchStatus.FINISHED)
        assert len(outstanding(database, backfill)) > 10
        assert outstanding(database, daily) == set()


def test_a_worker_that_is_told_to_end_hands_on_what_it_fetches(
    database: Database, settings: Settings, environment: Mapping[str, str], tmp_path: Path, standin: RunningStandin
) -> None:
    standin.faults.hang(120, times=1, path="/api/stops-force")
    with running_worker(environment, tmp_path / "first.log", "--concurrency", "1") as first:
        batch_id = start(database, settings, first=Month(2023, 5))
        until = time.monotonic() + PATIENCE_S
        while not any(order.met for order in standin.faults.orders):
            assert time.monotonic() < until
            time.sleep(0.05)
        began = time.monotonic()
        assert first.terminate() == 0, first.log
        assert time.monotonic() - began < 25, "it waited for the answer that hangs"
    assert len(outstanding(database, batch_id)) == 3
    with running_worker(environment, tmp_path / "second.log", "--concurrency", "1"):
        wait_until(database, batch_id, BatchStatus.FINISHED)
    assert breaches_of(database) == {}


def test_the_process_that_forks_the_others_does_not_load_polars() -> None:
    code = "import sys, stopsearch.cli.app, stopsearch.worker.run_worker; sys.exit('polars' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_queues_are_replicated_and_end_in_the_dead_queue(settings: Settings) -> None:
    app = make_celery(settings)
    declare_queues(app)
    with app.connection_for_write() as connection:
        for queue in (*TASK_QUEUES, DEAD_QUEUE):
            # The broker refuses one that it has with other arguments.
            connection.channel().queue_declare(
                queue=queue.name, durable=True, auto_delete=False, arguments=queue.queue_arguments
            )
    for queue in TASK_QUEUES:
        assert queue.queue_arguments["x-queue-type"] == "quorum"
        assert queue.queue_arguments["x-delivery-limit"] == 4
        assert queue.queue_arguments["x-dead-letter-routing-key"] == DEAD_QUEUE.name


def test_a_worker_that_has_run_for_long_gets_fresh_processes(
    database: Database, settings: Settings, environment: Mapping[str, str], tmp_path: Path
) -> None:
    few = {**environment, "STOPSEARCH_WORKER_MAX_TASKS": "2"}
    with running_worker(few, tmp_path / "worker.log", "--concurrency", "2") as worker:
        before = set(worker.children)
        batch_id = start(database, settings, first=Month(2023, 2))
        wait_until(database, batch_id, BatchStatus.FINISHED)
        assert not before & set(worker.children)


def test_a_broker_that_takes_connections_and_does_not_answer_counts_as_away(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        hung = settings_for(broker_url=f"amqp://guest:guest@127.0.0.1:{port}//")
        began = time.monotonic()
        with pytest.raises(BrokerUnavailable):
            CeleryDispatch.from_settings(hung).plan(1)
        assert time.monotonic() - began < 60
