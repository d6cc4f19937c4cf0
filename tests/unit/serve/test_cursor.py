"""
Cursors: what was written is read back, and nothing else is read.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stopsearch.domain.errors import BadCursor
from stopsearch.serve.cursor import Cursor, read_cursor, write_cursor
from stopsearch.store.stop_query import Position

pytestmark = pytest.mark.unit

_KEY = bytes(range(32))
_QUERY = "force=durham&limit=5"
_CURSOR = Cursor(
    snapshot="0f" * 32,
    is_descending=False,
    last=Position(at=datetime(2024, 3, 1, 12, 30, 0, 187000, tzinfo=UTC), id=UUID(int=2**127 + 5)),
)


@given(
    st.integers(-(2**51), 2**54).map(lambda us: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)),
    st.uuids(),
    st.booleans(),
    st.binary(min_size=32, max_size=32),
    st.text(max_size=40).filter(lambda text: text.isprintable()),
)
def test_a_cursor_is_read_as_it_was_written(
    at: datetime, stop_id: UUID, is_descending: bool, snapshot: bytes, query: str
) -> None:
    cursor = Cursor(snapshot=snapshot.hex(), is_descending=is_descending, last=Position(at=at, id=stop_id))
    word = write_cursor(cursor, query, _KEY)
    assert read_cursor(word, query, _KEY, is_descending=is_descending) == cursor


def test_the_word_is_safe_in_an_address_and_short() -> None:
    word = write_cursor(_CURSOR, _QUERY, _KEY)
    assert word.isascii()
    assert set(word) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert len(word) < 140


def test_the_same_place_gives_the_same_word() -> None:
    assert write_cursor(_CURSOR, _QUERY, _KEY) == write_cursor(_CURSOR, _QUERY, _KEY)


def test_times_of_other_zones_are_the_same_instant() -> None:
    west = _CURSOR.last.at.astimezone(tz=None)
    moved = Cursor(snapshot=_CURSOR.snapshot, is_descending=False, last=Position(at=west, id=_CURSOR.last.id))
    assert write_cursor(moved, _QUERY, _KEY) == write_cursor(_CURSOR, _QUERY, _KEY)


def test_no_other_word_is_read() -> None:
    """
    Every single letter counts, and none may be written as another alphabet has it.
    """
    word = write_cursor(_CURSOR, _QUERY, _KEY)
    for place in range(len(word)):
        for letter in "ABQgw09-_":
            if word[place] != letter:
                _refused(word[:place] + letter + word[place + 1 :])


def test_a_word_has_one_spelling() -> None:
    seen = set()
    for number in range(64):
        cursor = Cursor(snapshot=f"{number:064x}", is_descending=False, last=_CURSOR.last)
        word = write_cursor(cursor, _QUERY, _KEY)
        for ours, other in (("-", "+"), ("_", "/")):
            if ours in word:
                seen.add(ours)
                _refused(word.replace(ours, other))
        _refused(f"{word}====")
    assert seen == {"-", "_"}


@pytest.mark.parametrize("word", ["", "A", "====", "é", "\ud800", "a b", "+/+/", "A" * 150, "A" * 10_000, "\0"])
def test_what_is_no_cursor_is_refused(word: str) -> None:
    _refused(word)


def test_a_cursor_of_another_key_query_or_order_is_refused() -> None:
    word = write_cursor(_CURSOR, _QUERY, _KEY)
    with pytest.raises(BadCursor, match="another server"):
        read_cursor(word, _QUERY, bytes(32), is_descending=False)
    with pytest.raises(BadCursor, match="another query"):
        read_cursor(word, _QUERY + "0", _KEY, is_descending=False)
    with pytest.raises(BadCursor, match="another query"):
        read_cursor(word, _QUERY, _KEY, is_descending=True)


def test_a_cursor_of_another_version_is_refused() -> None:
    word = write_cursor(_CURSOR, _QUERY, _KEY)
    content = bytearray(base64.urlsafe_b64decode(word + "=" * (-len(word) % 4))[:-16])
    content[0] = 99
    signed = bytes(content) + hmac.digest(_KEY, bytes(content), hashlib.sha256)[:16]
    with pytest.raises(BadCursor, match="another version"):
        read_cursor(base64.urlsafe_b64encode(signed).rstrip(b"=").decode(), _QUERY, _KEY, is_descending=False)


def test_the_refusal_names_the_cursor_and_says_what_to_do() -> None:
    error = _refused("x" * 500)
    assert "next" in error.remedy
    [(parameter, value, reason)] = error.faults
    assert (parameter, len(value)) == ("cursor", 41)
    assert reason in error.message


def test_neighbours_in_time_have_words_of_their_own() -> None:
    words = {
        write_cursor(
            Cursor(
                snapshot=_CURSOR.snapshot,
                is_descending=False,
                last=Position(at=_CURSOR.last.at + timedelta(microseconds=step), id=uuid4()),
            ),
            _QUERY,
            _KEY,
        )
        for step in range(5)
    }
    assert len(words) == 5


def _refused(word: str) -> BadCursor:
    with pytest.raises(BadCursor) as refused:
        read_cursor(word, _QUERY, _KEY, is_descending=False)
    return refused.value
