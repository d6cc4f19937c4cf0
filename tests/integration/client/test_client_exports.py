"""
Exports by the client: whole, checked against their manifest, gone on with after a cut, and nothing half left behind.
"""

from __future__ import annotations

import asyncio
import csv
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from builders.ingests import bring_one_in, edition
from builders.running_server import running_server
from builders.sample_rows import sample_rows
from builders.scripted_server import ScriptedServer, broken_off, problem, scripted_server
from builders.standin import make_api_record
from stopsearch.client import AsyncClient, BadArgument, BrokenAnswer, Client, ProblemError, Unreachable
from stopsearch.client.transport import AwaitingTransport, BlockingTransport
from stopsearch.store.database import Database

pytestmark = pytest.mark.integration

DURHAM = {"force": "durham", "from_": "2020-01", "to": "2020-02"}
ID = "5" * 64
LINES = b"".join(json.dumps({"id": f"{number}", "force": "durham"}).encode() + b"\n" for number in range(1000))


def of_durham() -> list[dict[str, Any]]:
    return [
        stop for stop in sample_rows().stops if stop["force"] == "durham" and stop["month"] in ("2020-01", "2020-02")
    ]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    async def sleep(self: Any, seconds: float) -> None:
        pass

    monkeypatch.setattr(BlockingTransport, "sleep", sleep)
    monkeypatch.setattr(AwaitingTransport, "sleep", sleep)


@pytest.mark.parametrize("format", ["csv", "ndjson", "geojson", "parquet"])
def test_a_file_is_what_its_manifest_says(client: Client, tmp_path: Path, format: str) -> None:
    path = tmp_path / f"durham.{format}"
    path.write_text("an older one")
    export = client.export(format, path, **DURHAM)
    body = path.read_bytes()
    assert export.path == path
    assert (export.meta["sha256"], export.meta["bytes"]) == (hashlib.sha256(body).hexdigest(), len(body))
    assert export.meta["rows"] == len(of_durham())
    assert export.snapshot is not None
    assert export.snapshot.id[:12] in export.citation
    assert "Open Government Licence" in export.licence
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    now = os.umask(0)
    os.umask(now)
    return now


def test_everything_is_exported_once(client: Client, tmp_path: Path) -> None:
    client.export("csv", tmp_path / "all.csv")
    with (tmp_path / "all.csv").open(newline="") as file:
        found = Counter((row["force"], row["month"]) for row in csv.DictReader(file))
    assert found == Counter((stop["force"], stop["month"]) for stop in sample_rows().stops)


def test_rows_of_an_export_are_those_of_the_pages(client: Client) -> None:
    rows = client.export_rows(**DURHAM)
    assert rows.snapshot is not None
    assert len(rows.snapshot.id) == 64
    pages = client.stops(**DURHAM)
    found = list(rows)
    assert sorted(found, key=lambda row: row["id"]) == sorted(pages, key=lambda row: row["id"])
    assert rows.citation
    assert next(rows, None) is None
    assert client.export_rows(**DURHAM).to_polars().frame.schema == client.stops(**DURHAM).to_polars().frame.schema


def test_a_frame_by_way_of_parquet_is_that_of_the_pages(client: Client) -> None:
    table = client.export_polars(**DURHAM)
    pages = client.stops(**DURHAM).to_polars()
    assert table.frame.schema == pages.frame.schema
    assert table.frame.sort("id").equals(pages.frame.sort("id"))
    assert table.snapshot == pages.snapshot
    assert table.citation
    assert table.licence == pages.licence


def test_the_awaiting_client_exports_the_same(client: Client, url: str, tmp_path: Path) -> None:
    async def ask() -> tuple[Any, list[Any], Any]:
        async with AsyncClient(url) as other:
            export = await other.export("csv", tmp_path / "other.csv", **DURHAM)
            rows = [row async for row in await other.export_rows(**DURHAM)]
            return export, rows, await other.export_polars(**DURHAM)

    export, rows, table = asyncio.run(ask())
    assert export.meta == client.export("csv", tmp_path / "one.csv", **DURHAM).meta
    assert (tmp_path / "other.csv").read_bytes() == (tmp_path / "one.csv").read_bytes()
    assert rows == list(client.export_rows(**DURHAM))
    assert table.frame.equals(client.export_polars(**DURHAM).frame)


def test_an_export_stays_in_its_snapshot_while_data_comes_in(own_stocked: Database, tmp_path: Path) -> None:
    with running_server(own_stocked, data_dir=tmp_path) as url, Client(url) as client:
        before = sorted(row["id"] for row in client.stops(**DURHAM))
        rows = client.export_rows(**DURHAM)
        first = next(rows)
        bring_one_in(own_stocked, edition([make_api_record(datetime="2020-02-15T10:00:00+00:00")], month="2020-02"))
        assert sorted([first["id"], *(row["id"] for row in rows)]) == before
        assert client.export("csv", tmp_path / "now.csv", **DURHAM).snapshot != rows.snapshot


def test_problems_and_paths_that_can_not_be_written_are_told(client: Client, tmp_path: Path) -> None:
    with pytest.raises(ProblemError) as told:
        client.export("csv", tmp_path / "x.csv", force="durhan")
    assert told.value.kind == "bad_query"
    with pytest.raises(ProblemError) as none:
        client.export("xlsx", tmp_path / "x.xlsx")
    assert none.value.status == 404
    for path in (tmp_path, tmp_path / "not" / "there.csv"):
        with pytest.raises(BadArgument):
            client.export("csv", path)
    assert list(tmp_path.iterdir()) == []


def manifest(**changes: Any) -> Response:
    told = {"rows": 1000, "bytes": len(LINES), "sha256": hashlib.sha256(LINES).hexdigest()}
    return JSONResponse({**told, "snapshot": {"id": ID, "served_from": "2026-01-01T00:00:00+00:00"}, **changes})


def whole(body: bytes = LINES, *, snapshot: str = ID) -> Response:
    return Response(body, headers={"Stopsearch-Snapshot": snapshot, "ETag": '"e"'}, media_type="application/x-ndjson")


def half(body: bytes = LINES[:20_000]) -> Response:
    return broken_off(body, **{"Stopsearch-Snapshot": ID, "ETag": '"e"', "Content-Length": str(len(LINES))})


def rest(request: Request) -> Response:
    """
    Give the range that is asked for, as a server does that has the file ready.
    """
    assert request.headers["if-range"] == '"e"'
    start = int(request.headers["range"].removeprefix("bytes=").removesuffix("-"))
    headers = {
        "Stopsearch-Snapshot": ID,
        "ETag": '"e"',
        "Content-Range": f"bytes {start}-{len(LINES) - 1}/{len(LINES)}",
    }
    return Response(LINES[start:], status_code=206, headers=headers)


@contextmanager
def scripted(*answers: Any) -> Iterator[tuple[ScriptedServer, Client]]:
    with scripted_server(*answers) as server, Client(server.url) as client:
        yield server, client


@pytest.mark.parametrize("second", [whole(), rest], ids=["all again", "the rest"])
def test_what_breaks_off_is_gone_on_with(second: Any, tmp_path: Path) -> None:
    with scripted(half(), problem(503), second, manifest()) as (server, client):
        client.export("ndjson", tmp_path / "x.ndjson", force="durham")
    assert (tmp_path / "x.ndjson").read_bytes() == LINES
    # Whatever is served by then, it is the same snapshot that is gone on with, and whose manifest is asked for.
    assert [request.query_params.get("snapshot") for request in server.requests] == [None, ID, ID, ID]
    assert {request.query_params["force"] for request in server.requests} == {"durham"}
    assert server.requests[-1].url.path == "/v1/exports/stops.ndjson.manifest.json"
    with scripted(half(), second, manifest()) as (server, client):
        assert [row["id"] for row in client.export_rows()] == [f"{number}" for number in range(1000)]


@pytest.mark.parametrize(
    "answers",
    [
        (whole(LINES.replace(b"durham", b"durhan", 1)), manifest()),
        (whole(LINES[:-30]), manifest()),
        (whole(), manifest(sha256="0" * 64)),
        (half(), whole(LINES.replace(b"durham", b"durhan")), manifest()),
        (half(), whole(snapshot="6" * 64), manifest()),
        (whole(snapshot=""), manifest()),
    ],
    ids=["a byte changed", "cut short", "another digest", "another content after a cut", "another snapshot", "none"],
)
def test_a_spoilt_download_is_refused_and_nothing_is_left_of_it(answers: Any, tmp_path: Path) -> None:
    path = tmp_path / "x.ndjson"
    path.write_text("an older one")
    with scripted(*answers) as (_, client), pytest.raises(BrokenAnswer):
        client.export("ndjson", path)
    assert path.read_text() == "an older one"
    assert list(tmp_path.iterdir()) == [path]
    with scripted(*answers) as (_, client), pytest.raises(BrokenAnswer):
        list(client.export_rows())
    with scripted(*answers) as (_, client), pytest.raises(BrokenAnswer):
        client.export_polars()


def test_fewer_rows_than_promised_are_told_after_the_last() -> None:
    with scripted(whole(), manifest(rows=1001)) as (_, client), pytest.raises(BrokenAnswer, match="1000 rows came"):
        list(client.export_rows())


def test_a_server_that_breaks_off_at_the_same_place_is_given_up(tmp_path: Path) -> None:
    with scripted(half()) as (server, client), pytest.raises(Unreachable):
        client.export("ndjson", tmp_path / "x.ndjson")
    assert len(server.requests) == 5
    assert list(tmp_path.iterdir()) == []


def test_a_walk_that_is_left_lets_go_of_its_connection(client: Client) -> None:
    rows = client.export_rows()
    next(rows)
    rows.close()
    assert polars.DataFrame(client.counts().data).height == 1
