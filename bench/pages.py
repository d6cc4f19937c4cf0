"""
A page of 100 stops, newest first, near the first stop and near the 1,900,000th: beside the cheapest handler that gives
the same bytes from the same query, and beside datasette on SQLite.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.request import urlopen
from uuid import UUID

from bench import datasette
from bench.databases import database_at
from bench.free_port import free_port
from bench.http_load import ask, database_beside_load, peak_rss_mb, server
from bench.report import Figure, Part, median, spread
from bench.rounds import Sizes, in_turns
from bench.settings import server_environment
from stopsearch.serve.cursor import Cursor, write_cursor
from stopsearch.store.server_key import cursor_key
from stopsearch.store.snapshots import current_snapshot
from stopsearch.store.stop_query import Position

QUERY = "/v1/stops?limit=100&sort=-datetime"
_CANONICAL = "limit=100&sort=-datetime"
_END_OF_ROWS = '}],"next":'
_CONNECTIONS = 8
_PLACES = 400
_DEEP = 1_900_000
_RIVALS = ("ours", "cheapest", "datasette")

_NEAR = """
    SELECT datetime, id FROM stop WHERE withdrawn_revision IS NULL
    ORDER BY datetime DESC, id DESC OFFSET %s LIMIT 4000
"""
_ANYWHERE = """
    SELECT datetime, id FROM stop WHERE withdrawn_revision IS NULL AND %s::integer IS NULL
    ORDER BY decode(md5(id::text), 'hex') LIMIT 4000
"""
_SEED = 20261124


@dataclass(frozen=True, kw_only=True)
class Place:
    """
    Where one page begins: after which stop, the path that asks for it, and what stands behind its rows in the answer.
    """

    position: Position
    path: str
    ending: str


def find_places(conninfo: str, url: str, *, depth: int | None) -> list[Place]:
    """
    Find some places near a depth, or anywhere (None), and what the server answers for each behind its rows.
    """
    with database_at(conninfo).connect(autocommit=True) as connection:
        key, snapshot = cursor_key(connection), current_snapshot(connection)[0]
        rows = connection.execute(_ANYWHERE if depth is None else _NEAR, [depth]).fetchall()
    places = []
    for at, stop_id in random.Random(_SEED + (depth or 0)).sample(rows, min(_PLACES, len(rows))):
        position = Position(at=at, id=stop_id)
        cursor = Cursor(snapshot=snapshot.id, is_descending=True, last=position)
        path = f"{QUERY}&cursor={write_cursor(cursor, _CANONICAL, key)}"
        body = _body(url + path)
        places.append(Place(position=position, path=path, ending=body[body.index(_END_OF_ROWS) + 1 :]))
    return places


def _body(url: str) -> str:
    with urlopen(url) as answer:
        text: str = answer.read().decode()
    return text


def write_places(places: Sequence[Place], path: Path) -> Path:
    """
    Write places to a file, for another process.
    """
    path.write_text(
        json.dumps(
            [
                {
                    "at": each.position.at.isoformat(),
                    "id": str(each.position.id),
                    "path": each.path,
                    "ending": each.ending,
                }
                for each in places
            ]
        )
    )
    return path


def read_places(path: Path) -> list[Place]:
    """
    Read them again.
    """
    return [
        Place(
            position=Position(at=datetime.fromisoformat(each["at"]), id=UUID(each["id"])),
            path=each["path"],
            ending=each["ending"],
        )
        for each in json.loads(path.read_text())
    ]


_WHERE = {"first": "at page 1", "deep": "at row 1,900,000", "anywhere": "anywhere"}


def run(conninfo: str, work: Path, sizes: Sizes) -> Part:
    """
    Run the rivals in turns, each as one process on one core.
    """
    depths = {"first": 0, "deep": min(_DEEP, max(sizes.stocked_rows - 10_000, 0)), "anywhere": None}
    file = datasette.write_sqlite(conninfo, work / "stops.db")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    ours = [sys.executable, "-m", "stopsearch", "serve", "--port", str(port)]
    # No answer is kept: every page is found and written anew.
    environment = server_environment(conninfo, work / "served", page_cache_mb="0")
    with server(ours, f"{url}/health/live", **environment):
        places = {name: find_places(conninfo, url, depth=depth) for name, depth in depths.items()}
    listed = write_places([each for found in places.values() for each in found], work / "places.json")
    _check_same_bytes(conninfo, listed, ours, environment, port, places)

    def case(rival: str, depth: str) -> Callable[[], dict[str, Any]]:
        command, env, paths = {
            "ours": (ours, environment, [each.path for each in places[depth]]),
            "cheapest": (
                [sys.executable, "-m", "bench.cheapest", conninfo, str(listed), str(port)],
                {},
                [f"/{number}" for number in _numbers(places, depth)],
            ),
            "datasette": (
                datasette.command(file, port),
                {},
                datasette.page_paths([each.position for each in places[depth]]),
            ),
        }[rival]

        def measure() -> dict[str, Any]:
            with server(command, url + paths[0], **env) as pid:
                ask(url, paths, work, connections=_CONNECTIONS, seconds=1)  # plans, pools and caches are warm
                load = ask(url, paths, work, connections=_CONNECTIONS, seconds=sizes.load_seconds)
                return {**vars(load), "peak_rss_mb": peak_rss_mb(pid)}

        return measure

    cases = {f"{rival} {depth}": case(rival, depth) for rival in _RIVALS for depth in depths}
    with database_beside_load(conninfo):
        rounds = in_turns(cases, sizes.serve_rounds)
    return _part(rounds, list(cases), sizes)


def _numbers(places: dict[str, list[Place]], depth: str) -> range:
    names = list(places)
    start = sum(len(places[name]) for name in names[: names.index(depth)])
    return range(start, start + len(places[depth]))


def _check_same_bytes(
    conninfo: str, listed: Path, ours: list[str], environment: dict[str, str], port: int, places: dict[str, list[Place]]
) -> None:
    """
    Make sure that the cheapest handler answers with the same bytes.
    """
    url = f"http://127.0.0.1:{port}"
    some = [places["first"][0], places["deep"][0]]
    with server(ours, f"{url}/health/live", **environment):
        wanted = [_body(url + place.path) for place in some]
    cheapest = [sys.executable, "-m", "bench.cheapest", conninfo, str(listed), str(port)]
    with server(cheapest, f"{url}/0"):
        found = [_body(f"{url}/{number}") for number in (0, len(places["first"]))]
    if wanted != found:
        raise RuntimeError("The cheapest handler gives other bytes than the server: it is no rival of the same page.")


def _part(rounds: list[dict[str, dict[str, Any]]], names: list[str], sizes: Sizes) -> Part:
    def ratios(one: str, other: str) -> list[float]:
        return [found[one]["requests_per_s"] / found[other]["requests_per_s"] for found in rounds]

    first, deep = ratios("ours first", "cheapest first"), ratios("ours deep", "cheapest deep")
    depths = ratios("ours deep", "ours first")
    over_datasette = {depth: ratios(f"ours {depth}", f"datasette {depth}") for depth in ("first", "deep", "anywhere")}
    return Part(
        name="pages",
        title=f"A page of 100 stops of {sizes.stocked_rows:,}: one process, {_CONNECTIONS} connections, "
        f"{len(rounds)} rounds of {sizes.load_seconds} s",
        rounds=rounds,
        columns=("case", "requests/s", "median ms", "p99 ms", "MB/s", "peak MB"),
        lines=[
            (
                name,
                f"{median([found[name]['requests_per_s'] for found in rounds]):,.0f}",
                f"{median([found[name]['median_ms'] for found in rounds]):.1f}",
                f"{median([found[name]['p99_ms'] for found in rounds]):.1f}",
                f"{median([found[name]['bytes_per_s'] for found in rounds]) / 2**20:.1f}",
                f"{max(found[name]['peak_rss_mb'] for found in rounds):.0f}",
            )
            for name in names
        ],
        figures=[
            Figure("page 1 over the cheapest handler", median(first), at_least=0.70),
            Figure("row 1,900,000 over the cheapest handler", median(deep), at_least=0.70),
            Figure("row 1,900,000 over page 1", median(depths), at_least=0.75),
            Figure("page 1 over datasette", median(over_datasette["first"]), at_least=6),
            Figure("a page anywhere over datasette", median(over_datasette["anywhere"]), at_least=6),
        ],
        notes=[
            f"Over the cheapest handler: {spread(first)} at page 1, {spread(deep)} at row 1,900,000. "
            f"Row 1,900,000 over page 1: {spread(depths)}. Over datasette: "
            + ", ".join(f"{spread(found)} {_WHERE[depth]}" for depth, found in over_datasette.items())
            + "."
        ],
    )
