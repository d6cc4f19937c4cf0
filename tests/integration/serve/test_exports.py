"""
Exports over HTTP: the bytes that a snapshot stands for, with a manifest that is true, from a stream or a finished file.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from starlette.testclient import TestClient

from builders.archives import sample_members
from builders.ingests import ingest_archives
from stopsearch.flows.asked_export import ExportFormat
from stopsearch.flows.export import export
from stopsearch.flows.plan import Wanted
from stopsearch.sample import sample_archives
from stopsearch.store.database import Database

pytestmark = pytest.mark.integration

TEXTS = ("csv", "ndjson", "geojson")
FORMATS = (*TEXTS, "parquet")
PLAIN = {"Accept-Encoding": "identity"}
DURHAM = "force=durham&from=2020-01&to=2020-02"


def exported(api: TestClient, format: str, query: str = "", **headers: str) -> bytes:
    answer = api.get(f"/v1/exports/stops.{format}?{query}", headers={**PLAIN, **headers})
    assert answer.status_code == 200, answer.text
    return answer.content


def rows_of(body: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(body.decode(), newline="")))


@pytest.mark.parametrize("format", FORMATS)
def test_gives_the_bytes_that_the_command_writes(api: TestClient, stocked: Database, format: str) -> None:
    stream = io.BytesIO()
    report = export(stocked, format=ExportFormat(format), destination=stream)
    body = exported(api, format)
    assert body == exported(api, format) == stream.getvalue()
    assert hashlib.sha256(body).hexdigest() == report.sha256


def test_holds_every_record_of_the_published_files(api: TestClient) -> None:
    """
    Counted by the standard library from the archive itself, which alone holds these forces.
    """
    published = sample_members("2021-11")
    rows = rows_of(exported(api, "csv", "force=cambridgeshire,cumbria"))
    counts: dict[tuple[str, str], int] = {}
    for row in rows:
        counts[row["force"], row["month"]] = counts.get((row["force"], row["month"]), 0) + 1
    expected = {key: len(rows_of(body)) for key, body in published.items() if key[0] in ("cambridgeshire", "cumbria")}
    assert counts == expected


@pytest.mark.parametrize("format", FORMATS)
def test_manifest_is_true(make_api: Any, stocked: Database, format: str, tmp_path: Path) -> None:
    """
    Of a file that was built for it, of one that was streamed before, and the same in both cases.
    """
    manifests = []
    for number, is_streamed_before in enumerate((True, False)):
        api = make_api(stocked, data_dir=tmp_path / str(number))
        if is_streamed_before:
            exported(api, format, DURHAM)
        answer = api.get(f"/v1/exports/stops.{format}.manifest.json?{DURHAM}")
        manifests.append(answer.content)
        told = answer.json()
        file = api.get(f"/v1/exports/stops.{format}?{DURHAM}", headers=PLAIN)
        assert (told["rows"], told["bytes"]) == (296, len(file.content))
        assert told["sha256"] == hashlib.sha256(file.content).hexdigest()
        assert told["snapshot"]["id"] == file.headers["Stopsearch-Snapshot"]
        assert told["query"] == DURHAM
        assert told["coverage"]["held"] == told["coverage"]["expected"] == 2
        assert f'filename="{told["file"]}"' in file.headers["Content-Disposition"]
        assert f"/stops.{format}.manifest.json?{DURHAM}&snapshot={told['snapshot']['id']}>" in file.headers["Link"]
    assert manifests[0] == manifests[1]


def test_manifest_names_each_gap(api: TestClient) -> None:
    coverage = api.get("/v1/exports/stops.csv.manifest.json?force=durham").json()["coverage"]
    months = sum(
        (int(gap["to"][:4]) - int(gap["from"][:4])) * 12 + int(gap["to"][5:]) - int(gap["from"][5:]) + 1
        for gap in coverage["gaps"]
    )
    assert months == coverage["missing"] == coverage["expected"] - coverage["held"] > 0


@pytest.mark.parametrize(
    "query",
    [
        "force=durham",
        "force=durham,cumbria&from=2020-03&to=2020-04",
        "gender=Female",
        "gender=none&outcome_group=Arrest&outcome_group=none",
        "located=false",
        "bbox=-1.7,54.6,-1.4,54.9",
        "near=54.78,-1.57&radius_m=2000",
        "datetime_from=2020-02-10&datetime_before=2020-02-11T12:00:00Z",
        "operation=none",
        "doubled=true",
        "date_only=false&force=btp,durham",
        "revision_state=restated",
    ],
)
def test_filter_is_a_filter_of_everything(api: TestClient, query: str) -> None:
    """
    The lines of a filtered export are those of the whole one that the filter's pages name, in the same order.
    """
    head, *everything = exported(api, "csv").splitlines()
    ids = set()
    url = f"/v1/stops?{query}&fields=id&limit=1000"
    while url:
        page = api.get(url).json()
        ids |= {row["id"] for row in page["data"]}
        url = page["next"]
    expected = [line for line in everything if line[:36].decode() in ids]
    assert exported(api, "csv", query).splitlines() == [head, *expected]
    assert expected


def test_older_snapshot_gives_the_same_bytes_after_a_revision(make_api: Any, database: Database) -> None:
    earlier, later = sample_archives()
    ingest_archives(database, earlier, wanted=Wanted(forces=("durham",)))
    api = make_api(database, export_cache_mb=0)
    before = {format: api.get(f"/v1/exports/stops.{format}", headers=PLAIN) for format in FORMATS}
    manifests = {format: api.get(f"/v1/exports/stops.{format}.manifest.json").content for format in FORMATS}
    ingest_archives(database, later, wanted=Wanted(forces=("durham",)))
    snapshot = before["csv"].headers["Stopsearch-Snapshot"]
    for format in FORMATS:
        now = api.get(f"/v1/exports/stops.{format}", headers=PLAIN)
        assert now.headers["Stopsearch-Snapshot"] != snapshot
        assert now.content != before[format].content
        again = api.get(f"/v1/exports/stops.{format}?snapshot={snapshot}", headers=PLAIN)
        assert again.content == before[format].content
        assert "immutable" in again.headers["Cache-Control"]
        manifest = api.get(f"/v1/exports/stops.{format}.manifest.json?snapshot={snapshot[:12]}")
        assert manifest.content == manifests[format]


def test_withdrawn_stops_are_those_that_a_revision_took_away(make_api: Any, database: Database) -> None:
    earlier, later = sample_archives()
    ingest_archives(database, earlier, wanted=Wanted(forces=("durham",)))
    api = make_api(database)
    before = {row["id"] for row in rows_of(exported(api, "csv"))}
    ingest_archives(database, later, wanted=Wanted(forces=("durham",)))
    after = {row["id"] for row in rows_of(exported(api, "csv"))}
    withdrawn = [row["id"] for row in rows_of(exported(api, "csv", "revision_state=withdrawn"))]
    assert set(withdrawn) == before - after
    assert len(withdrawn) == len(set(withdrawn)) > 0


def test_geojson_is_one_collection_with_its_caveat(api: TestClient) -> None:
    told = json.loads(exported(api, "geojson", "force=cambridgeshire"))
    assert told["type"] == "FeatureCollection"
    assert "approximate" in told["note"]
    unlocated = [feature for feature in told["features"] if feature["geometry"] is None]
    assert len(unlocated) == len(rows_of(exported(api, "csv", "force=cambridgeshire&located=false"))) > 0
    assert len(told["features"]) == len(rows_of(exported(api, "csv", "force=cambridgeshire")))
    west, north = told["features"][-1]["geometry"]["coordinates"]
    assert -8 < west < 2 < 49 < north < 61


@pytest.mark.parametrize("format", FORMATS)
def test_nothing_found_is_a_whole_file_of_nothing(api: TestClient, format: str) -> None:
    for query in ("force=durham&from=2010-12&to=2010-12", "force=durham&operation_name=nothing%20of%20the%20kind"):
        body = exported(api, format, query)
        if format == "geojson":
            assert json.loads(body)["features"] == []
        elif format == "parquet":
            assert pl.read_parquet(io.BytesIO(body)).height == 0
        else:
            assert len(body.splitlines()) == (format == "csv")
        assert api.get(f"/v1/exports/stops.{format}.manifest.json?{query}").json()["rows"] == 0


def test_parquet_reads_back_with_its_types(api: TestClient) -> None:
    frame = pl.read_parquet(io.BytesIO(exported(api, "parquet")))
    types = {name: frame.schema[name] for name in ("id", "month", "datetime", "local_date", "latitude", "operation")}
    assert types == {
        "id": pl.String,
        "month": pl.String,
        "datetime": pl.Datetime("us", "UTC"),
        "local_date": pl.Date,
        "latitude": pl.Float64,
        "operation": pl.Boolean,
    }
    assert frame.rows() == pl.read_ndjson(exported(api, "ndjson"), schema=_as_text(frame)).cast(frame.schema).rows()


def _as_text(frame: pl.DataFrame) -> dict[str, Any]:
    temporal = {"datetime": pl.Datetime("us", "UTC"), "local_date": pl.Date}
    return {name: temporal.get(name, type) for name, type in frame.schema.items()}


def test_parquet_is_a_file_with_length_tag_and_ranges(api: TestClient) -> None:
    url = f"/v1/exports/stops.parquet?{DURHAM}"
    whole = api.get(url)
    size = len(whole.content)
    assert int(whole.headers["Content-Length"]) == size
    assert whole.headers["Accept-Ranges"] == "bytes"
    parts = []
    for first in range(0, size, 4000):
        last = min(first + 3999, size - 1)
        part = api.get(url, headers={"Range": f"bytes={first}-{last}", "If-Range": whole.headers["ETag"]})
        assert part.status_code == 206
        assert part.headers["Content-Range"] == f"bytes {first}-{last}/{size}"
        parts.append(part.content)
    assert b"".join(parts) == whole.content
    assert api.get(url, headers={"Range": "bytes=-8"}).content == whole.content[-8:]
    assert api.get(url, headers={"Range": f"bytes={size - 8}-"}).content == whole.content[-8:]
    assert api.get(url, headers={"Range": f"bytes=0-{size * 2}"}).content == whole.content
    assert api.get(url, headers={"Range": "bytes=0-3", "If-Range": '"another"'}).content == whole.content
    for odd in ("lines=0-3", "bytes=3-2", "bytes=a-b", "bytes=-", "bytes=0-1,4-5"):
        answer = api.get(url, headers={"Range": odd})
        assert (answer.status_code, answer.content) == (200, whole.content)
    for beyond in (f"bytes={size}-", "bytes=-0"):
        answer = api.get(url, headers={"Range": beyond})
        assert answer.status_code == 416
        assert answer.headers["Content-Range"] == f"bytes */{size}"
        assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("format", FORMATS)
def test_client_that_holds_it_gets_nothing(api: TestClient, format: str) -> None:
    url = f"/v1/exports/stops.{format}?{DURHAM}"
    tag = api.get(url, headers=PLAIN).headers["ETag"]
    answer = api.get(url, headers={**PLAIN, "If-None-Match": tag})
    assert (answer.status_code, answer.content) == (304, b"")
    assert api.get(url + "&gender=Male", headers={**PLAIN, "If-None-Match": tag}).status_code == 200


def test_head_tells_and_costs_no_stream(make_api: Any, stocked: Database) -> None:
    api = make_api(stocked, export_streams=1)
    for _ in range(3):
        answer = api.head("/v1/exports/stops.csv")
        assert (answer.status_code, answer.content) == (200, b"")
    assert api.app.state.export_desk.writing == 0  # type: ignore[attr-defined]  # of the application
    assert exported(api, "csv", DURHAM)


def test_one_too_many_is_told_when_to_come_back(make_api: Any, stocked: Database) -> None:
    api = make_api(stocked, export_streams=2)
    exported(api, "csv", DURHAM)
    exported(api, "parquet", DURHAM)
    desk = api.app.state.export_desk
    turns = [desk.take_turn(), desk.take_turn()]
    for format in ("csv", "ndjson", "geojson"):
        answer = api.get(f"/v1/exports/stops.{format}")
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert answer.headers["Content-Type"] == "application/problem+json"
    assert api.get("/v1/exports/stops.parquet").status_code == 503
    assert exported(api, "parquet", DURHAM)  # it is ready, and needs no turn
    for turn in turns:
        turn.free()
        turn.free()
    assert desk.writing == 0
    assert exported(api, "ndjson", DURHAM)


def test_lists_formats_and_what_is_ready(make_api: Any, stocked: Database) -> None:
    api = make_api(stocked)
    assert api.get("/v1/exports").json()["meta"]["ready"] == []
    manifest = api.get(f"/v1/exports/stops.csv.manifest.json?{DURHAM}").json()
    told = api.get("/v1/exports").json()
    assert [entry["format"] for entry in told["data"]] == list(FORMATS)
    [ready] = told["meta"]["ready"]
    assert ready == {name: manifest[name] for name in ready}
    assert [column["name"] for column in told["meta"]["columns"]] == [c["name"] for c in manifest["columns"]]
    for entry in told["data"]:
        assert api.get(entry["manifest"] + "&force=durham&from=2020-02&to=2020-02").json()["rows"] == 135


def test_finished_files_are_private(make_api: Any, stocked: Database, tmp_path: Path) -> None:
    api = make_api(stocked, data_dir=tmp_path / "private")
    exported(api, "parquet", DURHAM)
    folder = tmp_path / "private" / "exports"
    assert folder.stat().st_mode & 0o077 == 0
    files = list(folder.iterdir())
    assert len(files) == 2
    assert [oct(os.stat(file).st_mode & 0o777) for file in files] == [oct(0o600)] * 2


@pytest.mark.parametrize("query", ["forse=durham", "force=durahm", "gender=Man", "snapshot=0123456789ab", "limit=3"])
def test_what_cannot_be_meant_is_a_problem_and_no_file(api: TestClient, query: str) -> None:
    for format in FORMATS:
        for suffix in ("", ".manifest.json"):
            answer = api.get(f"/v1/exports/stops.{format}{suffix}?{query}")
            assert answer.status_code == 422
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert query.partition("=")[2] in answer.text


def test_unknown_format_is_not_there(api: TestClient) -> None:
    for path in ("/v1/exports/stops.xlsx", "/v1/exports/stops", "/v1/exports/stops.xlsx.manifest.json"):
        assert api.get(path).status_code == 404


@pytest.mark.parametrize("format", FORMATS)
def test_incomplete_month_is_refused_before_anything_is_sent(make_api: Any, database: Database, format: str) -> None:
    ingest_archives(database, sample_archives()[0], wanted=Wanted(forces=("durham",)))
    with database.connect() as connection:
        connection.execute("DELETE FROM stop WHERE id = (SELECT min(id::text)::uuid FROM stop)")
    answer = make_api(database).get(f"/v1/exports/stops.{format}")
    assert answer.status_code == 500
    assert answer.headers["Content-Type"] == "application/problem+json"
