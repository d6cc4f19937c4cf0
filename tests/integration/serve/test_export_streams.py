"""
An export on its way: what slow, silent and leaving clients cost, and how it ends when something fails.
"""

from __future__ import annotations

import http.client
import json
import socket
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import psycopg
import pytest
import structlog

from builders.ingests import settings_for
from builders.running_server import running_server
from stopsearch.flows.asked_export import AskedExport, ExportFormat
from stopsearch.serve.export_desk import ExportDesk
from stopsearch.serve.export_stream import ExportStream
from stopsearch.store import export_rows
from stopsearch.store.database import Database
from stopsearch.store.snapshots import current_snapshot

pytestmark = pytest.mark.integration

STALL_S = 1.0
READERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle' AND "


@pytest.fixture
def server(stocked: Database, tmp_path: Path) -> Iterator[str]:
    with running_server(stocked, data_dir=tmp_path, export_streams=2, export_stall_s=STALL_S) as address:
        yield address


def asked_for(address: str, path: str = "/v1/exports/stops.geojson", *, buffer: int = 4096) -> socket.socket:
    """
    Ask for an export and read nothing of it. The client's own buffer is small, so that the server has to wait.
    """
    place = urlsplit(address)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    client.connect((place.hostname, place.port))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n".encode())
    return client


def begun(client: socket.socket) -> bytes:
    client.settimeout(20)
    return client.recv(16)


def status_of(address: str, path: str = "/v1/exports/stops.csv?force=durham") -> int:
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def wait_until(is_so: Callable[[], bool], *, within_s: float = 20) -> None:
    deadline = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)


def busy_readers(database: Database) -> int:
    with database.connect() as connection:
        row = connection.execute(READERS + "application_name LIKE 'stopsearch-reader%'").fetchone()
    assert row is not None
    return int(row[0])


def test_slow_client_holds_no_connection(stocked: Database, tmp_path: Path) -> None:
    """
    One connection for everything: while a client reads nothing, another one is answered by it.
    """
    with running_server(stocked, data_dir=tmp_path, export_streams=2, export_stall_s=60, read_connections=1) as address:
        slow = asked_for(address)
        assert begun(slow).startswith(b"HTTP/1.1 200")
        wait_until(lambda: busy_readers(stocked) == 0)
        assert status_of(address) == 200
        slow.close()


def test_stalled_client_is_ended_and_its_turn_freed(server: str) -> None:
    clients = [asked_for(server) for _ in range(2)]
    with structlog.testing.capture_logs() as logs:
        for client in clients:
            assert begun(client).startswith(b"HTTP/1.1 200")
        assert status_of(server) == 503
        wait_until(lambda: status_of(server) == 200, within_s=STALL_S + 8)
        wait_until(lambda: len([log for log in logs if log["event"] == "export_cut"]) == 2)
    assert {log["reason"] for log in logs if log["event"] == "export_cut"} == {"stalled"}
    for client in clients:
        client.close()


def test_client_that_reads_slowly_is_not_stalled(stocked: Database, tmp_path: Path) -> None:
    """
    It pauses after each two megabytes, for less than a client may, and in all for longer.
    """
    with running_server(stocked, data_dir=tmp_path, export_stall_s=STALL_S) as address:
        client = asked_for(address, "/v1/exports/stops.csv", buffer=65536)
        client.settimeout(20)
        read, tail, paused_s = 0, b"", 0.0
        while not tail.endswith(b"\r\n0\r\n\r\n"):
            block = client.recv(1 << 16)
            assert block, "the connection was ended before the body was"
            if (read + len(block)) >> 21 > read >> 21:
                time.sleep(STALL_S / 3)
                paused_s += STALL_S / 3
            read += len(block)
            tail = (tail + block)[-16:]
        assert paused_s > 3 * STALL_S


def test_client_that_leaves_frees_its_turn_at_once(stocked: Database, tmp_path: Path) -> None:
    with running_server(stocked, data_dir=tmp_path, export_streams=1, export_stall_s=60) as address:
        client = asked_for(address)
        assert begun(client).startswith(b"HTTP/1.1 200")
        assert status_of(address) == 503
        client.close()
        wait_until(lambda: status_of(address) == 200, within_s=5)


@pytest.mark.parametrize("error", [psycopg.OperationalError("gone"), ConnectionResetError("gone")], ids=type)
@pytest.mark.parametrize("format", ["csv", "ndjson", "geojson"])
def test_failure_midway_never_looks_like_an_end(
    server: str, format: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The third chunk can't be read any more: the client learns it from its HTTP library.
    """
    read = export_rows.RowReader.read
    chunks = iter(range(1000))
    # What was lost with its connection is asked for once more.
    failing = (2, 3) if isinstance(error, psycopg.Error) else (2,)

    def fails_later(*args: Any) -> Any:
        if next(chunks) in failing:
            raise error
        return read(*args)

    monkeypatch.setattr(export_rows.RowReader, "read", fails_later)
    connection = http.client.HTTPConnection(urlsplit(server).netloc, timeout=30)
    connection.request("GET", f"/v1/exports/stops.{format}")
    answer = connection.getresponse()
    assert answer.status == 200
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        answer.read()
    assert status_of(server) == 200  # the turn is free
    assert json.loads(_body(server, f"/v1/exports/stops.{format}.manifest.json?force=durham"))["rows"] > 0


@pytest.mark.parametrize("format", ["csv", "ndjson", "geojson"])
def test_a_client_that_can_not_tell_an_end_from_a_cut_is_told_the_length(server: str, format: str) -> None:
    path = f"/v1/exports/stops.{format}?force=durham"
    place = urlsplit(server)
    with socket.create_connection((place.hostname, place.port), timeout=30) as client:
        client.sendall(f"GET {path} HTTP/1.0\r\nHost: {place.netloc}\r\n\r\n".encode())
        head, _, body = b"".join(iter(lambda: client.recv(1 << 16), b"")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert f"content-length: {len(body)}".encode() in head.lower()
    assert body == _body(server, path)


def _body(address: str, path: str) -> bytes:
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    connection.request("GET", path)
    return connection.getresponse().read()


def test_failed_stream_leaves_no_manifest(server: str, tmp_path: Path) -> None:
    client = asked_for(server)
    assert begun(client)
    client.close()
    wait_until(lambda: status_of(server, "/v1/exports") == 200)
    time.sleep(0.2)
    assert not list((tmp_path / "exports").glob("*.geojson*"))


class _Reading:
    """
    Reads as the application's own does, and counts what was asked for.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.chunks = 0

    async def run(self, read: Callable[..., Any], *args: Any) -> Any:
        self.chunks += 1

        def reading() -> Any:
            with self._database.connect(autocommit=True) as connection:
                return read(connection, *args)

        return await anyio.to_thread.run_sync(reading)


def streamed(
    database: Database,
    desk: ExportDesk,
    send: Callable[[dict[str, Any]], Any],
    *,
    format: ExportFormat,
    receive: Callable[[], Any] | None = None,
) -> None:
    with database.connect(autocommit=True) as connection:
        asked = AskedExport(snapshot=current_snapshot(connection)[0], format=format)

    async def receive_nothing() -> dict[str, Any]:
        await anyio.sleep_forever()
        return {}

    async def run() -> None:
        stream = await ExportStream.begin(asked, desk=desk, headers={})
        await stream({"type": "http", "path": "/v1/exports/stops.csv"}, receive or receive_nothing, send)

    anyio.run(run)


def desk_for(database: Database, tmp_path: Path, **changes: Any) -> tuple[ExportDesk, _Reading]:
    reading = _Reading(database)
    return ExportDesk(reading, settings_for(data_dir=tmp_path, **changes)), reading  # type: ignore[arg-type]


def test_reads_no_further_than_one_chunk_ahead(stocked: Database, tmp_path: Path) -> None:
    """
    A client that takes nothing in after the head is sent costs the first chunk and the next, whatever there is.
    """
    desk, reading = desk_for(stocked, tmp_path, export_stall_s=1.5)
    seen = []

    async def send(message: dict[str, Any]) -> None:
        seen.append(message["type"])
        if len(seen) == 3:
            await anyio.sleep_forever()

    with structlog.testing.capture_logs() as logs:
        streamed(stocked, desk, send, format=ExportFormat.CSV)
    assert reading.chunks <= 2
    assert desk.writing == 0
    [event] = [log for log in logs if log["event"] == "export_cut"]
    assert event["reason"] == "stalled"


def test_nothing_is_read_any_more_for_a_client_that_left(
    stocked: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The web server takes in whatever is sent to one that left, so that sending alone would never tell.
    """
    chunks_of = export_rows.chunks_of
    monkeypatch.setattr("stopsearch.flows.asked_export.chunks_of", lambda months: chunks_of(months, stops=2000))
    desk, reading = desk_for(stocked, tmp_path)
    sent = 0

    async def send(message: dict[str, Any]) -> None:
        nonlocal sent
        sent += 1
        await anyio.sleep(0)

    async def receive() -> dict[str, Any]:
        while sent < 12:
            await anyio.sleep(0)
        return {"type": "http.disconnect"}

    with structlog.testing.capture_logs() as logs:
        streamed(stocked, desk, send, format=ExportFormat.CSV, receive=receive)
    assert reading.chunks < 10
    assert desk.writing == 0
    assert [log["reason"] for log in logs if log["event"] == "export_cut"] == ["left"]
    assert not (tmp_path / "exports").exists()


def test_memory_does_not_grow_with_the_export(
    stocked: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Chunks of 2,000 stops: what is held at once stays a few of them, while forty times that passes through.
    """
    chunks_of = export_rows.chunks_of
    monkeypatch.setattr("stopsearch.flows.asked_export.chunks_of", lambda months: chunks_of(months, stops=2000))
    desk, reading = desk_for(stocked, tmp_path)
    sent = 0

    async def send(message: dict[str, Any]) -> None:
        nonlocal sent
        sent += len(message.get("body", b""))

    tracemalloc.start()
    try:
        streamed(stocked, desk, send, format=ExportFormat.NDJSON)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert reading.chunks > 30
    assert sent > 40_000_000
    # The largest single force-month of the sample is the largest chunk; a chunk is copied once when it is read.
    assert peak < 12_000_000, f"{peak:,} bytes were held at once of {sent:,}"


def test_bytes_do_not_depend_on_how_it_is_parted(
    stocked: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies = []
    chunks_of = export_rows.chunks_of
    for stops, lines in ((20_000, 512), (1, 7), (3000, 100)):
        monkeypatch.setattr(
            "stopsearch.flows.asked_export.chunks_of", lambda months, stops=stops: chunks_of(months, stops=stops)
        )
        monkeypatch.setattr(export_rows, "_PIECE_LINES", lines)
        body: list[bytes] = []

        async def send(message: dict[str, Any], body: list[bytes] = body) -> None:
            body.append(message.get("body", b""))

        streamed(stocked, desk_for(stocked, tmp_path)[0], send, format=ExportFormat.GEOJSON)
        bodies.append(b"".join(body))
    assert bodies[0] == bodies[1] == bodies[2]
    assert len(json.loads(bodies[0])["features"]) == 78_913
