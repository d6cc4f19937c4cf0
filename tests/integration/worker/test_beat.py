"""
Beat as a process, at a real RabbitMQ: its ticks come, do not pile up, outlive a broker that goes, and start one batch.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from kombu import Connection

from builders.ingests import settings_for
from builders.rabbitmq import RunningRabbitMQ
from builders.workers import RunningProcess, running_worker
from stopsearch.store.batch_reports import list_batches
from stopsearch.store.database import Database
from stopsearch.worker.dispatch import CeleryDispatch
from stopsearch.worker.queues import DEAD_QUEUE, broker_name
from stopsearch.worker.run_beat import _MANY_WAIT
from stopsearch.worker.tasks import START_DUE, TEND_BATCHES

pytestmark = pytest.mark.integration

CONTROL = broker_name("control")
PATIENCE_S = 60.0


@contextmanager
def running_beat(broker_url: str, log: Path, **settings: str) -> Iterator[RunningProcess]:
    """
    Run a Beat until the block ends, and wait until it has begun.
    """
    variables = {f"STOPSEARCH_{name}": value for name, value in {"BROKER_URL": broker_url, **settings}.items()}
    beat = RunningProcess(["beat"], variables, log)
    try:
        beat.wait_for("beat_started")
        yield beat
    finally:
        beat.kill()


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < until, f"{what} did not come"
        time.sleep(0.1)


def waiting(url: str) -> int:
    """
    Count the tasks that wait in the queue of control.
    """
    with Connection(url, connect_timeout=5) as connection:
        if CONTROL not in declared(connection):
            return 0
        return int(connection.default_channel.queue_declare(CONTROL, passive=True).message_count)


def declared(connection: Connection) -> list[str]:
    found = []
    for name in (CONTROL, DEAD_QUEUE.name):
        channel = connection.channel()
        try:
            channel.queue_declare(name, passive=True)
            found.append(name)
            channel.close()
        except connection.channel_errors:
            pass
    return found


def take_all(url: str) -> list[str]:
    """
    Take every task that waits in the queue of control, and give their names in the order of the queue.
    """
    names = []
    with Connection(url, connect_timeout=5) as connection, connection.channel() as channel:
        while (message := channel.basic_get(CONTROL, no_ack=True)) is not None:
            names.append(str(message.properties["application_headers"]["task"]))
    return names


def test_it_looks_at_everything_at_once_and_then_every_so_often(broker_url: str, tmp_path: Path) -> None:
    with running_beat(broker_url, tmp_path / "log", TEND_EVERY_S="600"):
        wait_until(lambda: waiting(broker_url) == 2, "the first looks")
        assert sorted(take_all(broker_url)) == [START_DUE, TEND_BATCHES]

    with running_beat(broker_url, tmp_path / "second", TEND_EVERY_S="0.3"):
        wait_until(lambda: waiting(broker_url) >= 5, "more looks")
    names = take_all(broker_url)
    assert names.count(START_DUE) == 1
    assert names.count(TEND_BATCHES) >= 4


def test_ticks_do_not_pile_up_while_no_worker_takes_them(broker_url: str, tmp_path: Path) -> None:
    with running_beat(broker_url, tmp_path / "log", TEND_EVERY_S="0.1") as beat:
        beat.wait_for("tick_left_out", times=20)
        assert waiting(broker_url) <= _MANY_WAIT + 1
        take_all(broker_url)  # a worker is back
        left_out = beat.log.count("tick_left_out")
        wait_until(lambda: waiting(broker_url) > 0, "the next tick")
        assert left_out >= 20

    with Connection(broker_url) as connection:
        assert DEAD_QUEUE.name not in declared(connection)  # nothing has been laid there, nor was it needed


def test_two_beats_and_many_ticks_start_one_daily_batch(
    broker_url: str, database: Database, database_url: str, tmp_path: Path
) -> None:
    worker = {
        "STOPSEARCH_BROKER_URL": broker_url,
        "STOPSEARCH_DATABASE_URL": database_url,
        "STOPSEARCH_UPSTREAM_URL": "http://127.0.0.1:9/api",  # answers nothing: the batch stays queued
        "STOPSEARCH_RETRY_TIME_S": "1",
        "STOPSEARCH_RETRY_ATTEMPTS": "1",
    }

    def slots() -> int:
        with database.connect(autocommit=True) as connection:
            row = connection.execute("SELECT count(*) FROM schedule_slot").fetchone()
        return int(row[0]) if row else 0

    with (
        running_beat(broker_url, tmp_path / "one", TEND_EVERY_S="0.2") as one,
        running_beat(broker_url, tmp_path / "two", TEND_EVERY_S="0.2") as two,
        running_worker(worker, tmp_path / "worker", "--concurrency", "3", "--queues", "control") as working,
    ):
        dispatch = CeleryDispatch.from_settings(settings_for(broker_url=broker_url))
        for _ in range(10):  # the same tick, delivered again and again
            dispatch.send(START_DUE)
        wait_until(lambda: slots() == 4, "every schedule's tick")
        working.wait_for("schedule_started", times=4)
        wait_until(lambda: waiting(broker_url) <= 2, "the end of what was sent")
        assert one.is_running
        assert two.is_running

    with database.connect(autocommit=True) as connection:
        [batch] = list_batches(connection, limit=10)
    assert (batch.trigger, batch.is_distributed) == ("daily", True)
    assert slots() == 4
    assert working.log.count('"schedule_started"') == 4


def test_it_waits_for_a_broker_that_comes_late_or_goes(own_rabbitmq: RunningRabbitMQ, tmp_path: Path) -> None:
    own_rabbitmq.stop()
    with running_beat(own_rabbitmq.url, tmp_path / "log", TEND_EVERY_S="1") as beat:
        beat.wait_for("broker_away", times=2)
        own_rabbitmq.start()
        wait_until(lambda: waiting(own_rabbitmq.url) >= 2, "the first looks")
        assert sorted(take_all(own_rabbitmq.url))[0] == START_DUE

        away = beat.log.count("broker_away")
        own_rabbitmq.stop()
        beat.wait_for("broker_away", times=away + 2)
        before = beat.log.count("tick_left_out")
        own_rabbitmq.start()
        # It counts what waits, and so has asked the queue, which some seconds after a start may still have no leader.
        beat.wait_for("tick_left_out", times=before + 1)

        own_rabbitmq.reset()  # its queues are gone: the next tick declares its own
        wait_until(lambda: waiting(own_rabbitmq.url) >= 2, "looks after the loss")
        assert beat.terminate() == 0


def test_it_ends_in_order_and_leaves_no_file(broker_url: str, tmp_path: Path) -> None:
    home = Path.cwd()
    with running_beat(broker_url, tmp_path / "log") as beat:
        wait_until(lambda: waiting(broker_url) == 2, "the first looks")
        assert beat.terminate(timeout_s=20) == 0

    events = [json.loads(line) for line in beat.log.splitlines()]
    assert events[-1]["event"] == "beat_stopped"
    assert {event["level"] for event in events} == {"info"}
    assert [path for path in home.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("is_deaf", [True, False])
def test_it_ends_in_order_while_the_broker_is_away(tmp_path: Path, is_deaf: bool) -> None:
    """
    A port on which nobody listens; or somebody does, and never says a word.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if is_deaf:
            listener.listen()
        with running_beat(f"amqp://guest:guest@127.0.0.1:{listener.getsockname()[1]}//", tmp_path / "log") as beat:
            if not is_deaf:
                beat.wait_for("broker_away")
            assert beat.terminate(timeout_s=20) == 0


@contextmanager
def freezing_at(text: bytes, url: str) -> Iterator[tuple[str, threading.Event]]:
    """
    Give another address of a RabbitMQ: once a text is sent through it, nothing comes back until the event is cleared.
    """
    frozen, once = threading.Event(), threading.Event()
    place = urlsplit(url)
    assert place.port is not None

    def carry(source: socket.socket, target: socket.socket, *, is_question: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if is_question and text in data and not once.is_set():
                    once.set()
                    frozen.set()
                if is_question or not frozen.is_set():
                    target.sendall(data)

    with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.ExitStack() as opened:

        def take() -> None:
            with contextlib.suppress(OSError):
                while True:
                    near, _ = listener.accept()
                    far = socket.create_connection((place.hostname, place.port))
                    for end in (near, far):
                        opened.callback(end.close)
                    for source, target, is_question in ((near, far, True), (far, near, False)):
                        threading.Thread(
                            target=carry, args=(source, target), kwargs={"is_question": is_question}, daemon=True
                        ).start()

        threading.Thread(target=take, daemon=True).start()
        yield url.replace(f":{place.port}", f":{listener.getsockname()[1]}"), frozen


def test_it_ends_in_order_while_the_broker_hangs(broker_url: str, tmp_path: Path) -> None:
    """
    One that has taken a tick and never confirms it, nor that the connection is closed.
    """
    with (
        freezing_at(START_DUE.encode(), broker_url) as (url, frozen),
        running_beat(url, tmp_path / "log") as beat,
    ):
        assert frozen.wait(PATIENCE_S)
        time.sleep(0.5)
        assert beat.terminate(timeout_s=20) == 0


@pytest.mark.parametrize("text", [CONTROL, START_DUE])  # the question how many tasks wait, and the tick
def test_it_says_so_and_goes_on_where_the_broker_hangs(broker_url: str, tmp_path: Path, text: str) -> None:
    with (
        freezing_at(text.encode(), broker_url) as (url, frozen),
        running_beat(url, tmp_path / "log") as beat,
    ):
        assert frozen.wait(PATIENCE_S)
        beat.wait_for("broker_away")
        frozen.clear()
        wait_until(lambda: waiting(broker_url) >= 2, "the ticks")


def test_without_a_broker_it_says_which_setting_is_missing(tmp_path: Path) -> None:
    beat = RunningProcess(["beat"], {}, tmp_path / "log")

    assert beat.process.wait(PATIENCE_S) == 3
    assert "STOPSEARCH_BROKER_URL" in beat.log
