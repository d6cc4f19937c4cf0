"""
One GET, told in our own words: the only module that knows the HTTP client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import urlsplit, urlunsplit

import httpx2

from stopsearch import __version__
from stopsearch.domain.errors import ConfigError, SourceShapeChanged, SourceUnavailable

MAX_BODY_BYTES = 512 * 1024 * 1024

_CONNECT_TIMEOUT_S = 10.0

# Less than the five seconds after which many servers drop an idle connection, so that we let go of it first.
_KEEP_IDLE_S = 4.0

# An error's body is of no use, but reading a short one keeps the connection.
_MAX_ERROR_BODY_BYTES = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class Answer:
    """
    What came back: the status, the body as decoded from gzip (empty unless the status is 200), the headers we use.
    """

    address: str  # as asked, without any password
    status: int
    body: bytes
    wire_bytes: int
    retry_after: str | None = None
    location: str | None = None


def user_agent(contact: str) -> str:
    """
    Give the name that we go by, with the address at which the publisher can reach whoever runs this.

    Raises:
        ConfigError: The contact can't be sent in a header.
    """
    name = f"stopsearch/{__version__}"
    contact = contact.strip()
    if not contact:
        return name
    if not (contact.isascii() and contact.isprintable()):
        raise ConfigError(
            "STOPSEARCH_CONTACT holds characters that can't be sent in a header.",
            remedy="Write an email address or web page in plain ASCII.",
        )
    return f"{name} (+{contact})"


class HttpClient:
    """
    Asks one base address, over connections that are kept; gzip; no redirect is followed.

    Proxies and certificates come from the environment, as usual (`HTTPS_PROXY`, `NO_PROXY`, `SSL_CERT_FILE`).
    """

    def __init__(
        self,
        base_url: str,
        *,
        contact: str = "",
        connections: int = 8,
        timeout_s: float = 120.0,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._timeout_s = timeout_s
        self._max_body_bytes = max_body_bytes
        try:
            self._client = httpx2.AsyncClient(
                headers={
                    "User-Agent": user_agent(contact),
                    "Accept": "application/json",
                    "Accept-Encoding": "gzip",
                },
                timeout=httpx2.Timeout(timeout_s, connect=min(_CONNECT_TIMEOUT_S, timeout_s), pool=None),
                limits=httpx2.Limits(
                    max_connections=connections,
                    max_keepalive_connections=connections,
                    keepalive_expiry=_KEEP_IDLE_S,
                ),
                follow_redirects=False,
            )
        except (ValueError, httpx2.InvalidURL) as error:
            raise ConfigError(
                f"The HTTP client can't be set up: {error}.",
                remedy="Look at the proxy settings in the environment (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY).",
            ) from error

    async def __aenter__(self) -> HttpClient:
        """
        Open nothing yet: connections are made when first needed.
        """
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """
        Close the connections.
        """
        await self._client.aclose()

    async def get(self, path: str, params: Mapping[str, str]) -> Answer:
        """
        Ask once.

        Args:
            path: Below the base address, with its leading slash.
            params: The query.

        Returns:
            The answer, whatever its status; a 200 with its whole body.

        Raises:
            SourceUnavailable: There was no whole answer: not reached, timed out, cut off, or not decodable.
            SourceShapeChanged: The body is larger than any month can be.
        """
        try:
            url = httpx2.URL(f"{self._base_url}{path}", params=dict(params))
        except httpx2.InvalidURL as error:
            raise ConfigError(
                f"STOPSEARCH_UPSTREAM_URL is no address: {error}.",
                remedy="Write it like https://data.police.uk/api.",
            ) from error
        address = _without_userinfo(str(url))
        try:
            # The client's own timeouts bound each read; a server that drips is bounded only by this one.
            async with asyncio.timeout(self._timeout_s), self._client.stream("GET", url) as response:
                body = await self._read(response, address)
                return Answer(
                    address=address,
                    status=response.status_code,
                    body=body,
                    wire_bytes=response.num_bytes_downloaded,
                    retry_after=response.headers.get("Retry-After"),
                    location=response.headers.get("Location"),
                )
        except (TimeoutError, httpx2.TimeoutException) as error:
            raise SourceUnavailable(
                f"No whole answer from {address} within {self._timeout_s:g} seconds ({type(error).__name__}).",
                remedy="If this goes on, look at the network, or raise STOPSEARCH_REQUEST_TIMEOUT_S.",
            ) from error
        except httpx2.ConnectError as error:
            raise SourceUnavailable(
                f"{address} can't be reached: {error}.",
                remedy="Look at the network, the proxy settings and STOPSEARCH_UPSTREAM_URL.",
            ) from error
        except httpx2.HTTPError as error:
            raise SourceUnavailable(
                f"The answer from {address} broke off or can't be read: {error or type(error).__name__}."
            ) from error

    async def _read(self, response: httpx2.Response, address: str) -> bytes:
        if response.status_code != 200:
            passed = 0
            async for piece in response.aiter_raw():
                passed += len(piece)
                if passed > _MAX_ERROR_BODY_BYTES:
                    break
            return b""
        body = bytearray()
        async for piece in response.aiter_bytes():
            body += piece
            if len(body) > self._max_body_bytes:
                raise SourceShapeChanged(
                    f"The answer from {address} is larger than {self._max_body_bytes} bytes, which no month is.",
                    remedy="Look at the address by hand before anything is brought in from it.",
                )
        return bytes(body)


def _without_userinfo(address: str) -> str:
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
