"""
The two sides of the client, blocking and awaiting, and how a method that is written once serves both.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from functools import update_wrapper
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from stopsearch.client.transport import run_now

_T = TypeVar("_T")
_P = ParamSpec("_P")


class Blocking:
    """
    The side on which a method returns what it found.
    """

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return run_now(work)


class Awaiting:
    """
    The side on which a method is awaited.
    """

    def _run(self, work: Coroutine[Any, Any, _T]) -> Awaitable[_T]:
        return work


class shared(Generic[_P, _T]):  # noqa: N801 - it is used as a decorator
    """
    Make a method of a coroutine method: on the blocking side one that returns, on the awaiting side one to await.
    """

    def __init__(self, method: Callable[Concatenate[Any, _P], Coroutine[Any, Any, _T]]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    @overload
    def __get__(self, side: None, owner: type) -> Self: ...
    @overload
    def __get__(self, side: Blocking, owner: type) -> Callable[_P, _T]: ...
    @overload
    def __get__(self, side: Awaiting, owner: type) -> Callable[_P, Awaitable[_T]]: ...

    def __get__(self, side: Any, owner: type) -> Any:
        """
        Bind the method to one side's object.
        """
        if side is None:
            return self

        def call(*args: _P.args, **kwargs: _P.kwargs) -> Any:
            return side._run(self._method(side, *args, **kwargs))

        return update_wrapper(call, self._method)
