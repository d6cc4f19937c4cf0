"""
A zip on a real server on loopback: only what is needed is fetched, and no two answers are of different files.
"""

from __future__ import annotations

import io
import random
import re
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from stopsearch.domain.errors import ArchiveRefused, BadPath, SourceUnavailable
from stopsearch.domain.months import Month
from stopsearch.sample import sample_archives
from stopsearch.source.archive import remote
from stopsearch.source.archive.editions import Archive
from stopsearch.source.archive.open_archives import open_archives
from stopsearch.source.retry import RetryPolicy

pytestmark = pytest.mark.integration

NOW = datetime(2024, 6, 15, tzinfo=UTC)
QUICK = RetryPolicy(attempts=4, time_s=20, first_wait_s=0.01, longest_wait_s=0.02)


@dataclass
class Server:
    """
    One file on a server, its habits, and what it was asked.
    """

    body: bytes = b""
    etag: str | None = '"one"'
    honours_ranges: bool = True
    content_range: str | None = None  # sent in place of the right one
    fail_next: list[int] = field(default_factory=list)  # statuses
    cut_next: int = 0  # answers that break off half-way
    before_answer: Callable[[Server, int], None] | None = None
    url: str = ""
    ranges: list[str | None] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    agents: set[str] = field(default_factory=set)
    sent_bytes: int = 0


class Handler(BaseHTTPRequestHandler):
    """
    Answers GET as S3 does, or as badly as it is told to.
    """

    protocol_version = "HTTP/1.1"
    state: Server

    def do_GET(self) -> None:
        state = self.state
        state.paths.append(self.path)
        state.agents.add(self.headers["User-Agent"])
        if self.path.startswith("/redirect/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/redirect"))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        state.ranges.append(self.headers["Range"])
        if state.before_answer:
            state.before_answer(state, len(state.ranges))
        if state.fail_next:
            self.send_response(state.fail_next.pop(0))
            self.send_header("Content-Length", "0")
            self.send_header("Retry-After", "0")
            self.end_headers()
            return
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"] or "")
        condition = self.headers["If-Range"]
        if match and state.honours_ranges and condition in (None, state.etag):
            first, last = int(match[1]), min(int(match[2]), len(state.body) - 1)
            if first >= len(state.body):
                self.send_response(416)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            piece = state.body[first : last + 1]
            self.send_response(206)
            self.send_header("Content-Range", state.content_range or f"bytes {first}-{last}/{len(state.body)}")
        else:
            piece = state.body
            self.send_response(200)
        if state.etag:
            self.send_header("ETag", state.etag)
        self.send_header("Content-Length", str(len(piece)))
        self.end_headers()
        if state.cut_next and len(piece) > 1:
            state.cut_next -= 1
            piece = piece[: len(piece) // 2]
            self.close_connection = True
        try:
            self.wfile.write(piece)
            state.sent_bytes += len(piece)
        except OSError:
            pass  # the client has seen enough

    def log_message(self, *_: Any) -> None:
        """
        Say nothing.
        """


class QuietServer(ThreadingHTTPServer):
    """
    A server that does not complain of clients that have seen enough.
    """

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """
        Say nothing.
        """


@pytest.fixture
def server() -> Iterator[Server]:
    """
    A server on loopback.
    """
    state = Server()
    handler = type("BoundHandler", (Handler,), {"state": state})
    with QuietServer(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        state.url = f"http://127.0.0.1:{http.server_port}"
        yield state
        http.shutdown()
        thread.join()


def open_one(url: str, **options: Any) -> Archive:
    (archive,) = open_archives([url], now=NOW, member_max_bytes=2**24, retry=QUICK, **options)
    return archive


def padded_zip(forces: int = 4, padding_bytes: int = 10_000_000) -> tuple[bytes, dict[str, bytes]]:
    """
    Make a zip in the publisher's order, street files and all, the greater part of which nobody needs.
    """
    chance = random.Random(1)
    packed, stops = io.BytesIO(), {}
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for month in ("2020-01", "2020-02"):
            for n in range(forces):
                stem = f"{month}/{month}-force-{'abcdefgh'[n]}"
                archive.writestr(f"{stem}-outcomes.csv", chance.randbytes(2_000))
                stops[f"{stem}-stop-and-search.csv"] = chance.randbytes(20_000)
                archive.writestr(f"{stem}-stop-and-search.csv", stops[f"{stem}-stop-and-search.csv"])
                archive.writestr(f"{stem}-street.csv", chance.randbytes(padding_bytes // forces // 2))
    return packed.getvalue(), stops


def read_all(archive: Archive) -> dict[str, bytes]:
    with archive:
        return {member.name: archive.read(member).body for member in archive.members}


def test_fetches_a_small_part_of_a_large_zip_in_few_requests(server: Server) -> None:
    server.body, stops = padded_zip(padding_bytes=30_000_000)
    archive = open_one(f"{server.url}/archive/2020-02.zip", contact="ops@example.org")

    assert archive.name == "2020-02.zip"
    assert archive.published_at == Month(2020, 2).end
    assert len(server.ranges) == 2  # its size, and its directory
    assert read_all(archive) == stops
    assert len(server.ranges) <= 2 + len(stops)
    assert server.sent_bytes < 1_048_576 + 1 + sum(map(len, stops.values())) * 1.1
    assert server.sent_bytes < len(server.body) / 20
    assert {agent.split("/")[0] for agent in server.agents} == {"stopsearch"}
    assert all("ops@example.org" in agent for agent in server.agents)


def test_gives_what_the_file_on_disk_gives_and_joins_what_lies_near(server: Server) -> None:
    path = sample_archives()[1]
    server.body = path.read_bytes()
    at = f"{server.url}/{path.name}"
    (local,) = open_archives([str(path)], now=NOW, member_max_bytes=2**24)

    assert read_all(open_one(at)) == read_all(local)
    # It is one span of a megabyte, of which the end came with the directory.
    assert len(server.ranges) <= 4


def test_fetches_only_the_members_asked_for(server: Server) -> None:
    server.body, stops = padded_zip()
    archive = open_one(f"{server.url}/2020-02.zip", forces=["force-b"], months=(Month(2020, 1), Month(2020, 1)))

    assert read_all(archive) == {name: body for name, body in stops.items() if "2020-01-force-b" in name}
    assert len(server.ranges) == 3


def test_follows_the_redirect_once(server: Server) -> None:
    server.body, stops = padded_zip()
    archive = open_one(f"{server.url}/redirect/2020-02.zip")

    assert read_all(archive) == stops
    assert server.paths.count("/redirect/2020-02.zip") == 1


def test_downloads_whole_what_a_server_without_ranges_sends(server: Server) -> None:
    server.body, stops = padded_zip(padding_bytes=2_000_000)
    server.honours_ranges = False
    archive = open_one(f"{server.url}/2020-02.zip")

    assert read_all(archive) == stops
    assert len(server.ranges) == 1


def test_reads_again_after_it_was_closed(server: Server) -> None:
    server.body, stops = padded_zip()
    archive = open_one(f"{server.url}/2020-02.zip")

    assert read_all(archive) == read_all(archive) == stops


@pytest.mark.parametrize("etag", ['"one"', 'W/"one"', None])
def test_refuses_a_file_that_changes_between_ranges(server: Server, etag: str | None) -> None:
    """
    With a strong ETag by `If-Range`, with a weak one by comparison, without by the size, else by the checksum.
    """
    server.body, _ = padded_zip()
    server.etag = etag

    def change(state: Server, request: int) -> None:
        if request == 3:
            state.body, _ = padded_zip(padding_bytes=9_000_000)
            state.etag = etag and etag.replace("one", "two")

    server.before_answer = change
    archive = open_one(f"{server.url}/2020-02.zip")

    with pytest.raises(ArchiveRefused, match="changed on the server"):
        archive.read(archive.members[0])


@pytest.mark.parametrize("etag", ['"one"', 'W/"one"'])
def test_refuses_a_file_that_changes_into_one_of_the_same_size(server: Server, etag: str) -> None:
    server.body, _ = padded_zip()
    server.etag = etag

    def change(state: Server, request: int) -> None:
        if request == 3:
            state.etag = etag.replace("one", "two")

    server.before_answer = change
    archive = open_one(f"{server.url}/2020-02.zip")

    with pytest.raises(ArchiveRefused, match="changed on the server"):
        archive.read(archive.members[0])


@pytest.mark.parametrize("content_range", ["bytes 0-0/*", "nonsense", "items 0-0/5"])
def test_refuses_a_server_that_answers_ranges_wrongly(server: Server, content_range: str) -> None:
    server.body, _ = padded_zip(padding_bytes=1_000)
    server.content_range = content_range

    with pytest.raises(ArchiveRefused, match="answers range requests wrongly") as caught:
        open_one(f"{server.url}/2020-02.zip")
    assert "curl" in caught.value.remedy


def test_refuses_another_piece_than_it_asked_for(server: Server) -> None:
    server.body, _ = padded_zip(padding_bytes=4_000_000)
    server.content_range = f"bytes 0-0/{len(server.body)}"

    with pytest.raises(ArchiveRefused):
        open_one(f"{server.url}/2020-02.zip")


def test_tries_again_what_fails_in_passing(server: Server) -> None:
    server.body, stops = padded_zip()
    server.fail_next = [503, 429]
    archive = open_one(f"{server.url}/2020-02.zip")
    server.fail_next = [500]
    server.cut_next = 2

    assert read_all(archive) == stops


def test_tries_a_download_again_that_broke_off(server: Server) -> None:
    server.body, stops = padded_zip(padding_bytes=2_000_000)
    server.honours_ranges = False
    server.cut_next = 1

    assert read_all(open_one(f"{server.url}/2020-02.zip")) == stops
    assert len(server.ranges) == 2


def test_gives_up_in_the_end(server: Server) -> None:
    server.fail_next = [503] * 10

    with pytest.raises(SourceUnavailable, match="503"):
        open_one(f"{server.url}/2020-02.zip")
    assert len(server.ranges) == QUICK.attempts


@pytest.mark.parametrize("status", [403, 404, 410])
def test_does_not_try_again_what_will_not_heal(server: Server, status: int) -> None:
    server.fail_next = [status]

    with pytest.raises(ArchiveRefused, match=str(status)) as caught:
        open_one(f"{server.url}/2020-02.zip?key=secret")
    assert len(server.ranges) == 1
    assert "secret" not in str(caught.value)


def test_refuses_what_is_no_zip_and_what_is_empty(server: Server) -> None:
    server.body = b"<html>Sign in</html>" * 10
    with pytest.raises(ArchiveRefused, match="no zip"):
        open_one(f"{server.url}/2020-02.zip")
    server.body = b""
    with pytest.raises(ArchiveRefused, match="empty"):
        open_one(f"{server.url}/2020-02.zip")


def test_refuses_a_download_larger_than_any_archive(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_LARGEST_DOWNLOAD_BYTES", 500_000)
    server.body, _ = padded_zip(padding_bytes=1_000_000)
    server.honours_ranges = False

    with pytest.raises(ArchiveRefused, match="larger than any archive"):
        open_one(f"{server.url}/2020-02.zip")


def test_says_that_a_server_is_not_there() -> None:
    with pytest.raises(SourceUnavailable, match=r"2020-02\.zip can't be fetched"):
        open_one("http://127.0.0.1:9/2020-02.zip")


def test_looks_at_every_path_before_it_asks_any_server(server: Server, tmp_path: Path) -> None:
    with pytest.raises(BadPath):
        open_archives([f"{server.url}/2020-02.zip", str(tmp_path / "nowhere")], now=NOW, member_max_bytes=2**24)
    assert server.paths == []
