"""
The private RabbitMQ, PostgreSQL and Valkey that fault trials stop, kill and rob: they keep what such a service keeps,
and leave nothing behind.
"""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from kombu import Connection, Queue
from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import ConnectionError as RedisAway

from builders.postgres import RunningPostgres, running_postgres
from builders.rabbitmq import QueueDepth, RunningRabbitMQ, running_rabbitmq
from builders.valkey import RunningValkey
from stopsearch.worker.queues import DEAD_QUEUE

pytestmark = pytest.mark.integration

QUORUM = {"x-queue-type": "quorum"}
NAME = DEAD_QUEUE.name


def send(url: str, queue: str, count: int) -> None:
    with Connection(url) as connection:
        Queue(queue, queue_arguments=QUORUM, channel=connection.default_channel).declare()
        producer = connection.Producer()
        for number in range(count):
            producer.publish({"number": number}, routing_key=queue, delivery_mode="persistent")


def processes_of(folder: str) -> list[int]:
    """
    Give the processes that were started with this folder in their environment or in their call.
    """
    found = []
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                told = (place / "environ").read_bytes() + (place / "cmdline").read_bytes()
            except OSError:
                continue
            if folder.encode() in told:
                found.append(int(place.name))
    return found


def test_what_takes_a_node_by_turns_has_it_empty(rabbitmq: RunningRabbitMQ, broker_url: str) -> None:
    assert rabbitmq.queue_depths(broker_url) == {}
    send(broker_url, NAME, 2)
    assert rabbitmq.queue_depths(broker_url)[NAME].ready == 2


def test_what_takes_it_next_has_it_empty_too(rabbitmq: RunningRabbitMQ, broker_url: str) -> None:
    assert rabbitmq.queue_depths(broker_url) == {}


def test_two_have_a_node_side_by_side_and_a_message_in_hand_is_counted_as_such(own_rabbitmq: RunningRabbitMQ) -> None:
    with own_rabbitmq.vhost() as one, own_rabbitmq.vhost() as other:
        send(one, "daily", 3)
        assert own_rabbitmq.queue_depths(other) == {}
        with Connection(one) as connection:
            assert Queue("daily", queue_arguments=QUORUM, channel=connection.default_channel).get() is not None
            assert own_rabbitmq.queue_depths(one) == {"daily": QueueDepth(ready=2, unacknowledged=1)}
        assert own_rabbitmq.queue_depths(one) == {"daily": QueueDepth(ready=3, unacknowledged=0)}
    with running_rabbitmq() as second:
        assert second.url != own_rabbitmq.url
        send(second.url, "daily", 1)
        assert own_rabbitmq.queue_depths(own_rabbitmq.url) == {}


def test_rabbitmq_keeps_its_messages_until_it_is_robbed_of_them(own_rabbitmq: RunningRabbitMQ) -> None:
    url = own_rabbitmq.new_vhost()
    send(url, "daily", 2)
    own_rabbitmq.restart()
    assert own_rabbitmq.queue_depths(url) == {"daily": QueueDepth(ready=2, unacknowledged=0)}
    own_rabbitmq.kill()
    with pytest.raises(OperationalError, match="refused"):
        send(url, "daily", 1)
    own_rabbitmq.start()
    assert own_rabbitmq.queue_depths(url) == {"daily": QueueDepth(ready=2, unacknowledged=0)}
    own_rabbitmq.reset()
    assert own_rabbitmq.queue_depths(url) == {}
    send(url, "daily", 1)
    assert own_rabbitmq.queue_depths(url) == {"daily": QueueDepth(ready=1, unacknowledged=0)}


def test_rabbitmq_leaves_no_process_and_no_file(own_rabbitmq: RunningRabbitMQ) -> None:
    folder = own_rabbitmq.folder
    assert len(processes_of(str(folder))) >= 2
    own_rabbitmq.end()
    assert processes_of(str(folder)) == []
    assert not folder.exists()


def test_postgres_keeps_what_was_committed_when_it_is_stopped_and_killed(own_postgres: RunningPostgres) -> None:
    url = own_postgres.create("kept")
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS number")
    for end in (own_postgres.stop, own_postgres.kill):
        with psycopg.connect(url) as open_one:
            end()
            with pytest.raises(psycopg.OperationalError):
                open_one.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError, match="refused"):
            psycopg.connect(url)
        own_postgres.start()
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT count(*) FROM kept").fetchone() == (1000,)


def test_postgres_leaves_no_process_and_no_file() -> None:
    with running_postgres() as server:
        folder = server.folder
        assert processes_of(str(folder))
    assert processes_of(str(folder)) == []
    assert not folder.exists()


def test_a_full_disk_refuses_rows_and_takes_them_again_after(small_postgres: RunningPostgres) -> None:
    with psycopg.connect(small_postgres.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE filled (number integer)")
        with small_postgres.full_disk(), pytest.raises(psycopg.Error, match=r"No space left|could not extend"):
            connection.execute("INSERT INTO filled SELECT generate_series(1, 1000000)")
    # Where the log of what is written had no room either, PostgreSQL has ended itself, and recovers.
    small_postgres.recover()
    with psycopg.connect(small_postgres.url) as connection:
        assert connection.execute("SELECT count(*) FROM filled").fetchone() == (0,)
        connection.execute("INSERT INTO filled SELECT generate_series(1, 1000)")


def test_valkey_is_given_empty_and_loses_all_when_it_is_killed(redis_url: str, own_valkey: RunningValkey) -> None:
    with Redis.from_url(redis_url) as shared:
        assert shared.dbsize() == 0
    with Redis.from_url(own_valkey.url) as client:
        client.set("a", 1)
        own_valkey.kill()
        with pytest.raises(RedisAway):
            client.get("a")
        own_valkey.start()
        assert client.get("a") is None
