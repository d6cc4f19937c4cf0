"""
What `doctor` says of the broker, the workers and Redis.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.ingests import settings_for
from builders.workers import running_worker
from stopsearch.flows.doctor import Verdict
from stopsearch.worker.app import declare_queues, make_celery
from stopsearch.worker.examine import examine_services
from stopsearch.worker.queues import DEAD_EXCHANGE, DEAD_QUEUE

pytestmark = pytest.mark.integration


def test_says_nothing_of_services_that_are_not_set() -> None:
    assert examine_services(settings_for()) == []


def test_tells_services_that_are_away() -> None:
    away = settings_for(
        broker_url="amqp://guest:secret-word@127.0.0.1:9//", redis_url="redis://:secret-word@127.0.0.1:9/0"
    )
    findings = examine_services(away)
    assert [(finding.check, finding.verdict) for finding in findings] == [
        ("broker", Verdict.FAIL),
        ("redis", Verdict.WARN),
    ]
    assert "secret-word" not in "".join(finding.message + finding.remedy for finding in findings)


def test_tells_queues_that_nobody_serves_and_dead_tasks(
    broker_url: str, redis_url: str, database_url: str, tmp_path: Path
) -> None:
    settings = settings_for(broker_url=broker_url, redis_url=redis_url)
    findings = {finding.check: finding for finding in examine_services(settings)}
    assert "control, daily, backfill, replay" in findings["workers"].message
    environment = {"STOPSEARCH_DATABASE_URL": database_url, "STOPSEARCH_BROKER_URL": broker_url}
    with running_worker(environment, tmp_path / "worker.log", "--queues", "control,daily", "--concurrency", "1"):
        app = make_celery(settings)
        declare_queues(app)
        with app.producer_or_acquire() as producer:
            producer.publish({}, exchange=DEAD_EXCHANGE, routing_key=DEAD_QUEUE.routing_key)
        findings = {finding.check: finding for finding in examine_services(settings)}
    assert findings["workers"].message == "no worker serves backfill, replay"
    assert findings["dead tasks"].verdict is Verdict.WARN
    assert findings["redis"].verdict is Verdict.OK
