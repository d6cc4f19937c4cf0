"""
What is text and not small is compressed for whoever takes it, and only for them.
"""

from __future__ import annotations

import asyncio
import gzip
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.edge_calls import answering, call
from stopsearch.serve.compression import Compression, takes_gzip

pytestmark = pytest.mark.unit

LONG = b'{"force": "durham"} ' * 1000
GZIP = {"Accept-Encoding": "gzip"}


@pytest.mark.parametrize(
    ("header", "takes"),
    [
        ("gzip", True),
        ("GZIP", True),
        ("x-gzip", True),
        ("deflate, gzip;q=0.5, br", True),
        ("*", True),
        ("gzip ; q=1.0", True),
        ("gzip;q=0", False),
        ("gzip;q=0.000", False),
        ("gzip;q=nonsense", False),
        ("*;q=0", False),
        ("gzip;q=0, *", False),
        ("*, gzip;q=0", False),
        ("identity", False),
        ("notgzip", False),
        ("", False),
        (";;,,", False),
    ],
)
def test_who_takes_gzip(header: str, takes: bool) -> None:
    assert takes_gzip(header.encode()) is takes


@given(st.binary(max_size=100))
def test_no_header_breaks_it(header: bytes) -> None:
    assert takes_gzip(header) in (True, False)


def test_a_long_answer_is_compressed_for_whoever_takes_it() -> None:
    app = Compression(answering(LONG, headers={"ETag": '"abc"', "Vary": "Accept"}))
    compressed, plain = call(app, headers=GZIP), call(app)

    assert gzip.decompress(compressed.body) == plain.body == LONG
    assert len(compressed.body) < len(LONG) / 10
    assert compressed.headers["content-encoding"] == "gzip"
    assert compressed.headers["content-length"] == str(len(compressed.body))
    assert "content-encoding" not in plain.headers
    assert plain.headers["content-length"] == str(len(LONG))
    # Caches must tell the two apart, and know that neither stands for the other byte by byte.
    assert compressed.headers["vary"] == plain.headers["vary"] == "Accept, Accept-Encoding"
    assert compressed.headers["etag"] == 'W/"abc"'
    assert plain.headers["etag"] == '"abc"'


def test_that_nothing_changed_is_told_with_the_tag_of_what_is_held() -> None:
    app = Compression(answering(b"", status=304, headers={"ETag": '"abc"'}))
    assert call(app, headers=GZIP).headers["etag"] == 'W/"abc"'
    assert call(app).headers["etag"] == '"abc"'


def test_a_weak_tag_stays_as_it_is() -> None:
    app = Compression(answering(LONG, headers={"ETag": 'W/"abc"'}))
    assert call(app, headers=GZIP).headers["etag"] == 'W/"abc"'


def test_a_small_answer_is_left_as_it_is() -> None:
    sent = call(Compression(answering(b"x" * 1023)), headers=GZIP)
    assert "content-encoding" not in sent.headers
    assert sent.body == b"x" * 1023
    assert call(Compression(answering(b"x" * 1024)), headers=GZIP).headers["content-encoding"] == "gzip"


@pytest.mark.parametrize(
    "media_type",
    [
        "text/event-stream",
        "text/event-stream; charset=utf-8",
        "application/vnd.apache.parquet",
        "application/gzip",
        "application/octet-stream",
        "image/png",
        "",
    ],
)
def test_what_is_no_text_or_must_not_wait_is_left_as_it_is(media_type: str) -> None:
    sent = call(Compression(answering(LONG, headers={"Content-Type": media_type})), headers=GZIP)
    assert sent.body == LONG
    assert {"content-encoding", "vary"} & set(sent.headers) == set()


@pytest.mark.parametrize(
    "media_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "application/problem+json",
        "application/geo+json",
        "application/x-ndjson",
        "text/csv; charset=utf-8; header=present",
        "text/html",
    ],
)
def test_every_text_is_compressed(media_type: str) -> None:
    sent = call(Compression(answering(LONG, headers={"Content-Type": media_type})), headers=GZIP)
    assert gzip.decompress(sent.body) == LONG


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (206, {"Content-Range": "bytes 0-19999/40000"}),
        (200, {"Content-Encoding": "br"}),
        (200, {"Cache-Control": "public, no-transform"}),
    ],
)
def test_what_is_encoded_or_a_part_already_is_left_as_it_is(status: int, headers: dict[str, str]) -> None:
    sent = call(Compression(answering(LONG, status=status, headers=headers)), headers=GZIP)
    assert sent.body == LONG
    assert sent.headers.get("content-encoding") == headers.get("Content-Encoding")


def test_a_stream_is_compressed_piece_by_piece() -> None:
    """
    It goes out while it comes in, and no length is promised.
    """
    noise = random.Random(1)
    pieces = [noise.randbytes(40_000).hex().encode() for _ in range(20)]
    sent = call(
        Compression(answering(pieces, headers={"Content-Type": "text/csv", "Accept-Ranges": "bytes"})), headers=GZIP
    )

    assert gzip.decompress(sent.body) == b"".join(pieces)
    assert "content-length" not in sent.headers
    assert "accept-ranges" not in sent.headers
    assert len(sent.messages) > len(pieces) / 2
    assert [message["more_body"] for message in sent.messages[1:]] == [True] * (len(sent.messages) - 2) + [False]


def test_large_pieces_are_compressed_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Other requests go on meanwhile.
    """
    aside: list[object] = []

    async def run_sync(compress):  # type: ignore[no-untyped-def]
        aside.append(compress)
        await asyncio.sleep(0)
        return compress()

    monkeypatch.setattr("anyio.to_thread.run_sync", run_sync)
    assert gzip.decompress(call(Compression(answering(LONG * 20)), headers=GZIP).body) == LONG * 20
    assert len(aside) == 1
    call(Compression(answering(LONG)), headers=GZIP)
    assert len(aside) == 1


def test_an_empty_stream_stays_well_formed() -> None:
    sent = call(Compression(answering([b"", b""])), headers=GZIP)
    assert gzip.decompress(sent.body) == b""
