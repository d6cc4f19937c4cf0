"""
The dead queue of a real RabbitMQ: looked at and left as it was, given back with the ledger, thrown away.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from builders.command_line import CommandLine, command_line_of
from builders.given_rabbitmq import GivenRabbitMQ
from builders.ingests import settings_for
from builders.ports import free_port
from builders.rabbitmq import RunningRabbitMQ
from builders.standin import make_api_record, running_standin
from builders.store_state import breaches_of
from builders.workers import running_worker
from stopsearch.domain.errors import BrokerUnavailable, RequestError
from stopsearch.domain.months import Month
from stopsearch.domain.states import BatchStatus
from stopsearch.settings import Settings
from stopsearch.store.batch_months import PlannedMonth, claim_month, plan_months
from stopsearch.store.batch_queue import queue_entry
from stopsearch.store.batch_reports import find_batch
from stopsearch.store.batch_tending import abandon_months
from stopsearch.store.database import Database
from stopsearch.worker.app import declare_queues, make_celery
from stopsearch.worker.dead_tasks import DeadTasks
from stopsearch.worker.dispatch import CeleryDispatch
from stopsearch.worker.queues import DEAD_QUEUE, broker_name

pytestmark = pytest.mark.integration

Broker = RunningRabbitMQ | GivenRabbitMQ
MONTHS = [
    PlannedMonth(force=force, month=Month(2023, number), queue=queue, reason="listed, not held")
    for force, number, queue in (("durham", 3, "daily"), ("kent", 2, "backfill"), ("kent", 1, "backfill"))
]


@pytest.fixture
def settings(broker_url: str) -> Settings:
    return settings_for(broker_url=broker_url)


@pytest.fixture
def app(settings: Settings) -> Iterator[Celery]:
    app = make_celery(settings)
    declare_queues(app)
    yield app
    app.close()


@pytest.fixture
def batch_id(database: Database) -> int:
    """
    A batch of three force-months, each of which was delivered as often as may be.
    """
    now = datetime.now(UTC)
    asked_for = {
        "kind": "ingest",
        "forces": [],
        "from": None,
        "to": None,
        "recheck": False,
        "source": "api",
        "archives": [],
    }
    with database.connect(autocommit=True) as connection:
        batch_id = queue_entry(
            connection, requested_by="a test", asked_for=asked_for, at=now, trigger="ingest", is_distributed=True
        )
        assert plan_months(connection, batch_id, MONTHS, at=now)
        for month in MONTHS:
            for _ in range(5):
                assert claim_month(connection, batch_id, month.force, month.month)
    return batch_id


def send_and_let_die(app: Celery, batch_id: int) -> None:
    """
    Send the tasks of all force-months, and have each end in the dead queue, as after too many deliveries.
    """
    CeleryDispatch(app).months(batch_id, MONTHS)
    kill_all(app)


def kill_all(app: Celery) -> None:
    with app.connection_for_write() as connection:
        channel = connection.channel()
        for queue in dict.fromkeys(month.queue for month in MONTHS):
            while (message := channel.basic_get(broker_name(queue))) is not None:
                channel.basic_reject(message.delivery_tag, requeue=False)


def depths(rabbitmq: Broker, url: str) -> dict[str, int]:
    return {name: depth.total for name, depth in rabbitmq.queue_depths(url).items() if depth.total}


def ids_of(found: list[Any]) -> list[str]:
    return [task.id for task in found]


def abandon(database: Database, batch_id: int) -> None:
    with database.connect(autocommit=True) as connection:
        assert len(abandon_months(connection, batch_id, limit=4, at=datetime.now(UTC))) == len(MONTHS)
        connection.execute(
            "UPDATE ingest_batch SET status = 'finished_with_failures', ended_at = now() WHERE id = %s", [batch_id]
        )


def test_a_look_tells_each_task_and_leaves_them_in_their_order(
    app: Celery, settings: Settings, batch_id: int, rabbitmq: Broker, broker_url: str
) -> None:
    send_and_let_die(app, batch_id)

    dead = DeadTasks.from_settings(settings)
    looks = [dead.look() for _ in range(30)]  # more often than RabbitMQ redelivers by default

    assert [(task.task, task.batch_id, task.force, task.month, task.queue) for task in looks[0]] == [
        ("stopsearch.bring_in_month", batch_id, "durham", "2023-03", "daily"),
        ("stopsearch.bring_in_month", batch_id, "kent", "2023-02", "backfill"),
        ("stopsearch.bring_in_month", batch_id, "kent", "2023-01", "backfill"),
    ]
    assert {(task.reason, task.deaths) for task in looks[0]} == {("rejected", 1)}
    for task in looks[0]:
        assert task.died_at is not None
        assert abs((datetime.now(UTC) - task.died_at).total_seconds()) < 120
    assert [ids_of(look) for look in looks] == [ids_of(looks[0])] * 30
    assert depths(rabbitmq, broker_url) == {DEAD_QUEUE.name: 3}


def test_what_ended_its_worker_too_often_tells_so(app: Celery, settings: Settings, batch_id: int) -> None:
    CeleryDispatch(app).months(batch_id, MONTHS[:1])
    deliveries = 0
    # A connection that ends with the task in hand, as a worker that is killed.
    while not DeadTasks(app).look():
        with app.connection_for_write() as connection:
            deliveries += connection.channel().basic_get(broker_name("daily")) is not None
        assert deliveries < 50

    [task] = DeadTasks.from_settings(settings).look()
    assert (task.reason, task.queue, task.force) == ("delivery_limit", "daily", "durham")
    assert deliveries == 5


def test_an_abandoned_force_month_is_reopened_and_its_task_given_back(
    app: Celery, settings: Settings, database: Database, batch_id: int, rabbitmq: Broker, broker_url: str
) -> None:
    send_and_let_die(app, batch_id)
    abandon(database, batch_id)
    dead = DeadTasks.from_settings(settings)
    [_, kent, _] = dead.look()

    done = dead.requeue(database, [kent.id[:13]])

    assert (done.given_back, done.left) == ([kent], [])
    until = time.monotonic() + 20  # the broker takes an acknowledgement when it comes to it
    while depths(rabbitmq, broker_url) != {DEAD_QUEUE.name: 2, broker_name("backfill"): 1}:
        assert time.monotonic() < until, depths(rabbitmq, broker_url)
        time.sleep(0.1)
    with database.connect(autocommit=True) as connection:
        assert find_batch(connection, batch_id).status is BatchStatus.RUNNING
        open_ones = connection.execute(
            """
            SELECT force.id, month, deliveries, tries FROM batch_month JOIN force ON force.code = force_code
            WHERE ended_at IS NULL
            """
        ).fetchall()
    assert open_ones == [("kent", Month(2023, 2).first_day, 0, 0)]
    # The new task has no history: it dies no sooner than another, and a worker reads it as one of ours.
    with app.connection_for_write() as connection:
        message = connection.channel().basic_get(broker_name("backfill"))
        assert message is not None
        assert not [name for name in message.headers if name.startswith(("x-death", "x-first-death"))]
        assert message.headers.get("x-delivery-count", 0) == 0
        assert (message.headers["task"], message.headers["id"]) == ("stopsearch.bring_in_month", kent.id)
        assert message.properties["delivery_mode"] == 2
    kill_all(app)
    again = dead.look()
    assert [(task.id, task.deaths) for task in again if task.id == kent.id] == [(kent.id, 1)]


def test_what_was_not_given_up_yet_begins_anew(
    app: Celery, settings: Settings, database: Database, batch_id: int
) -> None:
    send_and_let_die(app, batch_id)

    done = DeadTasks.from_settings(settings).requeue(database, None)

    assert len(done.given_back) == 3
    with database.connect(autocommit=True) as connection:
        assert abandon_months(connection, batch_id, limit=4, at=datetime.now(UTC)) == []


def test_what_is_done_with_stays_dead_and_says_why(
    app: Celery, settings: Settings, database: Database, batch_id: int, rabbitmq: Broker, broker_url: str
) -> None:
    send_and_let_die(app, batch_id)
    with database.connect(autocommit=True) as connection:
        connection.execute("UPDATE batch_month SET status = 'revised', ended_at = now()")
    CeleryDispatch(app).months(batch_id + 1, MONTHS[:1])
    kill_all(app)

    done = DeadTasks.from_settings(settings).requeue(database, None)

    assert done.given_back == []
    assert [why for _, why in done.left] == [
        *[f"batch {batch_id} is done with this force-month"] * 3,
        f"no batch {batch_id + 1} has planned this force-month",
    ]
    assert depths(rabbitmq, broker_url) == {DEAD_QUEUE.name: 4}


def test_messages_of_others_are_shown_and_not_given_back(
    app: Celery, settings: Settings, database: Database, batch_id: int
) -> None:
    with app.connection_for_write() as connection, connection.Producer() as producer:
        for body in (b"\xff not JSON", b"[]", b'"text"', b'[{"force": 1}]', b"[[1, 2, 3]]"):
            producer.publish(body, routing_key=DEAD_QUEUE.name, exchange=DEAD_QUEUE.exchange.name, content_type="x/y")
    dead = DeadTasks.from_settings(settings)

    found = dead.look()
    done = dead.requeue(database, None)

    assert {(task.task, task.queue, task.reason, task.force) for task in found} == {
        ("unknown", "unknown", "unknown", None)
    }
    assert [why for _, why in done.left] == ["it is not known which queue it came from"] * 5
    assert len(dead.discard(None)) == 5
    assert dead.look() == []


def test_ids_that_mean_nothing_or_too_much_change_nothing(
    app: Celery, settings: Settings, database: Database, batch_id: int, rabbitmq: Broker, broker_url: str
) -> None:
    send_and_let_die(app, batch_id)
    with app.connection_for_write() as connection, connection.Producer() as producer:
        for number in (1, 2):
            headers = {"id": f"twin-{number}", "task": "stopsearch.tend_batches"}
            producer.publish(
                b"[[], {}, {}]", routing_key=DEAD_QUEUE.name, exchange=DEAD_QUEUE.exchange.name, headers=headers
            )
    dead = DeadTasks.from_settings(settings)
    first = dead.look()[0].id

    for wrong in ("nobody", "", first[:3], "twin"):
        for act in (lambda ids: dead.requeue(database, ids), dead.discard):
            with pytest.raises(RequestError):
                act([first, wrong])

    assert depths(rabbitmq, broker_url) == {DEAD_QUEUE.name: 5}


def test_without_a_broker_each_says_so(database: Database) -> None:
    dead = DeadTasks.from_settings(settings_for(broker_url=f"amqp://guest:guest@127.0.0.1:{free_port()}//"))

    for act in (dead.look, lambda: dead.requeue(database, None), lambda: dead.discard(None)):
        with pytest.raises(BrokerUnavailable, match="RabbitMQ does not answer"):
            act()


@pytest.fixture
def stopsearch(database: Database, broker_url: str, tmp_path: Path) -> CommandLine:
    line = command_line_of(database, tmp_path)
    line.settings["BROKER_URL"] = broker_url
    return line


def test_the_command_line_lists_gives_back_and_throws_away(
    stopsearch: CommandLine, app: Celery, database: Database, batch_id: int
) -> None:
    assert "No task lies in the dead queue" in stopsearch.look("dead-tasks", "list").out
    send_and_let_die(app, batch_id)
    abandon(database, batch_id)

    tasks = stopsearch.look("dead-tasks", "list", "--json").objects
    assert [(task["force"], task["month"], task["reason"]) for task in tasks] == [
        ("durham", "2023-03", "rejected"),
        ("kent", "2023-02", "rejected"),
        ("kent", "2023-01", "rejected"),
    ]
    told = stopsearch.look("dead-tasks", "list").out
    assert all(task["id"][:8] in told for task in tasks)
    assert "kent 2023-02" in told
    assert "no worker could read it" in told

    assert "which dead tasks" in stopsearch.look("dead-tasks", "requeue", expect=2).err
    assert "Both" in stopsearch.look("dead-tasks", "discard", "--all", tasks[0]["id"], expect=2).err
    [gone] = stopsearch.look("dead-tasks", "discard", "--json", tasks[0]["id"]).objects
    assert [task["force"] for task in gone["discarded"]] == ["durham"]
    assert "2 tasks given back" in stopsearch.look("dead-tasks", "requeue", "--all").out
    assert stopsearch.look("dead-tasks", "list", "--json").objects == []

    kill_all(app)
    with database.connect(autocommit=True) as connection:
        connection.execute("UPDATE batch_month SET status = 'cancelled', ended_at = now() WHERE ended_at IS NULL")
    left = stopsearch.look("dead-tasks", "requeue", "--all", expect=7)
    assert "2 tasks left in the dead queue" in left.out


def test_what_was_given_back_is_brought_in_and_closes_its_batch(
    stopsearch: CommandLine, app: Celery, database: Database, batch_id: int, rabbitmq: Broker, broker_url: str
) -> None:
    send_and_let_die(app, batch_id)
    abandon(database, batch_id)
    records = [make_api_record()]
    with running_standin({(month.force, str(month.month)): records for month in MONTHS}) as standin:
        stopsearch("dead-tasks", "requeue", "--all")
        environment = stopsearch.environment({"UPSTREAM_URL": standin.url, "WORKER_CONCURRENCY": "1"})
        with running_worker(environment, stopsearch.folder / "worker.log"):
            [ended] = stopsearch.look("batches", "follow", str(batch_id), "--json").objects

    assert ended["status"] == "finished"
    assert sorted((run["force"], run["month"], run["status"]) for run in ended["runs"]) == sorted(
        (month.force, str(month.month), "revised") for month in MONTHS
    )
    assert depths(rabbitmq, broker_url) == {}
    assert breaches_of(database) == {}


def test_without_a_broker_set_the_command_says_which_setting_is_missing(database: Database, tmp_path: Path) -> None:
    ended = command_line_of(database, tmp_path).look("dead-tasks", "list", expect=3)
    assert "STOPSEARCH_BROKER_URL" in ended.err
