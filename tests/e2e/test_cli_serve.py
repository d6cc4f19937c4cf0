"""
The server as a user starts and ends it: it says where it is, answers, and leaves in order.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from builders.command_line import CommandLine, Ended, end
from builders.ingests import bring_one_in, edition
from builders.standin import make_api_record
from stopsearch.client import Client
from stopsearch.store.database import Database

pytestmark = pytest.mark.e2e

TOKEN = "a-token-of-the-tests"


@pytest.fixture
def stopsearch(tmp_path: Path, database: Database, database_url: str) -> CommandLine:
    bring_one_in(database, edition([make_api_record()]))
    return CommandLine(folder=tmp_path, settings={"DATABASE_URL": database_url})


@contextmanager
def serving(stopsearch: CommandLine, *arguments: str, **settings: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """
    Give a process that serves on a free port, and what it said when it began.
    """
    process = stopsearch.start("serve", "--port", "0", *arguments, **settings)
    try:
        assert process.stderr is not None
        said = process.stderr.readline()
        assert said.startswith("Serving at http://"), said + process.stderr.read()
        yield process, said.split()[2]
    finally:
        process.kill()
        process.communicate()


def told_to_end(process: subprocess.Popen[str], number: int) -> Ended:
    process.send_signal(number)
    return end(process)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serves_on_a_free_port_until_it_is_told_to_end(stopsearch: CommandLine, number: int) -> None:
    with serving(stopsearch) as (process, url):
        assert httpx2.get(f"{url}/health/live").status_code == 200
        assert httpx2.get(f"{url}/docs").status_code == 200
        with Client(url) as client:
            assert client.counts().data == [{"stops": 1}]
        ended = told_to_end(process, number)
        assert ended.code == 0, ended
        assert ended.out == ""
        assert "Traceback" not in ended.err
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(f"{url}/health/live")


def test_says_where_it_serves_and_what_is_off(stopsearch: CommandLine) -> None:
    process = stopsearch.start("serve", "--port", "0")
    assert process.stderr is not None
    first, second = process.stderr.readline(), process.stderr.readline()
    assert first.endswith("/docs\n")
    assert "STOPSEARCH_API_TOKEN is not set" in second
    assert told_to_end(process, signal.SIGTERM).err == "", "nothing else, as it can't be reached from elsewhere"
    process = stopsearch.start("serve", "--port", "0", "--host", "0.0.0.0", API_TOKEN=TOKEN)
    assert process.stderr is not None
    assert "Serving at http://0.0.0.0:" in process.stderr.readline()
    assert process.stderr.readline() == "0.0.0.0 can be reached from other machines.\n"
    assert told_to_end(process, signal.SIGTERM).code == 0


def test_an_answer_that_is_under_way_is_finished_before_the_end(stopsearch: CommandLine) -> None:
    """
    A request whose body is still on its way when the server is told to end gets its whole answer.
    """
    with serving(stopsearch, API_TOKEN=TOKEN) as (process, url):
        address = httpx2.URL(url)
        body = b'{"forces":["durham"],"from":"2099-01"}'
        head = (
            f"POST /v1/ingestions HTTP/1.1\r\nHost: {address.host}\r\nAuthorization: Bearer {TOKEN}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with socket.create_connection((address.host, address.port)) as connection:
            connection.sendall(head.encode() + body[:10])
            time.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            assert process.poll() is None
            connection.sendall(body[10:])
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
        assert answer.startswith(b"HTTP/1.1 "), answer
        assert b"\r\n\r\n{" in answer
        assert answer.endswith(b"}")
        assert end(process).code == 0


def test_told_twice_it_ends_at_once(stopsearch: CommandLine) -> None:
    with serving(stopsearch, API_TOKEN=TOKEN) as (process, url):
        address = httpx2.URL(url)
        with socket.create_connection((address.host, address.port)) as connection:
            connection.sendall(b"POST /v1/ingestions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
            time.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            assert process.poll() is None
            ended = told_to_end(process, signal.SIGTERM)
    assert ended.code == 143
    assert "Ended at once" in ended.err


def test_a_taken_port_is_named_and_no_database_is_made(tmp_path: Path) -> None:
    stopsearch = CommandLine(folder=tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = stopsearch("serve", "--port", str(port), expect=3)
    assert ended.err.startswith(f"error: The server cannot listen on 127.0.0.1, port {port}: ")
    assert "--port" in ended.err
    assert not stopsearch.data_dir.exists()


def test_a_database_that_is_away_is_told_in_one_line(tmp_path: Path) -> None:
    away = "postgresql://stopsearch@127.0.0.1:9/stopsearch?connect_timeout=2"
    ended = CommandLine(folder=tmp_path, settings={"DATABASE_URL": away})("serve", "--port", "0", expect=6)
    assert ended.err.startswith("error: ")
    assert len(ended.err.splitlines()) == 1
