"""
The two clients: blocking, and awaiting.
"""

from __future__ import annotations

from typing import ClassVar, Self
from urllib.parse import urlsplit

from stopsearch.client.errors import BadArgument
from stopsearch.client.line import Line, Patience
from stopsearch.client.query import Instant, pairs_of
from stopsearch.client.questions import Questions
from stopsearch.client.sides import Awaiting, Blocking, shared
from stopsearch.client.transport import AwaitingTransport, BlockingTransport


class _AnyClient(Questions):
    _transport_to: ClassVar[type[BlockingTransport] | type[AwaitingTransport]]

    def __init__(
        self,
        base_url: str,
        *,
        token: str | None = None,
        timeout: float = 60.0,
        snapshot: str | None = None,
        as_of: Instant | None = None,
        tries: int = 5,
        wait_s: float = 60.0,
    ) -> None:
        """
        Make a client; nothing is sent yet.

        Args:
            base_url: Where the server is, say http://127.0.0.1:8000.
            token: The server's token, for bringing data in. It is sent with what needs it, and with nothing else.
            timeout: Seconds that connecting, and each further piece of an answer, may take.
            snapshot: The snapshot that every question is asked of, by its id; none: what is served now.
            as_of: In its place, an instant.
            tries: How often a request is sent at most, where the server is busy (429, 503) or can't be reached.
            wait_s: Seconds that are waited between these, all together. The server's Retry-After is kept to.

        Raises:
            BadArgument: One of these can't be meant.
        """
        address = urlsplit(base_url)
        if address.scheme not in ("http", "https") or not address.hostname or address.query or address.fragment:
            raise BadArgument(f"'{base_url}' is no address of a server. Write it like http://127.0.0.1:8000.")
        if snapshot is not None and as_of is not None:
            raise BadArgument("A snapshot and an instant can't both be asked of. Leave one of the two out.")
        self.line = Line(
            transport=self._transport_to(base_url, timeout),
            patience=Patience(tries=tries, wait_s=wait_s),
            token=token,
            moment=pairs_of({"snapshot": snapshot, "as_of": as_of}),
        )

    @shared
    async def close(self) -> None:
        """
        Close the connections.
        """
        await self.line.transport.close()


class Client(_AnyClient, Blocking):
    """
    Asks one server, and waits for its answers. Use it as a context manager, or close it.

    One client may be used by several threads; the rows of one answer may not.
    """

    _transport_to = BlockingTransport

    def __enter__(self) -> Self:
        """
        Give itself.
        """
        return self

    def __exit__(self, *_: object) -> None:
        """
        Close the connections.
        """
        self.close()


class AsyncClient(_AnyClient, Awaiting):
    """
    What `Client` is, on an event loop: every question is awaited.
    """

    _transport_to = AwaitingTransport

    async def __aenter__(self) -> Self:
        """
        Give itself.
        """
        return self

    async def __aexit__(self, *_: object) -> None:
        """
        Close the connections.
        """
        await self.close()
