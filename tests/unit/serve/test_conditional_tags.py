"""
A tag tells answers apart that differ by anything, and is recognised in whatever way a client writes it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from starlette.requests import Request

from stopsearch.serve.conditional import cache_control, conditional_headers, etag_of, not_modified, not_modified_answer

pytestmark = pytest.mark.unit

PARTS: dict[str, Any] = {
    "snapshot_id": "ab" * 32,
    "canonical_query": "force=durham",
    "path": "/v1/counts",
    "base_url": "https://stops.example.org",
    "software_version": "1.0",
}
TAG = etag_of(**PARTS)


def request_with(*tags: str, method: str = "GET") -> Request:
    headers = [(b"if-none-match", tag.encode()) for tag in tags]
    return Request({"type": "http", "method": method, "path": "/", "query_string": b"", "headers": headers})


@pytest.mark.parametrize("part", [*PARTS, "variant"])
def test_whatever_changes_the_bytes_changes_the_tag(part: str) -> None:
    assert etag_of(**{**PARTS, part: "another"}) != TAG


def test_the_same_question_has_the_same_tag_for_ever() -> None:
    assert etag_of(**PARTS) == TAG == '"6119cd93ba8d71adb7363c48f9be843c"'


def test_nothing_moves_from_one_part_to_the_next() -> None:
    names = list(PARTS)
    for left, right in pairwise(names):
        moved = {**PARTS, left: PARTS[left] + PARTS[right][0], right: PARTS[right][1:]}
        assert etag_of(**moved) != TAG


@pytest.mark.parametrize(
    ("tags", "is_held"),
    [
        ((), False),
        ((TAG,), True),
        ((f"W/{TAG}",), True),
        (("*",), True),
        ((" * ",), True),
        ((f'"other", {TAG}',), True),
        ((f'"a,b" , W/"c",W/{TAG}',), True),
        (('"other"', TAG), True),
        (('"other"',), False),
        ((TAG.strip('"'),), False),
        ((TAG.upper(),), False),
        (("",), False),
        (('"' * 5000,), False),
        ((f'"*", "x{TAG[1:]}',), False),
    ],
)
def test_what_a_client_says_it_holds(tags: tuple[str, ...], is_held: bool) -> None:
    assert not_modified(request_with(*tags), TAG) is is_held


@pytest.mark.parametrize(("method", "is_held"), [("HEAD", True), ("POST", False), ("DELETE", False)])
def test_only_reading_is_conditional(method: str, is_held: bool) -> None:
    assert not_modified(request_with(TAG, method=method), TAG) is is_held


def test_only_what_is_asked_by_its_snapshot_is_kept_without_asking() -> None:
    assert cache_control(True) == "public, max-age=31536000, immutable"
    assert cache_control(False) == "public, max-age=0, must-revalidate"


def test_the_short_answer_has_the_headers_of_the_long_one() -> None:
    short = not_modified_answer(TAG, cache_control(False))
    long = conditional_headers(TAG, is_pinned=False)
    assert short.status_code == 304
    assert short.body == b""
    assert {name: short.headers[name] for name in long} == long
    assert "content-type" not in short.headers
