"""
`ingest --distributed` and `batches` as a user calls them, with a real RabbitMQ and a worker as a process.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from builders.archives import sample_month, write_archive
from builders.command_line import CommandLine, command_line_of, end
from builders.ports import free_port
from builders.standin import RunningStandin, make_api_record, running_standin
from builders.store_state import breaches_of, count_rows
from builders.workers import RunningProcess, running_worker
from stopsearch.cli import following
from stopsearch.flows.cancel_batch import cancel_batch
from stopsearch.store.database import Database

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("cli-distributed")]

RECORDS = [make_api_record(datetime=f"2023-07-{day:02d}T10:00:00+00:00") for day in range(1, 6)]
MONTHS = {(force, f"2023-{month:02d}"): RECORDS for force in ("durham", "kent") for month in range(1, 5)}
PATIENCE_S = 90.0


@pytest.fixture
def upstream() -> Iterator[RunningStandin]:
    with running_standin({**MONTHS, ("kent", "2023-05"): [*RECORDS, make_api_record(gender="?")]}) as standin:
        yield standin


@pytest.fixture
def stopsearch(database: Database, upstream: RunningStandin, broker_url: str, tmp_path: Path) -> CommandLine:
    line = command_line_of(database, tmp_path)
    line.settings.update(UPSTREAM_URL=upstream.url, BROKER_URL=broker_url, WORKER_CONCURRENCY="1")
    return line


@contextmanager
def a_worker(stopsearch: CommandLine, **settings: str) -> Iterator[RunningProcess]:
    with running_worker(stopsearch.environment(settings), stopsearch.folder / "worker.log") as worker:
        yield worker


def wait_until(holds: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def standing(stopsearch: CommandLine, number: int) -> dict[str, Any]:
    [batch] = stopsearch.look("batches", "show", str(number), "--json").objects
    return dict(batch)


def test_workers_bring_it_in_and_the_command_sums_it_up(
    stopsearch: CommandLine, upstream: RunningStandin, database: Database
) -> None:
    upstream.faults.fail(status=404, force="durham", month="2023-01")
    with a_worker(stopsearch):
        ended = stopsearch("ingest", "--distributed", expect=7)
        upstream.faults.clear()
        [rest] = stopsearch.look("ingest", "--distributed", "--json").objects
        nothing = stopsearch.look("ingest", "--distributed")

    assert "9 force-months in" in ended.out
    assert "(batch 1)" in ended.out
    assert "1 force-month went wrong" in ended.out
    assert "Records rejected, by rule broken" in ended.out
    assert "durham 2023-01 failed" in ended.err
    assert (rest["batch"], rest["status"], rest["due"]) == (2, "finished", 1)
    assert [(run["force"], run["month"], run["status"]) for run in rest["runs"]] == [("durham", "2023-01", "revised")]
    assert "Nothing was due" in nothing.out
    assert count_rows(database, "revision") == 9
    assert breaches_of(database) == {}

    listed = stopsearch.look("batches", "list", "--json").objects
    assert [(batch["id"], batch["status"], batch["is_distributed"], batch["ended"]) for batch in listed] == [
        (3, "finished", True, 0),
        (2, "finished", True, 1),
        (1, "finished_with_failures", True, 9),
    ]
    table = stopsearch.look("batches", "list").out
    assert "finished with failures" in table
    assert "ingest (workers)" in table


def test_ctrl_c_leaves_the_batch_to_the_workers_and_cancel_ends_it(
    stopsearch: CommandLine, upstream: RunningStandin, database: Database
) -> None:
    # Slow enough for several commands to begin, on a busy machine, while the batch goes on.
    upstream.faults.slow(4, path="/api/stops-force")
    with a_worker(stopsearch):
        process = stopsearch.start("ingest", "--distributed")
        wait_until(lambda: count_rows(database, "revision") >= 1)
        os.killpg(process.pid, signal.SIGINT)
        left = end(process)
        assert left.code == 130, left
        assert "Batch 1 goes on without being watched." in left.err
        assert "batches follow 1" in left.err
        assert "batches cancel 1" in left.err
        assert "Traceback" not in left.err
        seen = standing(stopsearch, 1)
        assert seen["status"] == "running"
        wait_until(lambda: standing(stopsearch, 1)["ended"] > seen["ended"])

        following = stopsearch.start("batches", "follow", "1")
        time.sleep(1)
        told = stopsearch.look("batches", "cancel", "1").out
        followed = end(following)

    assert "Batch 1" in told
    assert followed.code == 130, followed
    assert "Cancelled by " in followed.out
    assert "to go. Run the same again" in followed.out
    cancelled = standing(stopsearch, 1)
    assert (cancelled["status"], cancelled["ended"]) == ("cancelled", 9)
    assert cancelled["cancel_asked_by"]
    assert breaches_of(database) == {}

    held = count_rows(database, "revision")
    assert 1 <= held < 9
    upstream.faults.clear()
    [rest] = stopsearch.look("ingest", "--json").objects
    assert len(rest["runs"]) == 9 - held


def test_no_wait_tells_the_number_and_follow_goes_on_to_the_end(stopsearch: CommandLine, database: Database) -> None:
    [queued] = stopsearch.look("ingest", "--distributed", "--no-wait", "--json", "--force", "kent").objects
    assert queued == {"batch": 1, "status": "queued", "is_sent": True}
    assert "Batch 2 is queued for workers." in stopsearch.look("ingest", "--distributed", "--no-wait").out
    assert standing(stopsearch, 1)["queues"] == []
    shown = stopsearch.look("batches", "show", "1").out
    assert "what is due of kent" in shown
    assert "batches follow 1" in shown

    with a_worker(stopsearch):
        followed = [stopsearch.look("batches", "follow", str(number), "--json").objects[0] for number in (1, 2)]

    assert [batch["status"] for batch in followed] == ["finished", "finished"]
    assert count_rows(database, "revision") == 9


def test_a_broker_that_is_away_is_told_and_the_batch_remembered(stopsearch: CommandLine) -> None:
    away = {"BROKER_URL": f"amqp://guest:guest@127.0.0.1:{free_port()}//"}
    told = stopsearch.look("ingest", "--distributed", "--no-wait", **away)
    assert "RabbitMQ does not take it now; 'stopsearch doctor' tells why. Batch 1 is in the ledger" in told.err
    assert "who are told once RabbitMQ is back" in stopsearch.look("batches", "show", "1").out
    assert "Batch 1 is cancelled." in stopsearch.look("batches", "cancel", "1").out
    assert "Batch 1 is cancelled." in stopsearch.look("batches", "cancel", "1").out


def test_what_nobody_takes_is_told_what_it_waits_for(
    stopsearch: CommandLine, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_UNTAKEN_S", 0.5)
    away = {"BROKER_URL": f"amqp://guest:guest@127.0.0.1:{free_port()}//"}
    for settings, hint in (({}, "no 'stopsearch worker' runs"), (away, "could not be sent yet: 'stopsearch beat'")):
        [queued] = stopsearch.look("ingest", "--distributed", "--no-wait", "--json", **settings).objects
        ending = threading.Timer(3, cancel_batch, (database, queued["batch"]), {"requested_by": "somebody"})
        ending.start()
        followed = stopsearch.look("batches", "follow", str(queued["batch"]), expect=130)
        ending.join()
        assert hint in followed.err
        assert followed.out.startswith("Cancelled by somebody before it was known what is due")


def test_what_cannot_be_meant_is_refused_before_anything_is_queued(
    stopsearch: CommandLine, database: Database, tmp_path: Path
) -> None:
    archive = write_archive(tmp_path / "2021-11.zip", {("durham", "2019-01"): sample_month("durham", "2019-01")})
    refused = stopsearch.look("ingest", "--distributed", str(archive), expect=2)
    assert "workers may run on others" in refused.err
    assert "--distributed" in stopsearch.look("ingest", "--no-wait", expect=2).err
    assert "STOPSEARCH_BROKER_URL" in stopsearch.look("ingest", "--distributed", BROKER_URL="", expect=3).err
    assert "nowhere" in stopsearch.look("ingest", "--distributed", "--force", "nowhere", expect=2).err
    assert "no batch 9" in stopsearch.look("batches", "follow", "9", expect=2).err
    assert "no batch 9" in stopsearch.look("batches", "cancel", "9", expect=2).err
    assert count_rows(database, "ingest_batch") == 0
    assert stopsearch.look("batches", "list").out.startswith("Nothing was asked for yet.")


def test_a_publisher_out_of_reach_is_told_as_of_a_batch_that_runs_here(stopsearch: CommandLine) -> None:
    away = {"UPSTREAM_URL": f"http://127.0.0.1:{free_port()}/api", "RETRY_ATTEMPTS": "1", "RETRY_TIME_S": "1"}
    here = stopsearch.look("ingest", expect=4, **away)
    with a_worker(stopsearch, MONTH_RETRY_HOURS="0", **away):
        by_workers = stopsearch.look("ingest", "--distributed", expect=4, **away)

    assert by_workers.err.splitlines()[-1] == here.err.splitlines()[-1]
    assert "error" in stopsearch.look("batches", "show", "1").out


def test_a_batch_of_another_command_can_be_followed(stopsearch: CommandLine, upstream: RunningStandin) -> None:
    upstream.faults.slow(0.3, path="/api/stops-force")
    process = stopsearch.start("ingest", REQUESTS_IN_FLIGHT="1")
    wait_until(lambda: stopsearch.look("batches", "list", "--json").objects)
    [followed] = stopsearch.look("batches", "follow", "1", "--json").objects
    ended = end(process)

    assert ended.code == 0, ended
    assert followed["status"] == "finished"
    assert len(followed["runs"]) == 9
