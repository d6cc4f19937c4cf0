"""
Pages of stops as requests ask for them: of what is served now at the cost of one statement, or of a snapshot.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import psycopg
from psycopg_pool import PoolTimeout
from starlette.requests import Request

from stopsearch.domain.errors import BadCursor
from stopsearch.flows.count_stops import Total, count_total
from stopsearch.flows.find_stops import Page, Pages
from stopsearch.serve.answers import meta_of
from stopsearch.serve.cursor import Cursor, read_cursor
from stopsearch.serve.parameters import Asked, Parameter
from stopsearch.serve.reading import Reading, as_trouble
from stopsearch.store.export_rows import COLUMNS
from stopsearch.store.snapshots import Snapshot
from stopsearch.store.stop_query import Position
from stopsearch.store.stop_words import StopWords

DEFAULT_LIMIT = 100
DESCENDING = "-datetime"

# What is served may change between a look at the snapshot and the page, time and again: so often, and then the page is
# taken of the snapshot that was last looked at.
_TRIES = 3
_KEPT_QUESTIONS = 128
_KEPT_WORDS = 16
_LONGEST_KEPT = 2_000
_CURSOR = re.compile(rb"[A-Za-z0-9_-]+")


@dataclass(kw_only=True)
class Question:
    """
    One question to one snapshot, as far as it is the same for each of its pages.
    """

    snapshot: Snapshot
    pages: Pages
    meta: bytes
    total: Total | None = None  # where it was asked for


_asked: OrderedDict[tuple[str, bytes], Asked] = OrderedDict()
_questions: OrderedDict[tuple[str, str, str, str], Question] = OrderedDict()
_words: OrderedDict[tuple[str, tuple[str, ...]], tuple[Snapshot, StopWords]] = OrderedDict()


async def read_asked(request: Request, allowed: Sequence[Parameter]) -> tuple[Asked, str | None]:
    """
    Read a request's query, and its cursor by itself. What was read of one page serves for those that follow.

    Raises:
        BadQuery: A parameter is unknown, or a value can't be meant; every fault is named.
    """
    query: bytes = request.scope["query_string"]
    head, mark, word = query.rpartition(b"cursor=")
    if not mark:
        head, word = query, b""
    is_plain = len(query) <= _LONGEST_KEPT and (
        not mark or (_CURSOR.fullmatch(word) is not None and b"cursor" not in head and head[-1:] in (b"", b"&"))
    )
    key = request.scope["path"], head
    asked = _asked.get(key) if is_plain else None
    if asked is not None:
        return asked, word.decode() or None
    asked = await request.app.state.reading.read_query(request, allowed)
    given = asked.get("cursor")
    asked = replace(asked, values={name: value for name, value in asked.values.items() if name != "cursor"})
    # An instant may mean another one later; and a cursor may be spelt so that it was not seen.
    if is_plain and (given or "") == word.decode() and asked.as_of is None and asked.snapshot is None:
        _asked[key] = asked
        while len(_asked) > _KEPT_QUESTIONS:
            _asked.popitem(last=False)
    return asked, given


def read_position(request: Request, asked: Asked, word: str | None) -> Cursor | None:
    """
    Read where a request goes on.

    Raises:
        BadCursor: It is no cursor of this query, or a moment was given beside it.
    """
    if word is None:
        return None
    faults = tuple(
        (name, str(value), "a cursor has a snapshot of its own")
        for name, value in (("as_of", asked.as_of), ("snapshot", asked.snapshot))
        if value is not None
    )
    if faults:
        raise BadCursor(
            f"{faults[0][0]} and cursor can't both be given: a cursor has a snapshot of its own.",
            remedy="Follow `next` as it is, or leave cursor= out to start anew.",
            faults=faults,
        )
    return read_cursor(word, asked.canonical, request.app.state.cursor_key, is_descending=is_descending(asked))


def is_descending(asked: Asked) -> bool:
    """
    Tell whether the latest stops come first.
    """
    return bool(asked.get("sort") == DESCENDING)


async def find_page(
    request: Request, asked: Asked, snapshot: Snapshot, after: Position | None, *, base: str, may_move: bool
) -> tuple[Question, Page]:
    """
    Find one page, and the question to the snapshot that it is of.

    Args:
        snapshot: The one that is asked for; or the one that was current last, where it `may_move` on to what is served
            in the moment of the answer.
        after: Where the page before ended; None: the first page.
        base: The address of this server, for meta.

    Raises:
        QueryTooSlow: The statement took longer than the timeout.
        StoreUnavailable: The database is away, or every connection is busy for too long.
    """
    reading: Reading = request.app.state.reading
    try:
        for _ in range(_TRIES):
            cached = reading.cached()
            if cached is not None and cached[0].id == snapshot.id:
                snapshot = cached[0]  # it may be known by two objects
            question = _question(asked, snapshot, base)
            if not question.pages.can_be_current:
                snapshot = (await reading.current())[0] if may_move else snapshot
                break
            if cached is None or cached[0] is not snapshot or reading.lags():
                break
            pages = question.pages
            generation, page = await reading.ask(lambda connection: pages.find_current(connection, after))  # noqa: B023
            if generation == cached[1]:
                return question, page
            current = (await reading.current(generation))[0]
            if not may_move or current is snapshot:
                break
            snapshot = current
        question = _question(asked, snapshot, base)
        by_numbers = question.pages
        return question, await reading.ask(lambda connection: by_numbers.find_async(connection, after))
    except (psycopg.Error, PoolTimeout) as error:
        raise as_trouble(error, request.app.state.settings) from error


async def add_total(request: Request, asked: Asked, question: Question) -> None:
    """
    Count the stops of the whole question, and let its meta say so. Counted once for all pages.
    """
    if question.total is None:
        total = await request.app.state.reading.run(count_total, question.snapshot, asked.filter)
        if question.total is not None:
            return  # another request for the same has counted meanwhile
        question.total = total
        told = {"stops": total.stops, "counted_from": str(total.counted_from)}
        question.meta = question.meta[:-1] + b',"total":' + msgspec.json.encode(told) + b"}"


def _question(asked: Asked, snapshot: Snapshot, base: str) -> Question:
    key = (snapshot.id, asked.path, asked.canonical, base)
    question = _questions.get(key)
    # Two databases in one process may serve one snapshot under other numbers.
    if question is None or question.snapshot is not snapshot:
        fields = asked.get("fields") or COLUMNS
        question = _questions[key] = Question(
            snapshot=snapshot,
            pages=Pages(
                snapshot,
                asked.filter,
                limit=asked.get("limit", DEFAULT_LIMIT),
                is_descending=is_descending(asked),
                words=_words_of(snapshot, fields),
            ),
            meta=msgspec.json.encode(meta_of(asked, snapshot, base)),
        )
        while len(_questions) > _KEPT_QUESTIONS:
            _questions.popitem(last=False)
    return question


def _words_of(snapshot: Snapshot, fields: tuple[str, ...]) -> StopWords:
    key = (snapshot.id, fields)
    kept = _words.get(key)
    if kept is None or kept[0] is not snapshot:
        kept = _words[key] = (snapshot, StopWords(snapshot, fields))
        while len(_words) > _KEPT_WORDS:
            _words.popitem(last=False)
    return kept[1]
