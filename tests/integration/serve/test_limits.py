"""
A client that is slow, silent, greedy or out of bounds keeps a real server neither busy nor waiting.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from builders.ingests import settings_for
from stopsearch.serve.limits import edge_around
from stopsearch.serve.slow_clients import GuardedProtocol, uvicorn_options

pytestmark = pytest.mark.integration

SMALL_BUFFER = 16 * 1024
PIECE = b"x" * 65536


class Target:
    """
    An application behind the edge, on a real server: `port` is where, `ended` counts streams whose client left.
    """

    def __init__(self, **options: Any) -> None:
        self.ended = 0
        self.port = 0
        self._options = options

    async def stream(self, request: Request) -> Response:
        """
        Send without end.
        """

        async def pieces() -> Any:
            try:
                while True:
                    await asyncio.sleep(0)
                    yield PIECE
            finally:
                self.ended += 1

        return StreamingResponse(pieces(), media_type="application/octet-stream")

    async def large(self, request: Request) -> Response:
        """
        Send a large answer at once.
        """
        return Response(PIECE * 320, media_type="application/octet-stream")

    async def echo(self, request: Request) -> Response:
        """
        Send back what came.
        """
        return PlainTextResponse(f"{request.method} {await request.body()!r}")

    @contextmanager
    def running(self) -> Iterator[Target]:
        """
        Serve in a thread.
        """
        routes = [
            Route("/stream", self.stream),
            Route("/large", self.large),
            Route("/echo", self.echo, methods=["GET", "POST"]),
        ]
        settings = settings_for(client_requests_per_s=0, export_stall_s=0.5)
        app = edge_around(Starlette(routes=routes), settings)
        options = {**uvicorn_options(settings), "timeout_graceful_shutdown": 1, "log_config": None, **self._options}
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = listener.getsockname()[1]
            server = uvicorn.Server(uvicorn.Config(app, **options))
            thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
            thread.start()
            wait_until(lambda: server.started)
            try:
                yield self
            finally:
                server.should_exit = True
                thread.join(20)

    def connect(self) -> socket.socket:
        """
        Connect, and take in little at a time.
        """
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        client.settimeout(20)
        client.connect(("127.0.0.1", self.port))
        return client

    def ask(self, path: str = "/echo") -> tuple[int, bytes]:
        """
        Ask as an ordinary client does.
        """
        with self.connect() as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: stops.test\r\nConnection: close\r\n\r\n".encode())
            return read_answer(client)


def wait_until(is_so: Any, patience_s: float = 15) -> None:
    until = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.01)


def read_all(client: socket.socket) -> bytes:
    """
    Read until the server ends the connection, in whatever way.
    """
    got = b""
    try:
        while piece := client.recv(65536):
            got += piece
    except ConnectionError:
        pass
    return got


def read_answer(client: socket.socket) -> tuple[int, bytes]:
    head, _, body = read_all(client).partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def assert_ended_while_sending(client: socket.socket, further: bytes) -> None:
    """
    See the server end the connection soon, however often more is sent.
    """
    started = time.monotonic()
    client.settimeout(0.05)
    with suppress(ConnectionError):
        while time.monotonic() - started < 10:
            with suppress(TimeoutError):
                assert client.recv(1000) == b"", "nothing was asked"
                break
            client.sendall(further)
    assert time.monotonic() - started < 5


def kind_of(body: bytes) -> str:
    return str(json.loads(body)["type"])


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> Iterator[Target]:
    """
    A server with little patience.
    """
    monkeypatch.setattr(GuardedProtocol, "head_patience_s", 0.6)
    with Target().running() as running:
        yield running


@pytest.mark.parametrize(
    ("begun", "further"),
    [
        (b"", b""),
        (b"\r\n", b"\r\n"),
        (b"GET /ech", b""),
        (b"GET /ech", b"o"),
        (b"GET /echo HTTP/1.1\r\nHost: x\r\nX-Long: ", b"a"),
        (b"GET /echo HTTP/1.1\r\n", b"X: y\r\n"),
    ],
)
def test_a_head_that_does_not_come_is_not_waited_for(target: Target, begun: bytes, further: bytes) -> None:
    """
    Nor one that comes byte by byte.
    """
    with target.connect() as client:
        client.sendall(begun)
        assert_ended_while_sending(client, further)
    assert target.ask()[0] == 200


def test_many_slow_heads_keep_nobody_waiting(target: Target) -> None:
    slow = [target.connect() for _ in range(100)]
    for client in slow:
        client.sendall(b"GET /echo HTTP/1.1\r\n")
    assert target.ask()[0] == 200
    for client in slow:
        assert read_all(client) == b""
        client.close()


def test_a_connection_is_used_again_and_again(target: Target) -> None:
    """
    The deadline is one of each head, not of the connection; and requests may come all at once.
    """
    request = b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n"
    with target.connect() as client:
        for _ in range(4):
            client.sendall(request)
            assert client.recv(65536).startswith(b"HTTP/1.1 200")
            time.sleep(0.3)
        client.sendall(request * 3)
        wait_until(lambda: client.recv(65536, socket.MSG_PEEK).count(b"HTTP/1.1 200") == 3)


def test_between_requests_too_something_must_come_of_what_is_sent(target: Target) -> None:
    """
    Empty lines are allowed there, and put off the end of an idle connection.
    """
    with target.connect() as client:
        client.sendall(b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
        assert_ended_while_sending(client, b"\r\n")


def test_a_head_of_any_size_is_not_taken_in(target: Target) -> None:
    with target.connect() as client:
        client.sendall(b"GET /echo HTTP/1.1\r\n")
        for _ in range(100):
            try:
                client.sendall(b"X-Filler: " + b"a" * 4000 + b"\r\n")
            except ConnectionError:
                break
            time.sleep(0.001)
        else:
            raise AssertionError("400 kB of headers were taken in")
    with target.connect() as client:
        client.sendall(b"GET /echo HTTP/1.1\r\n" + b"X-Filler: aaaa\r\n" * 5000)
        time.sleep(0.1)
        assert client.recv(65536).startswith(b"HTTP/1.1 431 ")


def test_an_address_of_any_length_is_refused(target: Target) -> None:
    status, body = target.ask("/echo?" + "a" * 9000)
    assert (status, kind_of(body)) == (414, "/problems/target_too_long")
    with target.connect() as client:
        client.sendall(b"GET /echo?" + b"a" * 100_000)
        status, body = read_answer(client)
        assert (status, kind_of(body)) == (414, "/problems/target_too_long")


def test_what_is_no_http_is_refused_with_a_problem(target: Target) -> None:
    with target.connect() as client:
        client.sendall(b"SELECT * FROM stop;\r\n\r\n")
        status, body = read_answer(client)
    assert (status, kind_of(body)) == (400, "/problems/bad_request")


@pytest.mark.parametrize("path", ["/stream", "/large"])
def test_a_client_that_reads_nothing_is_cut_off(target: Target, path: str) -> None:
    with target.connect() as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        if path == "/stream":
            wait_until(lambda: target.ended == 1)
        else:
            time.sleep(3)
        assert len(read_all(client)) < 320 * len(PIECE), "it was sent whole"
    assert target.ask()[0] == 200


def test_a_client_that_reads_slowly_but_steadily_is_served(target: Target) -> None:
    """
    For longer than it might stall, and though the system holds back more than it reads in that time.
    """
    with target.connect() as client:
        client.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        until = time.monotonic() + 3
        while time.monotonic() < until:
            assert client.recv(16 * 1024)
            time.sleep(0.05)
        assert target.ended == 0
    wait_until(lambda: target.ended == 1)


def test_as_many_connections_as_may_be_and_no_more() -> None:
    with Target(limit_concurrency=3).running() as target:
        idle = [target.connect() for _ in range(4)]
        time.sleep(0.2)
        status, body = target.ask()
        assert (status, kind_of(body)) == (503, "/problems/server_busy")
        for client in idle:
            client.close()
        wait_until(lambda: target.ask()[0] == 200)


def test_a_large_body_is_refused_before_it_is_sent(target: Target) -> None:
    with target.connect() as client:
        client.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n")
        status, body = read_answer(client)
    assert (status, kind_of(body)) == (413, "/problems/body_too_large")
    with target.connect() as client:
        client.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab")
        assert read_answer(client) == (200, b"POST b'ab'")


def test_head_is_answered_without_a_body(target: Target) -> None:
    for path in ("/large", "/stream"):
        with target.connect() as client:
            client.sendall(f"HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            status, body = read_answer(client)
        assert (status, body) == (200, b"")
    wait_until(lambda: target.ended == 1)


def test_a_fault_of_the_server_has_the_headers_of_every_answer(
    api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    And so has what the framework answers by itself.
    """

    def fail(*_: object) -> Any:
        raise RuntimeError("a fault of ours")

    answers = [api.get("/nowhere"), api.delete("/v1/stops"), api.get("/v1/stops", params={"colour": "red"})]
    monkeypatch.setattr("stopsearch.serve.routes.health.needed_migration", fail)
    answers.append(api.get("/version"))

    assert [answer.status_code for answer in answers] == [404, 405, 422, 500]
    for answer in answers:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-request-id"]


def test_the_limit_of_the_settings_holds_for_the_application(make_api: Any, stocked: Any) -> None:
    client = make_api(stocked, client_requests_per_s=0.5, client_burst=4)
    statuses = [client.get("/v1/forces").status_code for _ in range(6)]
    assert statuses == [200] * 4 + [429] * 2
    assert client.get("/health/live").status_code == 200
