"""
Batches that a server gives to workers: sent, remembered where they can't be, followed from the ledger, and cancelled.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from builders.archives import sample_month, write_archive
from builders.given_rabbitmq import GivenRabbitMQ
from builders.ingestion_server import IngestionServer, ingestion_server, server_settings
from builders.ingests import bring_one_in, edition
from builders.ports import free_port
from builders.rabbitmq import RunningRabbitMQ
from builders.standin import RunningStandin, make_api_record, running_standin
from builders.store_state import breaches_of, count_rows
from builders.worker_batches import RecordingDispatch, work_off, work_on
from stopsearch.flows.plan_batch import plan_batch
from stopsearch.flows.queued_batches import waiting_batches
from stopsearch.flows.tend_batches import tend_batches
from stopsearch.serve import ingestion_events
from stopsearch.serve.app import make_app
from stopsearch.store.database import Database
from stopsearch.worker.dispatch import CeleryDispatch

pytestmark = pytest.mark.integration

RECORDS = [make_api_record(datetime=f"2023-07-{day:02d}T10:00:00+00:00") for day in range(1, 6)]
MONTHS = {(force, f"2023-{month:02d}"): RECORDS for force in ("durham", "kent") for month in range(1, 5)}


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingestion_events, "POLL_S", 0.02)


@pytest.fixture
def standin() -> Iterator[RunningStandin]:
    with running_standin(MONTHS) as standin:
        yield standin


@pytest.fixture
def dispatch() -> RecordingDispatch:
    return RecordingDispatch()


@pytest.fixture
def server(database: Database, standin: RunningStandin, dispatch: RecordingDispatch) -> Iterator[IngestionServer]:
    with ingestion_server(database, server_settings(standin.url), dispatch=dispatch) as server:
        yield server


def events_of(server: IngestionServer, batch_id: int) -> Iterator[tuple[str, dict[str, Any]]]:
    with server.client.stream("GET", f"/v1/ingestions/{batch_id}/events") as answer:
        assert answer.status_code == 200
        name = ""
        for line in answer.iter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                yield name, json.loads(line.removeprefix("data: "))


def test_what_is_due_goes_to_workers_and_is_told_from_the_ledger(
    server: IngestionServer, database: Database, standin: RunningStandin, dispatch: RecordingDispatch
) -> None:
    settings = server_settings(standin.url)
    asked = server.post(forces=["kent"])
    assert (asked["status"], asked["is_distributed"], asked["is_alive"], asked["note"]) == (
        "queued",
        True,
        False,
        None,
    )
    assert dispatch.batches == [asked["id"]]
    server.runner.wake()
    assert waiting_batches(database) == [], "the server's own runner leaves it alone"

    plan_batch(database, settings, dispatch, asked["id"])
    planned = server.batch(asked["id"])
    assert (planned["status"], planned["is_alive"]) == ("running", True)
    assert planned["progress"] == {"force_months": 4, "ended": 0}
    work_on(database, settings, *dispatch.sent.pop(0))
    assert server.batch(asked["id"])["progress"] == {"force_months": 4, "ended": 1}
    work_off(database, settings, dispatch)

    ended = server.batch(asked["id"])
    assert (ended["status"], ended["is_alive"], ended["run_counts"]) == ("finished", False, {"revised": 4})
    assert ended["progress"] == {"force_months": 4, "ended": 4}
    assert (ended["trigger"], ended["requested_by"]) == ("http", "token@127.0.0.1")
    assert breaches_of(database) == {}


def test_without_a_broker_it_is_taken_on_and_sent_later(
    server: IngestionServer, database: Database, standin: RunningStandin, dispatch: RecordingDispatch
) -> None:
    dispatch.is_away = True
    asked = server.post()
    assert "RabbitMQ" in asked["note"]
    assert server.batch(asked["id"])["note"] == asked["note"]

    dispatch.is_away = False
    assert tend_batches(database, server_settings(standin.url), dispatch).planned_again == 1
    assert dispatch.batches == [asked["id"]]
    assert server.batch(asked["id"])["note"] is None


def test_archives_are_always_run_in_the_server(database: Database, dispatch: RecordingDispatch, tmp_path: Path) -> None:
    write_archive(tmp_path / "2021-11.zip", {("durham", "2019-01"): sample_month("durham", "2019-01")})
    dispatch.is_away = True
    with ingestion_server(database, server_settings(archive_dir=tmp_path), dispatch=dispatch) as server:
        asked = server.post(source="archive", archives=["2021-11.zip"])
        assert (asked["is_distributed"], asked["note"]) == (False, None)
        assert server.until_ended(asked["id"])["run_counts"] == {"revised": 1}


def test_a_replay_goes_to_workers_too(
    server: IngestionServer, database: Database, standin: RunningStandin, dispatch: RecordingDispatch
) -> None:
    bring_one_in(database, edition([*RECORDS, make_api_record(gender="?")]))
    asked = server.post("/v1/dead-letters/replay", force="durham")
    settings = server_settings(standin.url)
    plan_batch(database, settings, dispatch, asked["id"])

    assert [(month.force, str(month.month), month.queue) for _, month in dispatch.sent] == [
        ("durham", "2023-07", "replay")
    ]
    work_off(database, settings, dispatch)
    assert server.batch(asked["id"])["run_counts"] == {"unchanged": 1}
    assert server.batch(asked["id"])["status"] == "finished"


def test_what_cannot_be_meant_is_not_sent(
    server: IngestionServer, database: Database, dispatch: RecordingDispatch
) -> None:
    assert server.client.post("/v1/ingestions", json={"forces": ["nowhere"]}).status_code == 422
    assert (count_rows(database, "ingest_batch"), dispatch.batches) == (0, [])


def test_it_is_followed_to_its_end(
    server: IngestionServer, database: Database, standin: RunningStandin, dispatch: RecordingDispatch
) -> None:
    settings = server_settings(standin.url)
    batch_id = server.post()["id"]
    worker = threading.Thread(
        target=lambda: (
            plan_batch(database, settings, dispatch, batch_id),
            work_off(database, settings, dispatch),
        )
    )
    events = events_of(server, batch_id)
    first = next(events)
    worker.start()
    told = [first, *events]
    worker.join()

    assert first == ("batch", first[1] | {"status": "queued"})
    assert told[-1] == ("end", {"id": batch_id, "status": "finished"})
    ends = [data for name, data in told if name == "run" and data["ended_at"] is not None]
    assert sorted((run["force"], run["month"]) for run in ends) == sorted(MONTHS)
    last = [data for name, data in told if name == "batch"][-1]
    assert last["progress"] == {"force_months": len(MONTHS), "ended": len(MONTHS)}


def test_cancelling_ends_it_and_the_stream(
    server: IngestionServer, database: Database, standin: RunningStandin, dispatch: RecordingDispatch
) -> None:
    settings = server_settings(standin.url)
    batch_id = server.post()["id"]
    plan_batch(database, settings, dispatch, batch_id)
    work_on(database, settings, *dispatch.sent[0])
    events = events_of(server, batch_id)
    next(events)

    answer = server.client.post(f"/v1/ingestions/{batch_id}/cancel")
    assert answer.status_code == 202, answer.text
    cancelled = answer.json()["data"]
    assert (cancelled["status"], cancelled["run_counts"]) == ("cancelled", {"revised": 1})
    assert cancelled["cancel_asked_at"] is not None
    assert cancelled["links"]["cancel"].endswith(f"/v1/ingestions/{batch_id}/cancel")
    assert list(events)[-1] == ("end", {"id": batch_id, "status": "cancelled"})

    again = server.client.post(f"/v1/ingestions/{batch_id}/cancel")
    assert (again.status_code, again.json()["data"]) == (202, cancelled)


def test_what_has_ended_or_never_was_is_not_cancelled(
    server: IngestionServer, database: Database, standin: RunningStandin, dispatch: RecordingDispatch
) -> None:
    settings = server_settings(standin.url)
    batch_id = server.post(forces=["kent"])["id"]
    plan_batch(database, settings, dispatch, batch_id)
    work_off(database, settings, dispatch)

    ended = server.client.post(f"/v1/ingestions/{batch_id}/cancel")
    assert (ended.status_code, ended.json()["type"]) == (409, "/problems/batch_ended")
    assert "(finished)" in ended.json()["detail"]
    unknown = server.client.post("/v1/ingestions/77/cancel")
    assert (unknown.status_code, unknown.json()["type"]) == (404, "/problems/unknown_batch")
    for wrong in ("0", "x", "-1", str(2**31)):
        assert server.client.post(f"/v1/ingestions/{wrong}/cancel").status_code == 422
    assert server.client.post(f"/v1/ingestions/{batch_id}/cancel?now=1").status_code == 422


def test_what_is_sent_lies_in_the_queue_of_a_real_broker(
    database: Database, standin: RunningStandin, rabbitmq: RunningRabbitMQ | GivenRabbitMQ, broker_url: str
) -> None:
    settings = server_settings(standin.url, broker_url=broker_url)
    with ingestion_server(database, settings, dispatch=CeleryDispatch.from_settings(settings)) as server:
        asked = [server.post(forces=["kent"]) for _ in range(3)]

    assert [batch["note"] for batch in asked] == [None] * 3
    depths = {name: depth.total for name, depth in rabbitmq.queue_depths(broker_url).items() if depth.total}
    assert depths == {"stopsearch.control": 3}


@pytest.mark.parametrize("has_broker", [True, False])
def test_the_server_sends_to_workers_where_it_has_a_broker(
    database: Database, standin: RunningStandin, tmp_path: Path, has_broker: bool
) -> None:
    broker = {"broker_url": f"amqp://guest:guest@127.0.0.1:{free_port()}//"} if has_broker else {}
    app = make_app(database, server_settings(standin.url, data_dir=tmp_path, **broker))
    with TestClient(app):
        assert isinstance(app.state.dispatch, CeleryDispatch) is has_broker
