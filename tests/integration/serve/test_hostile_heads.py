"""
Hostile heads of requests: hosts, tokens, ranges, validators and framings that somebody in between could read otherwise.
"""

from __future__ import annotations

import gzip
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from starlette.testclient import TestClient

from builders.refusals import refused
from builders.running_server import TOKEN, running_server
from builders.store_state import count_rows
from stopsearch.store.database import Database

pytestmark = pytest.mark.integration

AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}
# Every way in which an answer names the server's own address.
LINKING = [
    "/v1/stops?limit=1&fields=id",
    "/v1/stops.csv?limit=1",
    "/v1/counts?by=force",
    "/v1/counts.csv?by=force",
    "/v1/quality?limit=1",
    "/v1/revisions?limit=1",
    "/v1/changes/revisions?limit=1",
    "/v1/snapshots",
    "/v1/exports",
    "/v1/exports/stops.csv?force=durham",
    "/v1/exports/stops.csv.manifest.json?force=durham",
    "/v1/ingestions?limit=1",
    "/v1/stops?limit=0",
]


@pytest.fixture(scope="module")
def server(stocked: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_server(stocked, data_dir=tmp_path_factory.mktemp("data"), api_token=TOKEN) as address:
        yield address


def sent(server: str, request: bytes) -> bytes:
    """
    Send bytes as they are, and give everything that comes until the server ends the connection.
    """
    place = urlsplit(server)
    with socket.create_connection((place.hostname, place.port), timeout=10) as client:
        client.sendall(request)
        got = b""
        try:
            while piece := client.recv(65536):
                got += piece
        except ConnectionError:
            pass
    return got


def asked(server: str, path: str, *lines: bytes, method: bytes = b"GET", body: bytes = b"") -> bytes:
    """
    Ask with headers as they are; there is no Host unless it is among them.
    """
    head = b"\r\n".join((b"%s %s HTTP/1.1" % (method, path.encode("latin-1")), b"Connection: close", *lines, b"", b""))
    return sent(server, head + body)


def status_of(answer: bytes) -> int:
    return int(answer.split(maxsplit=2)[1])


@pytest.mark.parametrize(
    "host",
    [
        b"evil.example/path",
        b"evil.example?query",
        b"evil.example#part",
        b"user@evil.example",
        b"evil.example:99999999",
        b"evil.example:",
        b"evil example",
        b"[evil",
        b"[::1%25eth0]",
        b"evil.example\\path",
        b'evil.example"onload',
        b"evil.example%0d%0aSet-Cookie: a=b",
        b"\xff\xfeevil.example",
        b"evil." * 80,
        b"",
    ],
)
def test_a_host_that_is_none_is_in_no_link(server: str, host: bytes) -> None:
    for path in LINKING:
        answer = asked(server, path, b"Host: " + host, b"Authorization: Bearer " + TOKEN.encode())
        assert status_of(answer) in (200, 422), answer[:300]
        assert b"evil" not in answer.lower()
        assert b"set-cookie" not in answer.lower()


def test_what_one_host_was_told_is_told_to_no_other(make_api: Any, stocked: Database) -> None:
    api: TestClient = make_api(stocked)
    for path in LINKING:
        told = {}
        for host in ("evil.example", "stops.test", "evil.example", "stops.test:8080"):
            response = api.get(path, headers={"Host": host, **AUTHORIZED})
            told[host] = response.text + str(response.headers.get("link", ""))
        assert "evil" not in told["stops.test"] + told["stops.test:8080"], path
        assert "http://stops.test:8080/" not in told["stops.test"], path
        if "limit=0" not in path and ".manifest." not in path and "snapshots" not in path:
            assert "http://stops.test/" in told["stops.test"], path


def test_with_a_public_address_no_host_is_believed(make_api: Any, stocked: Database) -> None:
    api: TestClient = make_api(stocked, public_url="https://stops.example.org")
    for path in LINKING:
        for name in ("Host", "X-Forwarded-Host", "Forwarded", "X-Forwarded-Proto", "X-Original-URL", "X-Rewrite-URL"):
            response = api.get(path, headers={name: "evil.example", **AUTHORIZED})
            assert response.status_code in (200, 422)
            assert "evil" not in response.text + str(response.headers), (path, name)


def test_what_was_kept_in_one_format_is_given_in_no_other(make_api: Any, stocked: Database) -> None:
    api: TestClient = make_api(stocked)
    told = {}
    for accept in ("application/json", "text/csv", "application/x-ndjson") * 2:
        response = api.get("/v1/counts?by=force", headers={"Accept": accept})
        assert response.headers["content-type"].startswith(accept)
        assert told.setdefault(accept, response.content) == response.content
    assert len(set(told.values())) == 3


@pytest.mark.parametrize("path", ["/v1/stops/", "/v1/", "/docs/", "/docs/assets", "//evil.example/..", "/v1//stops"])
def test_nobody_is_sent_elsewhere(server: str, path: str) -> None:
    answer = asked(server, path, b"Host: evil.example")
    assert status_of(answer) == 404
    assert b"location:" not in answer.lower()
    assert b"application/problem+json" in answer


SMUGGLED = b"GET /v1/stops?smuggled HTTP/1.1\r\nHost: stops.test\r\n\r\n"
POST = b"POST /v1/ingestions HTTP/1.1\r\nHost: stops.test\r\nAuthorization: Bearer %s\r\n" % TOKEN.encode()
FRAMINGS = {
    "length and chunks": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 60\r\n\r\n{}" + SMUGGLED,
    "a list of lengths": POST + b"Content-Length: 2, 60\r\n\r\n{}" + SMUGGLED,
    "a length with a sign": POST + b"Content-Length: +2\r\n\r\n{}" + SMUGGLED,
    "a length in hexadecimal": POST + b"Content-Length: 0x2\r\n\r\n{}" + SMUGGLED,
    "another coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "chunks and more": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "a space before the colon": POST + b"Content-Length : 2\r\n\r\n{}" + SMUGGLED,
    "a folded line": POST + b"X-A: b\r\n Content-Length: 2\r\n\r\n{}" + SMUGGLED,
    "a bare return": POST + b"X-A: b\rContent-Length: 2\r\n\r\n{}" + SMUGGLED,
    "bare line feeds": POST.replace(b"\r\n", b"\n") + b"Content-Length: 2\n\n{}" + SMUGGLED,
    "a NUL in a header": POST + b"X-A: b\x00c\r\nContent-Length: 2\r\n\r\n{}" + SMUGGLED,
    "a chunk of a negative size": POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n" + SMUGGLED,
    "a chunk of a huge size": POST + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n" + SMUGGLED,
    "a space in the address": b"GET /v1/stops HTTP/1.1 HTTP/1.1\r\nHost: stops.test\r\n\r\n" + SMUGGLED,
    "bytes in the address": b"GET /v1/stops?x=\xff HTTP/1.1\r\nHost: stops.test\r\n\r\n" + SMUGGLED,
    "another protocol": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SMUGGLED,
    "a method of small letters": b"get /v1/stops HTTP/1.1\r\nHost: stops.test\r\n\r\n" + SMUGGLED,
    "a tunnel": b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n" + SMUGGLED,
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100,
}


@pytest.mark.parametrize("request_bytes", FRAMINGS.values(), ids=FRAMINGS)
def test_a_doubtful_framing_ends_the_connection(server: str, stocked: Database, request_bytes: bytes) -> None:
    before = count_rows(stocked, "ingest_batch")
    answer = sent(server, request_bytes)
    assert answer == b"" or status_of(answer) in (400, 405, 422), answer[:300]
    assert answer.count(b"HTTP/1.1 ") <= 1, "what stood behind it was taken for a request"
    assert b"smuggled" not in answer
    assert count_rows(stocked, "ingest_batch") == before


def test_of_two_hosts_none_is_believed(server: str) -> None:
    answer = asked(server, "/v1/stops?limit=1", b"Host: stops.test", b"Host: evil.example")
    assert status_of(answer) == 400
    assert b"application/problem+json" in answer
    assert b"evil" not in answer


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [b"Authorization: "],
        [b"Authorization: Bearer"],
        [b"Authorization: Bearer "],
        [b"Authorization: Bearer\t" + TOKEN.encode()],
        [b"Authorization: Bearer" + TOKEN.encode()],
        [b"Authorization: Bearer " + TOKEN.encode()[:-1]],
        [b"Authorization: Bearer " + TOKEN.encode() + b"x"],
        [b"Authorization: Bearer " + TOKEN.upper().encode()],
        [b"Authorization: Bearer " + TOKEN.encode() + b" x"],
        [b"Authorization: Bearer " + TOKEN.encode() + b"\xff"],
        [b"Authorization: Bearer \xff\xfe"],
        [b"Authorization: Bearer " + b"x" * 8000],
        [b"Authorization: Basic " + TOKEN.encode()],
        [b"Authorization: " + TOKEN.encode()],
        [b"Authorization: Bearer x", b"Authorization: Bearer " + TOKEN.encode()],
        [b"Authorization: Bearer " + TOKEN.encode(), b"Authorization: Bearer x"],
        [b"X-Authorization: Bearer " + TOKEN.encode()],
        [b"Cookie: token=" + TOKEN.encode()],
    ],
)
def test_the_token_is_brought_in_one_way_alone(server: str, lines: list[bytes]) -> None:
    for method, path in (
        (b"GET", "/v1/ingestions"),
        (b"GET", "/v1/ingestions/1"),
        (b"GET", "/v1/ingestions/1/events"),
        (b"POST", "/v1/ingestions"),
        (b"POST", "/v1/dead-letters/replay"),
        (b"HEAD", "/v1/ingestions"),
    ):
        answer = asked(server, path, b"Host: stops.test", *lines, method=method)
        assert status_of(answer) == 401, answer[:200]
        assert b"www-authenticate: Bearer" in answer
        assert TOKEN.encode() not in answer
    answer = asked(server, f"/v1/ingestions?access_token={TOKEN}", b"Host: stops.test", *lines)
    assert status_of(answer) == 401


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER  "])
def test_the_scheme_is_read_as_the_standard_has_it(server: str, scheme: str) -> None:
    answer = asked(server, "/v1/ingestions", b"Host: stops.test", f"Authorization: {scheme}{TOKEN}".encode())
    assert status_of(answer) == 200


@pytest.mark.parametrize(
    "position", ["x", "-1", "1.2.", ".1", "1..2", "99999999999", "1." * 400 + "1", "\u0661", "end ", "END", "x" * 3000]
)
def test_a_forged_event_id_opens_no_stream(make_api: Any, stocked: Database, position: str) -> None:
    headers = {"Last-Event-ID": position.encode(), **{k: v.encode() for k, v in AUTHORIZED.items()}}
    refused(make_api(stocked).get("/v1/ingestions/1/events", headers=headers))


@pytest.mark.parametrize(
    "given",
    [
        "bytes=0-0," * 3000 + "0-0",
        "bytes=0-,0-,0-",
        "bytes=0-99999999999999999999",
        "bytes=0-999999999999999999",
        "bytes=999999999999999999-",
        "bytes=-0",
        "bytes=-999999999999999999",
        "bytes=5-1",
        "bytes=-",
        "bytes=--1",
        "bytes=0x0-0x1",
        "bytes=1e3-",
        "bytes=\u0661-\u0662",
        "bits=0-1",
        "bytes 0-1",
        "x" * 5000,
    ],
)
def test_no_range_gives_more_than_the_file(make_api: Any, stocked: Database, given: str) -> None:
    api: TestClient = make_api(stocked)
    path = "/v1/exports/stops.parquet?force=durham&from=2020-02&to=2020-02"
    whole = api.get(path).content
    response = api.get(path, headers={"Range": given.encode()})
    if response.status_code == 416:
        refused(response)
    else:
        assert response.status_code in (200, 206)
        assert response.content in whole
        assert len(response.content) == int(response.headers["content-length"])
        assert response.status_code == 206 or response.content == whole


@pytest.mark.parametrize(
    "headers",
    [
        {"If-None-Match": '"' + "x" * 100_000},
        {"If-None-Match": '"x", ' * 20_000},
        {"If-None-Match": "W/" * 50_000},
        {"If-Range": "x" * 50_000, "Range": "bytes=0-1"},
        {"Accept-Encoding": "gzip;q=nan"},
        {"Accept-Encoding": "gzip;q=1e999, *;q=-1"},
        {"Accept-Encoding": ", ".join(f"x{number}" for number in range(5000))},
        {"Accept-Encoding": "identity;q=0, *;q=0"},
        {"Accept": "*/*;q=" + "9" * 5000},
        {"Accept": "," * 20_000},
        {"Accept-Language": "x" * 50_000, "Cookie": "a=b; " * 10_000},
        {"Expect": "100-continue"},
        {"Content-Type": "application/json", "Content-Length": "0"},
    ],
)
def test_odd_headers_change_no_answer(make_api: Any, stocked: Database, headers: dict[str, str]) -> None:
    api: TestClient = make_api(stocked)
    plain = api.get("/v1/stops?limit=20", headers={"Accept-Encoding": "identity"})
    response = api.get("/v1/stops?limit=20", headers=headers)
    assert response.status_code == 200, response.text[:300]
    assert response.content == plain.content


def test_a_client_behind_no_trusted_proxy_has_one_name(make_api: Any, stocked: Database) -> None:
    api: TestClient = make_api(stocked, client_requests_per_s=0.01, client_burst=3)
    statuses = []
    for number in range(6):
        names = {"X-Forwarded-For": f"10.0.0.{number}", "Forwarded": f"for=10.0.0.{number}", "X-Real-IP": f"{number}"}
        statuses.append(api.get("/v1/vocabulary", headers=names).status_code)
    assert statuses == [200] * 3 + [429] * 3
    refused(api.get("/v1/vocabulary"))


def test_a_compressed_refusal_is_the_same_refusal(make_api: Any, stocked: Database) -> None:
    api: TestClient = make_api(stocked)
    query = "&".join(f"unknown_{number}={number}" for number in range(50))
    with api.stream("GET", f"/v1/stops?{query}", headers={"Accept-Encoding": "gzip"}) as response:
        raw = b"".join(response.iter_raw())
    assert response.status_code == 422
    assert gzip.decompress(raw) == api.get(f"/v1/stops?{query}", headers={"Accept-Encoding": "identity"}).content
