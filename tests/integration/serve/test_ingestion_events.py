"""
A batch followed by server-sent events: in order, each once, also over a stream that breaks off, and to the end.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from builders.ingestion_server import ENDED, IngestionServer, ingestion_server, server_settings
from builders.standin import make_api_record, running_standin
from stopsearch.serve import ingestion_events
from stopsearch.store.database import Database

pytestmark = pytest.mark.integration

RECORDS = [make_api_record(datetime=f"2023-07-{day:02d}T10:00:00+00:00") for day in range(1, 6)]
MONTHS = {(force, f"2023-{month:02d}"): RECORDS for force in ("durham", "kent") for month in range(1, 7)}

Event = tuple[str, str, dict[str, Any]]  # its name, id and data


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingestion_events, "POLL_S", 0.02)


def follow(server: IngestionServer, batch_id: int, *, after: str | None = None) -> Iterator[Event]:
    headers = {"Last-Event-ID": after} if after is not None else {}
    with server.client.stream("GET", f"/v1/ingestions/{batch_id}/events", headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        fields: dict[str, str] = {}
        for line in answer.iter_lines():
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
                continue
            if "event" in fields:
                yield fields["event"], fields["id"], json.loads(fields["data"])
            fields = {}


def runs_told(events: list[Event]) -> list[tuple[int, bool]]:
    return [(data["id"], data["ended_at"] is not None) for name, _, data in events if name == "run"]


def check_whole(server: IngestionServer, batch_id: int, events: list[Event]) -> None:
    """
    See that the events tell everything of an ended batch, each once and in order.
    """
    told = runs_told(events)
    assert len(told) == len(set(told))
    ids = [run["id"] for run in server.batch(batch_id)["runs"]]
    assert sorted(run for run, has_ended in told if has_ended) == ids
    for run in ids:
        if (run, False) in told:
            assert told.index((run, False)) < told.index((run, True))
    assert [name for name, _, _ in events].count("end") == 1
    assert events[-1][0] == "end"
    last_batch = [data for name, _, data in events if name == "batch"][-1]
    assert last_batch == {key: value for key, value in server.batch(batch_id).items() if key != "runs"}


def others_connected(database: Database) -> int:
    with database.connect(autocommit=True) as connection:
        row = connection.execute(
            """
            SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
            """
        ).fetchone()
    assert row is not None
    return int(row[0])


def test_a_batch_is_followed_from_before_its_beginning_to_its_end(database: Database) -> None:
    with running_standin(MONTHS) as standin:
        standin.faults.slow(0.1, path="/api/stops-force")
        with ingestion_server(database, server_settings(standin.url, requests_in_flight=3), is_running=False) as server:
            batch_id = server.post()["id"]
            stream = follow(server, batch_id)
            events = [next(stream)]
            assert (events[0][0], events[0][2]["status"]) == ("batch", "queued")
            with server.runner:
                events += list(stream)
            check_whole(server, batch_id, events)

    statuses = [data["status"] for name, _, data in events if name in ("batch", "end")]
    assert [status for at, status in enumerate(statuses) if status not in statuses[:at]] == [
        "queued",
        "running",
        "finished",
    ]
    assert sum(not has_ended for _, has_ended in runs_told(events)) > 0  # a look falls between begin and end
    ended = [data["progress"]["ended"] for name, _, data in events if name == "batch"]
    assert ended == sorted(ended)
    assert ended[-1] == len(MONTHS)


def test_a_stream_that_breaks_off_is_gone_on_with_after_what_came(database: Database) -> None:
    with running_standin(MONTHS) as standin:
        standin.faults.slow(0.1, path="/api/stops-force")
        with ingestion_server(database, server_settings(standin.url, requests_in_flight=3)) as server:
            batch_id = server.post()["id"]
            events: list[Event] = []
            after = None
            broken_off = 0
            while not events or events[-1][0] != "end":
                stream = follow(server, batch_id, after=after)
                for event in stream:
                    events.append(event)
                    after = event[1]
                    if event[0] == "run" and broken_off < 8:
                        broken_off += 1
                        break
                stream.close()  # type: ignore[attr-defined]  # a generator has it
            check_whole(server, batch_id, events)

            assert broken_off == 8
            assert after == "end"
            again = server.client.get(f"/v1/ingestions/{batch_id}/events", headers={"Last-Event-ID": after})
            assert (again.status_code, again.content) == (204, b"")


def test_an_ended_batch_is_told_whole_also_in_many_looks(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingestion_events, "_RUNS_A_LOOK", 5)
    with running_standin(MONTHS) as standin, ingestion_server(database, server_settings(standin.url)) as server:
        batch_id = server.post()["id"]
        server.until_ended(batch_id)
        events = list(follow(server, batch_id))
        check_whole(server, batch_id, events)

    assert [name for name, _, _ in events] == ["batch", *["run"] * len(MONTHS), "end"]
    assert events[-1][2] == {"id": batch_id, "status": "finished"}
    assert events[-1][2]["status"] in ENDED


def test_no_more_clients_follow_than_may(database: Database) -> None:
    with ingestion_server(database, server_settings(event_streams=2), is_running=False) as server:
        batch_id = server.post()["id"]
        first, second = follow(server, batch_id), follow(server, batch_id)
        next(first), next(second)
        refused = server.client.get(f"/v1/ingestions/{batch_id}/events")
        first.close()  # type: ignore[attr-defined]  # a generator has it
        for _ in range(500):  # the server learns of it a moment later
            with server.client.stream("GET", f"/v1/ingestions/{batch_id}/events") as answer:
                if answer.status_code == 200:
                    break
            time.sleep(0.02)
        second.close()  # type: ignore[attr-defined]  # a generator has it

    assert refused.status_code == 503
    assert refused.json()["type"] == "/problems/server_busy"
    assert int(refused.headers["retry-after"]) > 0
    assert answer.status_code == 200


def test_a_quiet_stream_is_kept_alive_and_holds_no_connection(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingestion_events, "HEARTBEAT_S", 0.1)
    monkeypatch.setattr(ingestion_events, "POLL_S", 0.2)
    with ingestion_server(database, server_settings(), is_running=False) as server:
        batch_id = server.post()["id"]
        with server.client.stream("GET", f"/v1/ingestions/{batch_id}/events") as answer:
            comments = 0
            for line in answer.iter_lines():
                comments += line.startswith(":")
                if comments == 3:
                    break
            held = others_connected(database)
            for _ in range(100):  # a look may be under way just now, but not always
                if not held:
                    break
                time.sleep(0.02)
                held = others_connected(database)

    assert comments == 3
    assert held == 0


def test_a_stream_ends_when_the_server_is_told_to(database: Database) -> None:
    is_told = threading.Event()
    with ingestion_server(database, server_settings(), is_running=False) as server:
        server.app.state.is_stopping = is_told.is_set
        stream = follow(server, server.post()["id"])
        assert next(stream)[0] == "batch"
        is_told.set()
        assert list(stream) == []


@pytest.mark.parametrize("text", ["x", "-1", "1.", "1..2", "99999999999", "4294967296", "1" + ".1" * 300, "1'--"])
def test_an_id_that_was_never_given_out_is_refused(database: Database, text: str) -> None:
    with ingestion_server(database, server_settings(), is_running=False) as server:
        batch_id = server.post()["id"]
        answer = server.client.get(f"/v1/ingestions/{batch_id}/events", headers={"Last-Event-ID": text})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["parameter"] == "Last-Event-ID"
