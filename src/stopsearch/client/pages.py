"""
Pages of one answer: each is of the snapshot of the first, and the last is known by that it names no next one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from stopsearch.client.answers import Answer, Row
from stopsearch.client.errors import BrokenAnswer
from stopsearch.client.line import Line
from stopsearch.client.transport import Request


@dataclass(frozen=True, kw_only=True)
class Page:
    """
    One page: its rows, and the request of the next one.
    """

    data: Any
    meta: dict[str, Any] = field(repr=False)
    next: Request | None


async def ask_page(line: Line, request: Request) -> Page:
    """
    Ask for one page.

    Raises:
        BrokenAnswer: It is none.
    """
    body = await line.ask(request)
    if not isinstance(body, dict) or "data" not in body:
        raise BrokenAnswer(f"{request.path}: the answer holds no data. Is this a stopsearch server?")
    return Page(data=body["data"], meta=body.get("meta") or {}, next=_next_of(request, body.get("next")))


async def ask_answer(line: Line, request: Request) -> Answer:
    """
    Ask for all pages of an answer, and give them as one.
    """
    first = page = await ask_page(line, request)
    data = first.data
    while page.next is not None:
        page = await ask_following(line, page, first)
        data = [*data, *page.data]
    return Answer(data=data, meta=first.meta)


async def ask_following(line: Line, page: Page, first: Page) -> Page:
    """
    Ask for the page that follows on another.

    Raises:
        BrokenAnswer: It is of another snapshot than the first, so that rows might be missing or doubled.
    """
    assert page.next is not None
    following = await ask_page(line, page.next)
    if following.next == page.next:
        raise BrokenAnswer(f"{page.next.path}: a page names itself as the next one.")
    if following.meta.get("snapshot") != first.meta.get("snapshot") and not first.meta.get("live"):
        raise BrokenAnswer(f"{page.next.path}: a page is of another snapshot than the first one.")
    return following


def _next_of(request: Request, address: str | None) -> Request | None:
    if address is None:
        return None
    # Its query alone is taken: pages are asked of the server that was named, whatever name it gives itself.
    return replace(request, query=parse_qsl(urlsplit(address).query, keep_blank_values=True))


class PageRows:
    """
    The rows of one page after another, each once.
    """

    def __init__(self, line: Line, first: Page, columns: Sequence[str]) -> None:
        self.columns = columns
        self._line, self._first, self._page = line, first, first
        self._waiting: deque[Row] = deque(first.data)
        self._given = 0

    @property
    def meta(self) -> Mapping[str, Any]:
        """
        Give what the first page says of itself.
        """
        return self._first.meta

    async def next_row(self) -> Row | None:
        """
        Give the next row, after asking for the next page where it is needed; None at the end.

        Raises:
            BrokenAnswer: Pages do not fit together, or are fewer rows than was promised.
        """
        while not self._waiting:
            page = self._page
            if page.next is None:
                self._check_total()
                return None
            following = await ask_following(self._line, page, self._first)
            if self._page is page:  # no other task was quicker
                self._page = following
                self._waiting.extend(following.data)
        self._given += 1
        return self._waiting.popleft()

    async def close(self) -> None:
        """
        Do nothing: a page is read whole.
        """

    def _check_total(self) -> None:
        total = self.meta.get("total")
        if isinstance(total, dict) and self._given != total["stops"]:
            raise BrokenAnswer(f"{self._given} rows came, but {total['stops']} were promised.")


async def page_rows(line: Line, request: Request, columns: Sequence[str]) -> PageRows:
    """
    Ask for the first page, and give the rows of all.

    Args:
        columns: The columns of a frame that has no row.
    """
    return PageRows(line, await ask_page(line, request), columns)
