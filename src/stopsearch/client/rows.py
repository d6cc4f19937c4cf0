"""
Rows as one iterator, for both sides: each once, and never an end before the end.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, Self, overload

from stopsearch.client.answers import Row, Source, Table
from stopsearch.client.errors import BadArgument
from stopsearch.client.frames import pandas_frame, polars_frame
from stopsearch.client.sides import Awaiting, Blocking, shared

if TYPE_CHECKING:
    import pandas  # type: ignore[import-untyped]  # it brings no types

_P = ParamSpec("_P")


class RowSource(Protocol):
    """
    Where rows come from.
    """

    @property
    def meta(self) -> Mapping[str, Any]:
        """
        Give what is said of the rows.
        """

    @property
    def columns(self) -> Sequence[str]:
        """
        Give the columns of a frame that has no row.
        """

    async def next_row(self) -> Row | None:
        """
        Give the next row; None at the end.
        """

    async def close(self) -> None:
        """
        Let go of what is held.
        """


class _Rows(Source):
    def __init__(self, source: RowSource) -> None:
        self._source = source
        self._given = 0

    @property
    def meta(self) -> Mapping[str, Any]:
        """
        Give all that the server says of the rows.
        """
        return self._source.meta

    @property
    def total(self) -> int | None:
        """
        Give the number of all rows, where it was asked for by ``total=True``.
        """
        total = self.meta.get("total")
        return int(total["stops"]) if isinstance(total, dict) else None

    @shared
    async def to_polars(self) -> Table:
        """
        Give all rows as a Polars frame, together with what it is cited by.

        Raises:
            BadArgument: Some rows have been taken already.
        """
        rows = await self._all()
        return self.table(polars_frame(rows, self._source.columns))

    @shared
    async def to_pandas(self) -> pandas.DataFrame:
        """
        Give all rows as a pandas frame, with snapshot, citation and licence in its `attrs`.

        Raises:
            BadArgument: Some rows have been taken already.
        """
        frame = pandas_frame(await self._all(), self._source.columns)
        frame.attrs |= self.attributes()
        return frame

    @shared
    async def close(self) -> None:
        """
        Let go of what is held, where not all rows are wanted.
        """
        await self._source.close()

    async def _all(self) -> list[Row]:
        if self._given:
            raise BadArgument(f"{self._given} rows have been taken already. Ask again for a frame of all.")
        rows: list[Row] = []
        while (row := await self._next_row()) is not None:
            rows.append(row)
        return rows

    async def _next_row(self) -> Row | None:
        row = await self._source.next_row()
        self._given += row is not None
        return row


class Rows(_Rows, Blocking):
    """
    Rows of one snapshot, each once. `snapshot` is there from the start.

    Where the next one can't be had, the loop raises, and may be gone on with where it stood.
    """

    def __iter__(self) -> Rows:
        """
        Give itself: there is one place at which it stands.
        """
        return self

    def __next__(self) -> Row:
        """
        Give the next row.

        Raises:
            ProblemError: The server answered with a problem.
            Unreachable: There was no whole answer.
            BrokenAnswer: What came does not fit together, or is not all.
        """
        row = self._run(self._next_row())
        if row is None:
            raise StopIteration
        return row


class AsyncRows(_Rows, Awaiting):
    """
    What `Rows` is, for `async for`.
    """

    def __aiter__(self) -> AsyncRows:
        """
        Give itself: there is one place at which it stands.
        """
        return self

    async def __anext__(self) -> Row:
        """
        Give the next row, as `Rows` does.
        """
        row = await self._run(self._next_row())
        if row is None:
            raise StopAsyncIteration
        return row


class row_question(Generic[_P]):  # noqa: N801 - it is used as a decorator
    """
    Make a method that gives rows, on both sides, of a coroutine method that begins a source of them.
    """

    def __init__(self, method: Callable[Concatenate[Any, _P], Coroutine[Any, Any, RowSource]]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    @overload
    def __get__(self, side: None, owner: type) -> Self: ...
    @overload
    def __get__(self, side: Blocking, owner: type) -> Callable[_P, Rows]: ...
    @overload
    def __get__(self, side: Awaiting, owner: type) -> Callable[_P, Awaitable[AsyncRows]]: ...

    def __get__(self, side: Any, owner: type) -> Any:
        """
        Bind the method to one side's object.
        """
        if side is None:
            return self
        kind = Rows if isinstance(side, Blocking) else AsyncRows

        async def begin(source: Coroutine[Any, Any, RowSource]) -> _Rows:
            return kind(await source)

        def call(*args: _P.args, **kwargs: _P.kwargs) -> Any:
            return side._run(begin(self._method(side, *args, **kwargs)))

        return update_wrapper(call, self._method)
