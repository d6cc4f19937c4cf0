"""
A RabbitMQ that refuses: told in one line at the start, waited for later.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from builders.command_line import command_line_of
from builders.rabbitmq import RunningRabbitMQ, vhost_of
from builders.workers import running_worker
from stopsearch.store.database import Database
from stopsearch.worker.queues import DEAD_QUEUE

pytestmark = pytest.mark.integration

WRONG = "a-wrong-password"


def with_wrong_password(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f"{parts.username}:{WRONG}@{parts.netloc.rpartition('@')[2]}").geturl()


@pytest.mark.parametrize("program", ["worker", "beat"])
def test_a_wrong_password_and_a_virtual_host_that_is_not_there_end_it_with_one_line(
    program: str, own_rabbitmq: RunningRabbitMQ, database: Database, tmp_path: Path
) -> None:
    stopsearch = command_line_of(database, tmp_path)
    for address, named in (
        (with_wrong_password(own_rabbitmq.url), "refuses the user or the password"),
        (own_rabbitmq.url.rstrip("/") + "/nowhere", "no virtual host 'nowhere'"),
    ):
        stopsearch.settings["BROKER_URL"] = address
        ended = stopsearch(program, expect=3)
        [line] = ended.err.splitlines()
        assert named in line
        assert f"RabbitMQ at {urlsplit(address).netloc.rpartition('@')[2]}" in line
        assert "STOPSEARCH_BROKER_URL" in line
        assert WRONG not in ended.out + ended.err


def test_a_worker_that_is_refused_later_waits_and_goes_on(
    own_rabbitmq: RunningRabbitMQ, database_url: str, tmp_path: Path
) -> None:
    url = own_rabbitmq.new_vhost()
    environment = {"STOPSEARCH_DATABASE_URL": database_url, "STOPSEARCH_BROKER_URL": url}
    with running_worker(environment, tmp_path / "worker.log", "--concurrency", "1") as worker:
        own_rabbitmq.evaluate(f'ok = rabbit_vhost:delete(<<"{vhost_of(url)}">>, <<"tests">>)')
        worker.wait_for("broker_away", times=3)
        refusals = [json.loads(line) for line in worker.log.splitlines() if "broker_away" in line]
        assert [refusal["wait_s"] for refusal in refusals[:3]] == [0.5, 1.0, 2.0]
        assert "Frequent restarts" not in worker.log
        own_rabbitmq.evaluate(
            f'ok = rabbit_vhost:add(<<"{vhost_of(url)}">>, <<"tests">>), '
            "ok = rabbit_auth_backend_internal:set_permissions("
            f'<<"guest">>, <<"{vhost_of(url)}">>, <<".*">>, <<".*">>, <<".*">>, <<"tests">>)'
        )
        worker.wait_for("Connected to", times=2)
        until = time.monotonic() + 30
        while DEAD_QUEUE.name not in own_rabbitmq.queue_depths(url):
            assert time.monotonic() < until, "the queue of dead tasks was not declared again"
            time.sleep(0.2)
        assert worker.terminate() == 0


def test_two_workers_of_one_name_both_work(broker_url: str, database_url: str, tmp_path: Path) -> None:
    environment = {"STOPSEARCH_DATABASE_URL": database_url, "STOPSEARCH_BROKER_URL": broker_url}
    options = ("--name", "twin", "--concurrency", "1")
    with (
        running_worker(environment, tmp_path / "first.log", *options) as first,
        running_worker(environment, tmp_path / "second.log", *options) as second,
    ):
        assert first.is_running
        assert "Unrecoverable" not in second.log
        assert [first.terminate(), second.terminate()] == [0, 0]


def test_a_worker_that_is_refused_ends_when_told(
    own_rabbitmq: RunningRabbitMQ, database_url: str, tmp_path: Path
) -> None:
    url = own_rabbitmq.new_vhost()
    environment = {"STOPSEARCH_DATABASE_URL": database_url, "STOPSEARCH_BROKER_URL": url}
    with running_worker(environment, tmp_path / "worker.log", "--concurrency", "1") as worker:
        own_rabbitmq.evaluate(
            f'ok = rabbit_vhost:delete(<<"{vhost_of(url)}">>, <<"tests">>), '
            'ok = rabbit_auth_backend_internal:change_password(<<"guest">>, <<"another">>, <<"tests">>)'
        )
        worker.wait_for("AccessRefused")
        assert worker.terminate() == 0
