"""
The cheapest handler of a page: what answers with the same bytes from the same query and does nothing else.

A bare ASGI application: no framework, no query to read, no limits, no conditional answers, no compression, no check
that the snapshot is still current. Positions are known beforehand; it asks, writes the rows, and sends them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import uvicorn
from psycopg_pool import AsyncConnectionPool

from bench.databases import database_at
from bench.pages import Place, read_places
from bench.settings import server_settings
from stopsearch.domain.filters import StopFilter
from stopsearch.flows.find_stops import Pages
from stopsearch.serve.slow_clients import uvicorn_options
from stopsearch.store.snapshots import current_snapshot

PAGE_STOPS = 100


class Cheapest:
    """
    The application; `places` are the positions that can be asked for by their number, with what ends their answer.
    """

    def __init__(self, conninfo: str, places: list[Place]) -> None:
        with database_at(conninfo).connect(autocommit=True) as connection:
            snapshot, _ = current_snapshot(connection)
        self._pages = Pages(snapshot, StopFilter(), limit=PAGE_STOPS, is_descending=True)
        self._places = places
        self._pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
            conninfo, min_size=8, max_size=8, open=False, kwargs={"autocommit": True}
        )

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """
        Answer one request.
        """
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        place = self._places[int(scope["path"].rpartition("/")[2])]
        async with self._pool.connection() as connection:
            _, page = await self._pages.find_current(connection, place.position)
        rows = page.words.json_rows(page.rows)
        body = f'{{"data":[{",".join(rows)}{place.ending}'.encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _live(self, receive: Any, send: Any) -> None:
        await receive()
        await self._pool.open(wait=True)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._pool.close()
        await send({"type": "lifespan.shutdown.complete"})


def main() -> None:
    """
    Serve: the database's address, the file of places, and the port are given.
    """
    conninfo, places, port = sys.argv[1:]
    application = Cheapest(conninfo, read_places(Path(places)))
    uvicorn.run(application, host="127.0.0.1", port=int(port), log_level="error", **uvicorn_options(server_settings()))


if __name__ == "__main__":
    main()
