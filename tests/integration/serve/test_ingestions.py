"""
Batches asked for over HTTP: they end as the command line's do, and what can't be meant or isn't allowed is refused.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import polars as pl
import pytest

from builders.archives import sample_month, write_archive
from builders.command_line import CommandLine
from builders.ingestion_server import TOKEN, ingestion_server, server_settings
from builders.ingests import bring_one_in, edition
from builders.standin import make_api_record, running_standin
from builders.store_state import breaches_of, content_of, count_rows
from stopsearch.domain.states import LetterState
from stopsearch.flows import queued_batches
from stopsearch.store import batch_queue
from stopsearch.store.database import Database, outside_database
from stopsearch.store.letters import find_letters
from stopsearch.validate import contract, split

pytestmark = pytest.mark.integration

RECORDS = [make_api_record(datetime=f"2023-07-{day:02d}T10:00:00+00:00") for day in range(1, 6)]
MONTHS: dict[tuple[str, str], Any] = {
    **{(force, f"2023-{month:02d}"): RECORDS[:month] for force in ("durham", "kent") for month in range(1, 6)},
    ("kent", "2023-06"): [*RECORDS, make_api_record(gender="?")],
    ("durham", "2023-06"): [{key: value for key, value in RECORDS[0].items() if key != "gender"}],
}


@pytest.fixture
def other_database(postgres_server: Any, migrated_template: str, database_names: Iterator[str]) -> Iterator[str]:
    name = next(database_names)
    yield postgres_server.create(name, template=migrated_template)
    postgres_server.drop(name)


def ledger_of(database: Database) -> list[tuple[Any, ...]]:
    with database.connect() as connection:
        return connection.execute(
            """
            SELECT batch.status, force.id, run.month, run.source, run.attempt, run.status, run.error_kind, run.revision,
                run.received, run.stored, run.rejected, run.added, run.withdrawn, run.mended, run.rejected_by_rule
            FROM ingest_run AS run JOIN ingest_batch AS batch ON batch.id = run.batch_id
            JOIN force ON force.code = run.force_code ORDER BY force.id, run.month, run.attempt
            """
        ).fetchall()


def test_a_batch_ends_as_the_same_ingest_by_the_command_line(
    database: Database, other_database: str, tmp_path: Path
) -> None:
    with running_standin(MONTHS) as standin:
        settings = {"DATABASE_URL": other_database, "UPSTREAM_URL": standin.url}
        CommandLine(folder=tmp_path, settings=settings).look("ingest", expect=7)
        standin.faults.slow(0.05, path="/api/stops-force")
        with ingestion_server(database, server_settings(standin.url, requests_in_flight=2)) as server:
            asked = server.post()
            assert asked["status"] in ("queued", "running")
            under_way = server.until(asked["id"], lambda batch: 0 < batch["progress"]["ended"] < len(MONTHS))
            ended = server.until_ended(asked["id"])

    assert (under_way["status"], under_way["is_alive"], under_way["ended_at"]) == ("running", True, None)
    assert under_way["progress"]["force_months"] == len(MONTHS)
    assert ended["status"] == "finished_with_failures"
    assert ended["progress"] == {"force_months": len(MONTHS), "ended": len(MONTHS)}
    assert ended["run_counts"] == {"revised": len(MONTHS) - 1, "failed": 1}
    assert ended["asked_at"] <= ended["started_at"] <= ended["ended_at"]
    other = outside_database(other_database)
    assert ledger_of(database) == ledger_of(other)
    assert content_of(database) == content_of(other)
    assert breaches_of(database) == {}
    [broken] = [run for run in ended["runs"] if run["status"] == "failed"]
    assert (broken["force"], broken["month"], broken["error"]["kind"]) == ("durham", "2023-06", "source_shape_changed")
    [doubtful] = [run for run in ended["runs"] if run["rejected"]]
    assert (doubtful["force"], doubtful["month"], doubtful["stored"], doubtful["rejected"]) == (
        "kent",
        "2023-06",
        5,
        1,
    )


def test_what_is_asked_for_again_is_a_batch_that_finds_nothing_due(database: Database) -> None:
    with running_standin(MONTHS) as standin, ingestion_server(database, server_settings(standin.url)) as server:
        first, second = (server.post(forces=["kent"], **{"from": "2023-02", "to": "2023-03"}) for _ in range(2))
        ended = [server.until_ended(batch["id"]) for batch in (first, second)]

    assert [len(batch["runs"]) for batch in ended] == [2, 0]
    assert [batch["status"] for batch in ended] == ["finished", "finished"]
    assert ended[0]["ended_at"] <= ended[1]["started_at"]
    assert standin.stats.by_path["/api/stops-force"] == 2
    assert ended[1]["asked_for"] == {
        "kind": "ingest",
        "forces": ["kent"],
        "from": "2023-02",
        "to": "2023-03",
        "recheck": False,
        "source": "api",
        "archives": [],
    }


def test_requests_are_answered_while_a_batch_blocks_its_own_loop(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_begun, may_end = threading.Event(), threading.Event()

    async def work_hard(*_: object) -> list[Any]:
        has_begun.set()
        may_end.wait(30)
        return []

    monkeypatch.setattr(queued_batches, "_bring_in", work_hard)
    with ingestion_server(database, server_settings()) as server:
        asked = server.post()
        assert has_begun.wait(20)
        answered = [server.batch(asked["id"])["status"] for _ in range(20)]
        server.post()
        may_end.set()
        server.until_ended(asked["id"])

    assert answered == ["running"] * 20


def test_a_publisher_out_of_reach_ends_the_batch_and_not_the_server(database: Database) -> None:
    settings = server_settings(retry_attempts=1, retry_time_s=1)
    with ingestion_server(database, settings) as server:
        ended = [server.until_ended(server.post()["id"]) for _ in range(2)]

    for batch in ended:
        assert batch["status"] == "finished_with_failures"
        assert batch["error"]["kind"] == "source_unavailable"
        assert batch["runs"] == []


def test_a_fault_of_ours_ends_the_batch_and_not_the_server(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async def break_down(*_: object) -> list[Any]:
        raise ZeroDivisionError("a secret out of a record")

    monkeypatch.setattr(queued_batches, "_bring_in", break_down)
    with ingestion_server(database, server_settings()) as server:
        first, second = server.post(), server.post()
        ended = [server.until_ended(batch["id"]) for batch in (first, second)]

    assert [batch["status"] for batch in ended] == ["finished_with_failures"] * 2
    assert "secret" not in str(ended)


def test_archives_are_brought_in_by_name(database: Database, tmp_path: Path) -> None:
    keys = [("durham", "2019-01"), ("wiltshire", "2019-01"), ("wiltshire", "2019-02")]
    write_archive(tmp_path / "2021-11.zip", {key: sample_month(*key) for key in keys})
    (tmp_path / "2021-12.zip").write_bytes(b"PK no more")
    with ingestion_server(database, server_settings(archive_dir=tmp_path)) as server:
        asked = server.post(source="archive", archives=["2021-11.zip"], forces=["wiltshire"])
        ended = server.until_ended(asked["id"])
        spoilt = server.until_ended(server.post(source="archive", archives=["2021-11.zip", "2021-12.zip"])["id"])
        nothing = server.until_ended(server.post(source="archive", archives=["2021-12.zip"])["id"])

    assert (ended["status"], ended["run_counts"]) == ("finished", {"revised": 2})
    assert (spoilt["status"], spoilt["run_counts"]) == ("finished_with_failures", {"revised": 1, "unchanged": 2})
    assert spoilt["refused_count"] == len(spoilt["refused"]) == 1
    assert "2021-12.zip" in spoilt["refused"][0]
    assert (nothing["status"], nothing["error"]["kind"]) == ("finished_with_failures", "archive_refused")
    assert str(tmp_path) not in f"{ended}{spoilt}{nothing}"


def test_dead_letters_are_replayed(database: Database) -> None:
    rule = contract.Rule(name="not_this", column="gender", message="-", keeps=pl.col("gender").ne_missing("Male"))
    rules = (*contract.ALL_RULES, rule)
    with pytest.MonkeyPatch.context() as patched:
        for module in (contract, split):
            patched.setattr(module, "ALL_RULES", rules)
        for force in ("durham", "kent"):
            bring_one_in(database, edition(RECORDS, force=force), refuse_share=1.0)

    with ingestion_server(database, server_settings()) as server:
        asked = server.post("/v1/dead-letters/replay", force="kent", month="2023-07", rule="not_this")
        ended = server.until_ended(asked["id"])
        rest = server.until_ended(server.post("/v1/dead-letters/replay")["id"])
        nothing = server.until_ended(server.post("/v1/dead-letters/replay")["id"])

    assert ended["asked_for"]["kind"] == "replay"
    assert [(run["force"], run["status"], run["stored"]) for run in ended["runs"]] == [("kent", "revised", 5)]
    assert [run["force"] for run in rest["runs"]] == ["durham"]
    assert (nothing["status"], nothing["runs"]) == ("finished", [])
    with database.connect() as connection:
        assert find_letters(connection, states=(LetterState.OPEN,)) == []


ROUTES = [
    ("POST", "/v1/ingestions"),
    ("POST", "/v1/dead-letters/replay"),
    ("GET", "/v1/ingestions"),
    ("GET", "/v1/ingestions/1"),
    ("GET", "/v1/ingestions/1/events"),
    ("POST", "/v1/ingestions/1/cancel"),
]


def test_every_route_needs_the_token(database: Database) -> None:
    with ingestion_server(database, server_settings(), is_running=False) as server:
        declared = {
            (method.upper(), path.replace("{batch_id}", "1"))
            for path, methods in server.app.openapi()["paths"].items()
            for method, operation in methods.items()
            if operation["security"]
        }
        for method, path in ROUTES:
            for header in (None, "Bearer", "Bearer wrong", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN):
                headers = {"Authorization": header} if header else {}
                address = server.client.base_url.join(path)
                answer = httpx2.request(method, address, headers=headers, json={} if method == "POST" else None)
                assert (answer.status_code, answer.headers["www-authenticate"][:6]) == (401, "Bearer"), (path, header)
                assert answer.headers["content-type"] == "application/problem+json"
                assert TOKEN not in answer.text

                unread = httpx2.request(method, address, headers=headers, content=b"{" if method == "POST" else None)
                assert unread.status_code == 401, "a body is no business of whoever has no token"

    assert declared == set(ROUTES)
    assert count_rows(database, "ingest_batch") == 0


def test_without_a_token_of_the_server_they_are_off(database: Database) -> None:
    with ingestion_server(database, server_settings(api_token=None), is_running=False) as server:
        for method, path in ROUTES:
            answer = server.client.request(method, path, json={} if method == "POST" else None)
            assert answer.status_code == 403, path
            assert answer.json()["type"] == "/problems/access_off"
            assert "STOPSEARCH_API_TOKEN" in answer.json()["remedy"]

    assert count_rows(database, "ingest_batch") == 0


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("", {"forces": ["kenty"]}, "kent"),
        ("", {"forces": ["kent"], "from": "2023-13"}, "2023-13"),
        ("", {"from": "2023-03", "to": "2023-02"}, "starts after it ends"),
        ("", {"force": ["kent"]}, "force"),
        ("", {"forces": "kent"}, "forces"),
        ("", {"forces": ["x" * 41]}, "forces"),
        ("", {"forces": ["kent"] * 101}, "forces"),
        ("", {"recheck": "yes"}, "recheck"),
        ("", {"source": "kept"}, "source"),
        ("", {"archives": ["2021-11.zip"]}, "takes no archives"),
        ("", {"source": "archive"}, "needs archives"),
        ("", {"source": "archive", "archives": ["2021-11.zip"], "recheck": True}, "recheck"),
        ("", {"source": "archive", "archives": ["2021-12.zip"]}, "2021-12.zip"),
        ("", {"source": "archive", "archives": ["../outside.zip"]}, "not the name"),
        ("", {"source": "archive", "archives": ["link.zip"]}, "link.zip"),
        ("", {"source": "archive", "archives": ["http://127.0.0.1/2021-11.zip"]}, "not the name"),
        ("", {"source": "archive", "archives": [".."]}, "not the name"),
        ("", {"source": "archive", "archives": ["notes.txt"]}, "notes.txt"),
        ("", {"source": "archive", "archives": ["2021\x0011.zip"]}, "not the name"),
        ("", {"source": "archive", "archives": ["\U0001f600" * 200 + ".zip"]}, "no zip"),
        ("?force=kent", {}, "force"),
        ("replay", {"rule": "no_such_rule"}, "no_such_rule"),
        ("replay", {"rule": "x\x00"}, "rule"),
        ("replay", {"ids": [7]}, "no dead letter 7"),
        ("replay", {"ids": [2**31]}, "ids"),
        ("replay", {"ids": []}, "ids"),
        ("replay", {"month": "soon"}, "soon"),
        ("replay", {"force": "narnia"}, "narnia"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_queued(
    database: Database, tmp_path: Path, path: str, body: dict[str, Any], told: str
) -> None:
    folder = tmp_path / "archives"
    folder.mkdir()
    write_archive(tmp_path / "outside.zip", {})
    write_archive(folder / "2021-11.zip", {})
    (folder / "link.zip").symlink_to(tmp_path / "outside.zip")
    (folder / "notes.txt").write_text("no archive")
    with ingestion_server(database, server_settings(archive_dir=folder), is_running=False) as server:
        address = "/v1/dead-letters/replay" if "replay" in path else f"/v1/ingestions{path}"
        answer = server.client.post(address, json=body)

    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert told in answer.text
    assert answer.json()["remedy"]
    assert str(tmp_path) not in answer.text
    assert count_rows(database, "ingest_batch") == 0


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'"x"', b'{"forces": ["\\udcff"]}', b"\xff", b"[" * 9000]
)
def test_a_body_that_is_no_request_is_refused(database: Database, content: bytes) -> None:
    with ingestion_server(database, server_settings(), is_running=False) as server:
        answer = server.client.post("/v1/ingestions", content=content, headers={"Content-Type": "application/json"})

    assert 400 <= answer.status_code < 500, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert count_rows(database, "ingest_batch") == 0


def test_archives_are_refused_where_no_folder_was_set(database: Database) -> None:
    with ingestion_server(database, server_settings(), is_running=False) as server:
        answer = server.client.post("/v1/ingestions", json={"source": "archive", "archives": ["2021-11.zip"]})

    assert answer.status_code == 422
    assert "STOPSEARCH_ARCHIVE_DIR" in answer.json()["remedy"]


def test_more_than_may_wait_are_refused(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_queue, "MOST_QUEUED", 2)
    with ingestion_server(database, server_settings(), is_running=False) as server:
        server.post()
        server.post()
        answer = server.client.post("/v1/ingestions", json={})

    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/run_already_active")
    assert count_rows(database, "ingest_batch") == 2


def test_batches_and_runs_come_in_pages(database: Database) -> None:
    with running_standin(MONTHS) as standin, ingestion_server(database, server_settings(standin.url)) as server:
        ids = [server.post(forces=[force])["id"] for force in ("kent", "durham", "kent")]
        for batch in ids:
            server.until_ended(batch)
        listed, following = [], "/v1/ingestions?limit=2"
        while following:
            page = server.get(following)
            listed.append([batch["id"] for batch in page["data"]])
            following = page["next"]
        pages, runs, following = [], [], f"/v1/ingestions/{ids[0]}?limit=4"
        while following:
            page = server.get(following)
            pages.append(len(page["data"]["runs"]))
            runs += [run["id"] for run in page["data"]["runs"]]
            following = page["next"]

    assert listed == [[ids[2], ids[1]], [ids[0]]]
    assert pages == [4, 2]
    assert runs == sorted(set(runs))


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/ingestions/77", 404),
        ("/v1/ingestions/77/events", 404),
        ("/v1/ingestions/x", 422),
        ("/v1/ingestions/0", 422),
        ("/v1/ingestions/99999999999999999999", 422),
        ("/v1/ingestions?limit=0", 422),
        ("/v1/ingestions?limit=101", 422),
        ("/v1/ingestions?limit=-1", 422),
        ("/v1/ingestions?before=99999999999", 422),
        ("/v1/ingestions?befor=1", 422),
        ("/v1/ingestions?before=1%27%3B--", 422),
    ],
)
def test_what_is_not_there_or_cannot_be_meant_is_a_problem(database: Database, path: str, status: int) -> None:
    with ingestion_server(database, server_settings(), is_running=False) as server:
        answer = server.client.get(path)

    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
