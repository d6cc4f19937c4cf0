"""
One client, however it asks, takes neither the memory, the disk nor the time of the others; and learns no secret.
"""

from __future__ import annotations

import asyncio
import difflib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import psycopg
import pytest
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from builders.ingests import settings_for
from builders.refusals import ACTED_ON, refused
from builders.running_server import TOKEN, running_server
from stopsearch.domain.errors import StoreUnavailable
from stopsearch.flows import ready_exports
from stopsearch.serve import answers, stop_formats, stop_pages
from stopsearch.serve.answer_cache import Answer, AnswerCache
from stopsearch.serve.clients import ClientNames
from stopsearch.serve.compression import takes_gzip
from stopsearch.serve.reading import Reading
from stopsearch.store.database import Database

pytestmark = pytest.mark.integration

AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}
CROWDED = ["/v1/exports/stops.geojson", "/v1/stops?limit=1000", "/v1/ingestions/1/events", "/v1/exports"]


def kept_after(cache: AnswerCache, count: int, content: bytes) -> int:
    """
    Ask for many different answers, and tell how many of them are found again.
    """

    async def make() -> Answer:
        return Answer(content=content, media_type="text/csv")

    async def ask() -> int:
        for number in range(count):
            await cache.get_or_make(f"{number:064x}", make)
        before = cache.statistics.hits
        for number in range(count):
            if f"{number:064x}" in cache._kept:
                await cache.get_or_make(f"{number:064x}", make)
        return cache.statistics.hits - before

    return asyncio.run(ask())


def test_small_answers_count_for_what_keeping_them_takes() -> None:
    kept = kept_after(AnswerCache(settings_for(page_cache_mb=1)), 5000, b"x")
    assert 100 < kept <= 2048, "a kilobyte of cache holds no more than one or two"


def test_a_cache_of_nought_keeps_not_even_nothing() -> None:
    assert kept_after(AnswerCache(settings_for(page_cache_mb=0)), 50, b"") == 0


def test_what_is_kept_of_questions_is_bounded(make_api: Any, stocked: Database) -> None:
    api: TestClient = make_api(stocked, page_cache_mb=1)
    for number in range(600):
        headers = {
            "Host": f"host-{number}.test",
            "Accept": f"text/csv;q=0.{number}, */*",
            "Accept-Encoding": f"x{number}",
        }
        path = f"/v1/stops?limit=1&operation_name=name{number}"
        assert api.get(path, headers=headers).status_code == 200
    fields = ["id", "force", "month", "type", "datetime"]
    for number in range(25):
        chosen = ",".join([*fields[number % 5 :], *fields[: number % 5]][: 1 + number // 5])
        assert api.get(f"/v1/stops?limit=1&fields={chosen}").status_code == 200
    assert len(answers._metas) <= 512
    assert len(stop_pages._asked) <= 128
    assert len(stop_pages._questions) <= 128
    assert len(stop_pages._words) <= 16
    assert stop_formats.accepted_format.cache_info().currsize <= 64
    assert takes_gzip.cache_info().currsize <= 256
    reading: Reading = api.app.state.reading  # type: ignore[attr-defined]
    assert len(reading._kept) <= 8


def test_finding_what_was_meant_ends_with_the_faults_that_are_told(
    make_api: Any, stocked: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = 0
    close = difflib.get_close_matches

    def counted(*args: Any, **options: Any) -> list[str]:
        nonlocal looked
        looked += 1
        return close(*args, **options)

    monkeypatch.setattr(difflib, "get_close_matches", counted)
    api: TestClient = make_api(stocked)
    many = [f"durhan{number}" for number in range(600)]
    for query in (
        f"force={','.join(many)}",
        f"fields={','.join(many)}",
        f"by={','.join(many)}",
        "&".join(f"{name}=1" for name in many[:190]),
        "&".join(f"gender={name}" for name in many[:190]),
    ):
        looked = 0
        problem = refused(api.get(f"/v1/{'counts' if query.startswith('by') else 'stops'}?{query}"))
        assert len(problem["errors"]) <= 20
        # An unknown force is looked at once more, for a snapshot that came since may know it.
        assert 0 < looked <= 40, query[:30]


def test_no_client_steers_what_is_kept_of_addresses() -> None:
    names = ClientNames(["10.0.0.0/8"])

    def ask(hop: str) -> str:
        headers = [(b"x-forwarded-for", hop.encode("latin-1"))]
        return names.name_of({"type": "http", "client": ("10.0.0.1", 1), "headers": headers})

    assert ask("203.0.113.7") == "203.0.113.7"
    before = names._read.cache_info().currsize
    for number in range(50):
        assert ask(f"{number}" + "x" * 60_000) == "10.0.0.1"
    assert names._read.cache_info().currsize == before, "half a gigabyte of them would be kept"


def test_manifests_do_not_fill_the_disk(
    make_api: Any, stocked: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ready_exports, "_MOST_MANIFESTS", 5)
    api: TestClient = make_api(stocked, data_dir=tmp_path)
    for number in range(12):
        assert api.get(f"/v1/exports/stops.csv?operation_name=n{number}").status_code == 200
    assert len(list((tmp_path / "exports").iterdir())) == 5


def test_small_files_do_not_fill_the_disk(
    make_api: Any, stocked: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ready_exports, "_MOST_FILES", 3)
    monkeypatch.setattr(ready_exports, "_SPARED_S", 0.0)
    api: TestClient = make_api(stocked, data_dir=tmp_path)
    for number in range(8):
        assert api.get(f"/v1/exports/stops.parquet?operation_name=n{number}").status_code == 200
    assert len(list((tmp_path / "exports").glob("*.parquet"))) == 3
    assert len(api.get("/v1/exports").json()["meta"]["ready"]) == 3


def test_nothing_is_written_through_a_link(make_api: Any, stocked: Database, tmp_path: Path) -> None:
    """
    Where somebody has put a link in a finished file's place, what it leads to is not written over.
    """
    api: TestClient = make_api(stocked, data_dir=tmp_path)
    path = "/v1/exports/stops.parquet?force=durham&from=2020-02&to=2020-02"
    whole = api.get(path).content
    (file,) = (tmp_path / "exports").glob("*.parquet")
    other = tmp_path / "other"
    other.write_bytes(b"somebody's own")
    (tmp_path / "exports" / f"{file.name}.manifest.json").unlink()
    file.unlink()
    file.symlink_to(other)
    assert api.get(path).content == whole
    assert other.read_bytes() == b"somebody's own"
    assert not file.is_symlink()
    assert os.stat(file).st_mode & 0o077 == 0


@pytest.fixture
def crowded(stocked: Database, tmp_path: Path) -> Iterator[str]:
    options = {"export_streams": 2, "event_streams": 2, "read_connections": 2, "export_stall_s": 1.0}
    with running_server(stocked, data_dir=tmp_path, api_token=TOKEN, **options) as address:
        yield address


def test_a_crowd_that_reads_nothing_keeps_nobody_waiting(crowded: str) -> None:
    place = urlsplit(crowded)
    crowd = []
    try:
        for number in range(40):
            path = CROWDED[number % 4]
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect((place.hostname, place.port))
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
            crowd.append(client)
        began = time.monotonic()
        with httpx2.Client(base_url=crowded, timeout=15) as client:
            assert client.get("/health/live").status_code == 200
            assert client.get("/v1/stops?limit=10").status_code == 200
            assert client.get("/v1/counts?by=force").status_code == 200
        assert time.monotonic() - began < 15
        while (ended := httpx2.get(f"{crowded}/v1/exports/stops.csv?force=durham", timeout=15)).status_code == 503:
            assert ended.headers["content-type"] == "application/problem+json"
            assert ended.headers["retry-after"]
            assert time.monotonic() - began < 20, "turns of clients that read nothing come free"
            time.sleep(0.2)
        assert ended.status_code == 200
    finally:
        for client in crowd:
            client.close()


def test_whatever_fails_tells_no_secret(
    make_api: Any, stocked: Database, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    api: TestClient = make_api(stocked, redis_url="redis://:a-redis-password@127.0.0.1:9/0")
    secrets = [TOKEN, "a-redis-password", "a-database-password", stocked.conninfo, "somebody's raw record"]
    address = "postgresql://user:a-database-password@127.0.0.1:9/stops"
    faults: list[Exception] = [
        RuntimeError(f"{address} {TOKEN} somebody's raw record"),
        psycopg.errors.InvalidTextRepresentation('invalid input: "somebody\'s raw record"'),
        StoreUnavailable("The database is away.", remedy="Start it."),
        KeyError(TOKEN),
        UnicodeEncodeError("utf-8", "somebody's raw record", 0, 1, "surrogates"),
    ]
    paths = ["/v1/forces?snapshot=%s", "/v1/dead-letters/%s", "/v1/counts", "/v1/revisions/%s/2020-02/1/diff"]
    told = []
    with capture_logs() as logs:
        for fault in faults:

            async def fails(*_: Any, fault: Exception = fault, **__: Any) -> Any:
                raise fault

            monkeypatch.setattr(api.app.state.reading, "run", fails)  # type: ignore[attr-defined]
            for path in paths:
                response = api.get(path.replace("%s", "%1B%5B31m" if "diff" in path else "7"), headers=AUTHORIZED)
                told.append((response.status_code, response.text))
        monkeypatch.undo()
        told.append((0, api.get("/v1/ingestions", headers={"Authorization": f"Bearer {TOKEN}x"}).text))
        told.append((0, api.post("/v1/ingestions", json={TOKEN: 1, "forces": [TOKEN] * 200}, headers=AUTHORIZED).text))
        told.append((0, api.get("/health/ready").text + api.get("/version").text + api.get("/openapi.json").text))
    assert {500, 503} <= {status for status, _ in told}
    assert logs, "what fails is logged"
    assert not [entry for entry in logs if ACTED_ON.search(str(entry.get("path", "")))]
    everything = "".join(text for _, text in told[:-2] + told[-1:]) + str(logs) + "".join(capfd.readouterr())
    for secret in secrets:
        assert secret not in everything


def test_reading_has_no_right_to_write_or_to_the_key(make_api: Any, stocked: Database) -> None:
    api: TestClient = make_api(stocked)
    reading: Reading = api.app.state.reading  # type: ignore[attr-defined]

    def attack(statement: str) -> str:
        def run(connection: Any) -> str:
            with connection.transaction(force_rollback=True):
                # What an injected statement could do first.
                connection.execute("SET LOCAL transaction_read_only = off")
                connection.execute(statement)
            return "done"

        async def ask() -> str:
            return await reading.run(run)

        try:
            return str(api.portal.call(ask))  # type: ignore[union-attr]
        except Exception as error:  # whatever refuses it
            return f"{type(error).__name__} {error.__cause__ or error}"

    assert attack("SELECT 1") == "done"
    for statement in (
        "DELETE FROM stop",
        "UPDATE revision SET number = number",
        "INSERT INTO server_key (name, key) VALUES ('x', 'x')",
        "CREATE TABLE mine (x integer)",
        "SELECT key FROM server_key",
        "COPY stop TO PROGRAM 'true'",
        "TRUNCATE snapshot",
    ):
        assert "denied" in attack(statement), statement
