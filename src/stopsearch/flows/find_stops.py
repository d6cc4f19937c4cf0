"""
Find stops: one page after another, by time and id, each exact for one snapshot.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection, Connection

from stopsearch.domain.filters import StopFilter
from stopsearch.store.export_rows import COLUMNS
from stopsearch.store.server_texts import take_texts, text_cursor
from stopsearch.store.snapshots import Snapshot
from stopsearch.store.stop_query import PageQuery, Position, Statement, Told
from stopsearch.store.stop_words import Row, StopWords, position_texts


@dataclass(frozen=True, kw_only=True)
class Page:
    """
    One page of stops of one snapshot.
    """

    rows: Sequence[Row] = field(repr=False)
    words: StopWords = field(repr=False)
    last: Position | None  # where the next page goes on; None: this is the last

    def stops(self) -> list[dict[str, Any]]:
        """
        Give the stops as JSON has them.
        """
        return [json.loads(row) for row in self.words.json_rows(self.rows)]


class Pages:
    """
    The pages of one question to one snapshot: made once, and asked for as many as are wanted.

    Args:
        limit: Stops a page.
        is_descending: Whether the latest come first.
        words: What writes the stops; None: all columns of an export.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        stop_filter: StopFilter,
        *,
        limit: int = 100,
        is_descending: bool = False,
        words: StopWords | None = None,
    ) -> None:
        self._query = PageQuery(snapshot, stop_filter, limit=limit, is_descending=is_descending)
        self._limit = limit
        self._words = words or StopWords(snapshot)

    @property
    def can_be_current(self) -> bool:
        """
        Tell whether `find_current` can be asked.
        """
        return self._query.can_be_current

    def find(self, connection: Connection, after: Position | None = None) -> Page:
        """
        Find one page, exact for the snapshot whatever has been committed since.

        Args:
            after: The `last` of the page before; None: the first page.
        """
        statement = self._query.statement(Told.BY_NUMBERS, after)
        with text_cursor(connection) as cursor:
            cursor.execute(statement.text, statement.parameters, prepare=_prepare(statement))
            return self._page(cursor.fetchall())[1]

    async def find_async(self, connection: AsyncConnection[Any], after: Position | None = None) -> Page:
        """
        Find the same, over an asynchronous connection.
        """
        return (await self._fetch(connection, self._query.statement(Told.BY_NUMBERS, after)))[1]

    async def find_current(self, connection: AsyncConnection[Any], after: Position | None = None) -> tuple[int, Page]:
        """
        Find one page of what is served now, at less cost.

        Returns:
            The generation that the page is of, and the page: it is one of the snapshot where the snapshot is current at
            that generation, and else of another.
        """
        return await self._fetch(connection, self._query.statement(Told.AS_CURRENT, after))

    async def _fetch(self, connection: AsyncConnection[Any], statement: Statement) -> tuple[int, Page]:
        async with connection.cursor() as cursor:
            take_texts(cursor)
            await cursor.execute(statement.text, statement.parameters, prepare=_prepare(statement))
            return self._page(await cursor.fetchall())

    def _page(self, rows: Sequence[Row]) -> tuple[int, Page]:
        generation = int(rows[0][0] or 0) if rows else 0
        if rows and rows[0][1] is None:
            rows = []
        last = None
        if len(rows) > self._limit:
            rows = rows[: self._limit]
            last = _position(rows[-1])
        return generation, Page(rows=rows, words=self._words, last=last)


def find_stops(
    connection: Connection,
    snapshot: Snapshot,
    stop_filter: StopFilter,
    *,
    limit: int = 100,
    is_descending: bool = False,
    fields: Sequence[str] = COLUMNS,
    after: Position | None = None,
) -> Page:
    """
    Find one page of a snapshot's stops, with some of the columns of an export, in the order that is asked for.

    Args:
        after: The `last` of the page before; None: the first page.
    """
    words = StopWords(snapshot, fields)
    pages = Pages(snapshot, stop_filter, limit=limit, is_descending=is_descending, words=words)
    return pages.find(connection, after)


def _prepare(statement: Statement) -> bool | None:
    return False if statement.is_planned_anew else None


def _position(row: Row) -> Position:
    at, stop_id = position_texts(row)
    return Position(at=datetime.fromisoformat(json.loads(at)), id=UUID(stop_id))
