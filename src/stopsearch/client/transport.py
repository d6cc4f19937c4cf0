"""
How requests travel: the only module that knows the HTTP library.

All that lies above is written once, as coroutines over a `Transport`. Over the awaiting one they run on the caller's
event loop; those of the blocking one never wait for anything, so that `run_now` runs them to their end on the spot.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Protocol, TypeVar

import httpx2

from stopsearch.client.errors import BadArgument, ClientTimeout, Unreachable
from stopsearch.client.query import Pairs

_T = TypeVar("_T")

_USER_AGENT = f"stopsearch-client/{version('stopsearch')}"


@dataclass(frozen=True, kw_only=True)
class Request:
    """
    What is sent to the server: a path below its address, a query, and what belongs to some requests only.
    """

    path: str
    query: Pairs = field(default_factory=list)
    method: str = "GET"
    json: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def may_be_repeated(self) -> bool:
        """
        Tell whether sending it twice does no more than sending it once.
        """
        return self.method == "GET"


class Reply(Protocol):
    """
    An answer whose body has not been read.
    """

    status: int
    headers: Mapping[str, str]

    async def read(self) -> bytes:
        """
        Give the whole body, decoded.
        """

    async def read_piece(self) -> bytes:
        """
        Give the next piece of the body, decoded; nothing at its end.
        """

    async def close(self) -> None:
        """
        Let go of the connection, whatever is left of the body.
        """


class Transport(Protocol):
    """
    Sends requests to one server.
    """

    async def send(self, request: Request) -> Reply:
        """
        Send a request, and give the answer as soon as its head is there.

        Raises:
            Unreachable: There is none.
        """

    async def sleep(self, seconds: float) -> None:
        """
        Let some time pass.
        """

    async def close(self) -> None:
        """
        Close the connections.
        """


class BlockingTransport:
    """
    A transport whose coroutines block, and never wait.
    """

    def __init__(self, base_url: str, timeout: float) -> None:
        self._client = httpx2.Client(**_options(base_url, timeout))

    async def send(self, request: Request) -> Reply:
        """
        Send a request.
        """
        with _told(request):
            return _BlockingReply(self._client.send(_built(self._client, request), stream=True), request)

    async def sleep(self, seconds: float) -> None:
        """
        Let some time pass.
        """
        time.sleep(seconds)

    async def close(self) -> None:
        """
        Close its connections.
        """
        self._client.close()


class AwaitingTransport:
    """
    A transport on the caller's event loop.
    """

    def __init__(self, base_url: str, timeout: float) -> None:
        self._client = httpx2.AsyncClient(**_options(base_url, timeout))

    async def send(self, request: Request) -> Reply:
        """
        Send a request.
        """
        with _told(request):
            return _AwaitingReply(await self._client.send(_built(self._client, request), stream=True), request)

    async def sleep(self, seconds: float) -> None:
        """
        Let some time pass.
        """
        await asyncio.sleep(seconds)

    async def close(self) -> None:
        """
        Close its connections.
        """
        await self._client.aclose()


class _BlockingReply:
    def __init__(self, response: httpx2.Response, request: Request) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self._response, self._request = response, request
        self._pieces = response.iter_bytes()

    async def read(self) -> bytes:
        with _told(self._request):
            return self._response.read()

    async def read_piece(self) -> bytes:
        with _told(self._request):
            return next(self._pieces, b"")

    async def close(self) -> None:
        self._response.close()


class _AwaitingReply:
    def __init__(self, response: httpx2.Response, request: Request) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self._response, self._request = response, request
        self._pieces = response.aiter_bytes()

    async def read(self) -> bytes:
        with _told(self._request):
            return await self._response.aread()

    async def read_piece(self) -> bytes:
        with _told(self._request):
            return await anext(self._pieces, b"")

    async def close(self) -> None:
        await self._response.aclose()


def run_now(work: Coroutine[Any, Any, _T]) -> _T:
    """
    Run a coroutine that never waits, and give what it returns.
    """
    try:
        work.send(None)
    except StopIteration as ended:
        result: _T = ended.value
        return result
    work.close()
    raise RuntimeError("A coroutine over the blocking transport waited for something.")


def _options(base_url: str, timeout: float) -> dict[str, Any]:
    # Redirects are not followed: a token must not be carried elsewhere.
    return {"base_url": base_url, "timeout": timeout, "headers": {"User-Agent": _USER_AGENT}}


def _built(client: httpx2.Client | httpx2.AsyncClient, request: Request) -> httpx2.Request:
    return client.build_request(
        request.method,
        request.path,
        params=httpx2.QueryParams([*request.query]) if request.query else None,
        json=request.json,
        headers=dict(request.headers),
    )


@contextmanager
def _told(request: Request) -> Iterator[None]:
    """
    Tell the HTTP library's errors in the client's words.
    """
    try:
        yield
    except httpx2.TimeoutException as error:
        raise ClientTimeout(f"{request.path}: no answer in time ({type(error).__name__}).") from error
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
        raise BadArgument(f"The address of the server can't be used: {error}") from error
    except httpx2.ConnectError as error:
        raise Unreachable(f"{request.path}: the server can't be reached: {error}") from error
    except httpx2.HTTPError as error:
        raise Unreachable(f"{request.path}: the answer broke off: {error or type(error).__name__}") from error
