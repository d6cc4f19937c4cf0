"""
Hostile values in every parameter, path and body are refused by name, and never run, repeated raw, or met with a fault.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from builders.refusals import HOSTILE, refused
from builders.running_server import TOKEN
from builders.store_state import count_rows
from stopsearch.serve.app import make_app
from stopsearch.settings import Settings
from stopsearch.store.database import Database

pytestmark = pytest.mark.integration

AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}
# Texts that anybody may ask for and nothing has: what holds them is an answer without a row.
FREE_TEXTS = {"operation_name", "rule"}
NO_TEXT = {quote("x" * 4000), quote("9" * 400), "a%00b", "%1B%5B31mred", quote("a\r\nSet-Cookie: a=b")}
# The formats of one route read their query in one place.
ROUTES = [
    "/v1/stops",
    "/v1/stops.csv",
    "/v1/counts",
    "/v1/rates",
    "/v1/coverage",
    "/v1/quality",
    "/v1/revisions",
    "/v1/revisions/durham/2020-02/2/diff",
    "/v1/changes",
    "/v1/changes/revisions",
    "/v1/dead-letters",
    "/v1/forces",
    "/v1/vocabulary",
    "/v1/snapshots",
    "/v1/exports",
    "/v1/exports/stops.csv",
    "/v1/exports/stops.parquet.manifest.json",
]


@pytest.fixture(scope="module")
def shared_api(stocked: Database, tmp_path_factory: pytest.TempPathFactory) -> Any:
    settings = Settings(client_requests_per_s=0, data_dir=tmp_path_factory.mktemp("data"), api_token=TOKEN)
    app = make_app(stocked, settings)
    with TestClient(app, raise_server_exceptions=False, base_url="http://stops.test") as client:
        yield client


@pytest.fixture(scope="module")
def documented(shared_api: TestClient) -> dict[str, Any]:
    paths: dict[str, Any] = shared_api.get("/openapi.json").json()["paths"]
    return paths


def parameters_of(documented: dict[str, Any], path: str) -> list[str]:
    template = "/v1/revisions/{force}/{month}/{number}/diff" if path.endswith("/diff") else path
    return [each["name"] for each in documented[template]["get"]["parameters"] if each["in"] == "query"]


def test_every_route_is_attacked(documented: dict[str, Any]) -> None:
    formats = (".csv", ".json", ".ndjson", ".geojson", ".parquet")
    reading = [
        path
        for path, methods in documented.items()
        if "get" in methods and not path.endswith(formats) and "ingestions" not in path and "{" not in path
    ]
    assert set(reading) <= {*ROUTES, "/health/live", "/health/ready", "/version"}


@pytest.mark.parametrize("path", ROUTES)
def test_every_parameter_refuses_hostile_values_by_name(
    shared_api: TestClient, documented: dict[str, Any], path: str
) -> None:
    names = parameters_of(documented, path)
    values = HOSTILE if path in ("/v1/stops", "/v1/dead-letters") else [*HOSTILE[1:9], *HOSTILE[-4:]]
    snapshot = shared_api.get("/v1/forces").headers["stopsearch-snapshot"]
    needed = {"radius_m": "near=51,0&"} if path != "/v1/changes" else dict.fromkeys(names, f"since={snapshot}&")
    for name in names:
        for value in values:
            if (name, value) == ("radius_m", "1.5"):
                continue
            response = shared_api.get(f"{path}?{needed.get(name, '') if name != 'since' else ''}{name}={value}")
            if name in FREE_TEXTS and response.status_code == 200:
                assert value not in NO_TEXT, response.url
                if "json" in response.headers["content-type"] and "manifest" not in path:
                    told = response.json()
                    assert (told["data"][0]["stops"] == 0) if path == "/v1/counts" else told["data"] == []
            else:
                refused(response, parameter=name)


def test_every_parameter_may_be_hostile_at_once(shared_api: TestClient) -> None:
    problem = refused(shared_api.get("/v1/stops?" + "&".join(f"{value[:60]}={value[:60]}" for value in HOSTILE)))
    assert len(problem["errors"]) <= 20
    refused(shared_api.get("/v1/stops?" + "&".join(["force=durham"] * 201)))
    refused(shared_api.get("/v1/stops?force=" + "x" * 10_000))
    assert shared_api.get("/v1/stops?" + "&".join(["force=durham"] * 200) + "&limit=1").status_code == 422


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("limit=-1", "limit"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        (f"limit={2**63}", "limit"),
        (f"limit={'9' * 5000}", "limit"),
        ("limit=1_0", "limit"),
        ("limit=%2010", "limit"),
        ("limit=+10", "limit"),
        ("limit=1&limit=2", "limit"),
        ("from=0001-01", "from"),
        ("to=9999-12", "to"),
        ("from=2024-13", "from"),
        ("from=2999-12&to=2000-01", "from"),
        ("datetime_from=0001-01-01", "datetime_from"),
        ("datetime_from=0001-01-01T00:00:00Z", "datetime_from"),
        ("datetime_before=9999-12-31", "datetime_before"),
        ("datetime_before=9999-12-31T23:59:59-14:00", "datetime_before"),
        ("datetime_from=2024-01-01%0012:00:00Z", "datetime_from"),
        ("datetime_from=2024-01-01%F0%9F%98%8012:00:00Z", "datetime_from"),
        ("datetime_from=2024-01-01T12:00:00", "datetime_from"),
        ("as_of=0001-01-01", "as_of"),
        ("as_of=9999-12-31", None),
        ("as_of=2024-01-01&snapshot=abcdefabcdef", "as_of"),
        ("snapshot=abcdefabcdef", None),
        ("snapshot=ABCDEFABCDEF", "snapshot"),
        ("bbox=-181,0,1,1", "bbox"),
        ("bbox=1,1,0,0", "bbox"),
        ("bbox=NaN,NaN,NaN,NaN", "bbox"),
        ("bbox=0,0,1e1,1", "bbox"),
        ("bbox=" + ",".join("0" * 900), "bbox"),
        ("near=91,0&radius_m=1", "near"),
        ("near=inf,0&radius_m=1", "near"),
        ("near=51,0&radius_m=0", "radius_m"),
        ("near=51,0&radius_m=-1", "radius_m"),
        ("near=51,0&radius_m=1e300", "radius_m"),
        ("near=51,0&radius_m=100000.1", "radius_m"),
        ("fields=id,", "fields"),
        ("fields=*", "fields"),
        ("sort=datetime;drop table stop", "sort"),
        ("total=1", "total"),
        ("force[]=durham", "force[]"),
        ("FORCE=durham", "FORCE"),
        ("__proto__=1", "__proto__"),
    ],
)
def test_numbers_and_ranges_out_of_reason_are_refused(
    shared_api: TestClient, query: str, parameter: str | None
) -> None:
    refused(shared_api.get(f"/v1/stops?{query}"), parameter=parameter)


def test_the_widest_range_that_can_be_meant_is_answered(shared_api: TestClient) -> None:
    for path in ("/v1/counts", "/v1/quality", "/v1/revisions", "/v1/dead-letters"):
        wide, whole = shared_api.get(f"{path}?from=2000-01&to=2999-12"), shared_api.get(path)
        assert wide.status_code == 200, wide.text
        assert wide.json()["data"] == whole.json()["data"]
    cells = shared_api.get("/v1/coverage?from=2000-01&to=2999-12").json()["data"]
    assert {cell["month"] for cell in cells if cell["state"] == "held"} <= {cell["month"] for cell in cells}
    assert min(cell["month"] for cell in cells) >= "2010-12", "months before the first publication make no cells"
    assert len(cells) < 100 * 12 * 30


@pytest.mark.parametrize("value", [*HOSTILE, "%2e%2e%2f%2e%2e", "%ef%bc%8e%ef%bc%8e", "%00"])
@pytest.mark.parametrize(
    "template",
    [
        "/v1/stops/{}",
        "/v1/snapshots/{}",
        "/v1/dead-letters/{}",
        "/v1/revisions/{}/2020-02/1/diff",
        "/v1/revisions/durham/{}/1/diff",
        "/v1/revisions/durham/2020-02/{}/diff",
        "/v1/exports/{}",
        "/v1/exports/stops.{}",
        "/v1/exports/stops.csv{}",
        "/v1/exports/stops.{}.manifest.json",
        "/v1/ingestions/{}",
        "/v1/ingestions/{}/events",
        "/docs/assets/{}",
        "/{}",
    ],
)
def test_every_part_of_a_path_refuses_hostile_values(shared_api: TestClient, template: str, value: str) -> None:
    refused(shared_api.get(template.format(value), headers=AUTHORIZED))


@pytest.mark.parametrize("number", ["1_0", "%201", "1%20", "+1", "1.0", "01", "%D9%A1", "1e0", "0", "-1", "9" * 5000])
@pytest.mark.parametrize(
    "template", ["/v1/dead-letters/{}", "/v1/revisions/durham/2020-02/{}/diff", "/v1/ingestions/{}"]
)
def test_a_number_in_a_path_has_one_spelling(shared_api: TestClient, template: str, number: str) -> None:
    assert refused(shared_api.get(template.format(number), headers=AUTHORIZED))["status"] == 422


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
def test_a_route_that_reads_does_nothing_else(shared_api: TestClient, method: str) -> None:
    for path in (*ROUTES, "/v1/stops/5ea43a21-0b22-8e5b-b366-a242e0c4c6d5", "/openapi.json", "/docs", "/docs/assets/x"):
        response = shared_api.request(method, path, headers={"X-HTTP-Method-Override": "GET", **AUTHORIZED})
        assert refused(response)["status"] == 405
        assert "GET" in response.headers["allow"] or path.startswith("/docs/assets")


def test_a_method_can_not_be_overridden(shared_api: TestClient, stocked: Database) -> None:
    before = count_rows(stocked, "ingest_batch")
    for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        response = shared_api.get("/v1/ingestions", headers={name: "POST", **AUTHORIZED})
        assert response.status_code == 200
        refused(shared_api.get("/v1/ingestions?_method=POST", headers=AUTHORIZED), parameter="_method")
    assert count_rows(stocked, "ingest_batch") == before


BODIES = {
    "nothing": b"",
    "null": b"null",
    "no object": b"[]",
    "half": b'{"forces": ["durham"',
    "two": b"{}{}",
    "deep lists": b"[" * 100_000,
    "whole deep lists": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "no UTF-8": b'{"forces": ["\xff"]}',
    "surrogate": b'{"forces": ["\\ud800"]}',
    "surrogate as a name": b'{"\\ud800": 1}',
    "controls": b'{"forces": ["\\u0000\\u001b[31m\\u202e"]}',
    "controls as a name": b'{"\\u0000\\u001b[31m\\u202e": 1}',
    "long name": b'{"' + b"k" * 900_000 + b'": 1}',
    "many names": b"{" + b",".join(b'"k%d":1' % number for number in range(20_000)) + b"}",
    "many values": b'{"forces": [' + b",".join([b'"x"'] * 100_000) + b"]}",
    "wrong type": b'{"forces": "durham"}',
    "number for text": b'{"from": 202401}',
    "text for truth": b'{"recheck": "true"}',
    "huge number": b'{"ids": [' + b"9" * 5000 + b"]}",
    "not finite": b'{"ids": [NaN, Infinity]}',
    "SQL": b'{"forces": ["durham\'; DROP TABLE stop; --"]}',
    "month": b'{"from": "2024-1\\u0000"}',
    "range": b'{"from": "2999-12", "to": "2000-01"}',
}


@pytest.mark.parametrize("path", ["/v1/ingestions", "/v1/dead-letters/replay"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_hostile_body_starts_nothing(shared_api: TestClient, stocked: Database, path: str, body: bytes) -> None:
    before = count_rows(stocked, "ingest_batch")
    headers = {"Content-Type": "application/json", **AUTHORIZED}
    refused(shared_api.post(path, content=body, headers=headers))
    assert count_rows(stocked, "ingest_batch") == before


@pytest.mark.parametrize(
    "media_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "\xff\xfe;;/", "json"],
)
def test_a_body_in_another_format_starts_nothing(shared_api: TestClient, stocked: Database, media_type: str) -> None:
    # A page of another origin can send these without asking first.
    before = count_rows(stocked, "ingest_batch")
    headers = {"Content-Type": media_type.encode("latin-1"), "Authorization": f"Bearer {TOKEN}".encode()}
    refused(shared_api.post("/v1/ingestions", content=json.dumps({}).encode(), headers=headers))  # type: ignore[arg-type]
    assert count_rows(stocked, "ingest_batch") == before


@pytest.mark.parametrize(
    "name",
    [
        "../outside.zip",
        "..\\outside.zip",
        "/etc/passwd",
        "",
        ".",
        "..",
        ".hidden.zip",
        "a\x00.zip",
        "a\n.zip",
        "%2e%2e%2foutside.zip",
        "\u2024\u2024/outside.zip",
        "\uff0e\uff0e\uff0foutside.zip",
        "C:outside.zip",
        "link.zip",
        "folder.zip",
        "x" * 255,
        "x" * 256,
        "\u202epiz.x",
    ],
)
def test_an_archive_is_a_file_of_its_folder(make_api: Any, database: Database, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "archives"
    (folder / "folder.zip").mkdir(parents=True)
    (tmp_path / "outside.zip").write_bytes(b"PK")
    (folder / "link.zip").symlink_to(tmp_path / "outside.zip")
    api = make_api(database, archive_dir=folder)
    refused(api.post("/v1/ingestions", json={"source": "archive", "archives": [name]}, headers=AUTHORIZED))
    assert count_rows(database, "ingest_batch") == 0
