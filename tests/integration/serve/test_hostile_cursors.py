"""
A cursor goes on in its own question, snapshot, route and database, and nowhere else, however it is changed.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import UUID

import pytest
from starlette.testclient import TestClient

from builders.ingests import settings_for
from builders.refusals import refused
from stopsearch.serve.app import make_app
from stopsearch.serve.cursor import Cursor, write_cursor
from stopsearch.store.database import Database
from stopsearch.store.stop_query import Position

pytestmark = pytest.mark.integration

# A question of each route that has pages.
PAGED = [
    "/v1/stops?limit=1",
    "/v1/stops?limit=1&sort=-datetime",
    "/v1/stops.csv?limit=1",
    "/v1/quality?limit=1",
    "/v1/revisions?limit=1",
    "/v1/revisions?limit=1&live=true",
    "/v1/revisions/durham/2020-02/2/diff?limit=1",
    "/v1/changes?limit=1",
    "/v1/changes/revisions?limit=1",
    "/v1/dead-letters?limit=1",
    "/v1/dead-letters?limit=1&live=true",
]


@dataclass(frozen=True, kw_only=True)
class Given:
    """
    A genuine address of a second page: its path, its query without the cursor, and the cursor.
    """

    path: str
    query: list[tuple[str, str]]
    cursor: str

    def with_cursor(self, cursor: str, **changes: str) -> str:
        """
        Give the address with another cursor, or with other parameters.
        """
        query = {**dict(self.query), **changes, "cursor": cursor}
        return f"{self.path}?{urlencode([(name, value) for name, value in query.items() if value])}"


@pytest.fixture(scope="module")
def api(stocked: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    settings = settings_for(client_requests_per_s=0, data_dir=tmp_path_factory.mktemp("data"))
    with TestClient(make_app(stocked, settings), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def earlier(api: TestClient) -> str:
    """
    The id of the snapshot of before anything was served.
    """
    return api.get("/v1/forces?as_of=2020-01-01").headers["stopsearch-snapshot"]


@pytest.fixture(scope="module")
def given(api: TestClient, earlier: str) -> dict[str, Given]:
    found = {}
    for question in PAGED:
        asked = f"{question}&since={earlier}" if "/changes?" in question else question
        response = api.get(asked)
        assert response.status_code == 200, response.text
        following = response.links["next"]["url"] if ".csv" in question else response.json()["next"]
        if following is None:
            continue
        parts = urlsplit(following)
        pairs = parse_qsl(parts.query)
        found[question] = Given(
            path=parts.path,
            query=[pair for pair in pairs if pair[0] != "cursor"],
            cursor=dict(pairs)["cursor"],
        )
    return found


def test_each_leads_on_in_its_own_question(api: TestClient, given: dict[str, Given]) -> None:
    assert len(given) >= len(PAGED) - 2, "two lists of letters may be of one page"
    for one in given.values():
        assert api.get(one.with_cursor(one.cursor)).status_code == 200


def test_none_leads_on_in_another_question(api: TestClient, given: dict[str, Given]) -> None:
    for question, one in given.items():
        for other_question, other in given.items():
            # Formats are one question in several shapes: of these any cursor leads on in any.
            if question.replace(".csv", "") != other_question.replace(".csv", ""):
                refused(api.get(one.with_cursor(other.cursor)), parameter="cursor")


def test_none_leads_on_where_a_filter_or_a_limit_differs(api: TestClient, given: dict[str, Given]) -> None:
    for one in given.values():
        refused(api.get(one.with_cursor(one.cursor, limit="2")), parameter="cursor")
        if not one.path.endswith("/diff"):
            refused(api.get(one.with_cursor(one.cursor, force="durham")), parameter="cursor")


def test_none_leads_on_in_another_snapshot(api: TestClient, given: dict[str, Given], earlier: str) -> None:
    for question, one in given.items():
        if "/changes/revisions" in question or "live=true" in question:
            continue
        named = "snapshot" if question.startswith("/v1/stops") else "cursor"
        refused(api.get(one.with_cursor(one.cursor, snapshot=earlier)), parameter=named)
        named = "as_of" if question.startswith("/v1/stops") else "cursor"
        refused(api.get(one.with_cursor(one.cursor, snapshot="", as_of="2020-01-01")), parameter=named)


def changed(cursor: str) -> Iterator[str]:
    """
    Give a cursor in many wrong ways.
    """
    signed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    for at in range(0, len(signed), 5):
        flipped = bytes(byte ^ (1 << at % 8) if place == at else byte for place, byte in enumerate(signed))
        yield base64.urlsafe_b64encode(flipped).rstrip(b"=").decode()
    yield from (cursor[:-1], cursor[1:], cursor[:22], cursor[:1], cursor + "A", cursor * 2, cursor[::-1], "A" * 7000)
    yield from (cursor.swapcase(), cursor + "=", cursor + "==", f" {cursor}", f"{cursor}\n", cursor[:9] + "\x00")
    yield from (cursor.replace(cursor[0], "\u0410", 1), "\U0001f600", "null", "0", "-1", "' OR 1=1 --", "\x1b[31m")


def test_a_changed_one_is_refused(api: TestClient, given: dict[str, Given]) -> None:
    for one in given.values():
        for cursor in changed(one.cursor):
            refused(api.get(one.with_cursor(cursor)), parameter="cursor")
        refused(api.get(one.with_cursor(one.cursor) + "&cursor=" + one.cursor), parameter="cursor")
        refused(api.get(one.with_cursor(one.cursor).replace("cursor=", "cursor=&x=")))


@pytest.mark.parametrize("key", [b"", b"\x00" * 32, b"cursors", b"x" * 32])
def test_one_that_is_signed_with_another_key_is_refused(api: TestClient, given: dict[str, Given], key: bytes) -> None:
    one = given["/v1/stops?limit=1"]
    forged = Cursor(
        snapshot=api.get("/v1/stops?limit=1").headers["stopsearch-snapshot"],
        is_descending=False,
        last=Position(at=datetime(2020, 1, 1, tzinfo=UTC), id=UUID(int=0)),
    )
    refused(api.get(one.with_cursor(write_cursor(forged, "limit=1", key))), parameter="cursor")
    own: Any = api.app
    genuine = write_cursor(forged, "limit=1", own.state.cursor_key)
    assert api.get(one.with_cursor(genuine)).status_code == 200, "the key alone tells them apart"


def test_none_leads_on_in_another_database(make_api: Any, database: Database, given: dict[str, Given]) -> None:
    other = make_api(database)
    for question, one in given.items():
        snapshot = other.get("/v1/forces").headers["stopsearch-snapshot"]
        pinned = {"snapshot": snapshot} if dict(one.query).get("snapshot") else {}
        since = {"since": snapshot} if "/changes?" in question else {}
        refused(other.get(one.with_cursor(one.cursor, **pinned, **since)), parameter="cursor")


def test_a_huge_time_in_a_signed_one_is_never_reached(api: TestClient, given: dict[str, Given]) -> None:
    one = given["/v1/stops?limit=1"]
    signed = bytearray(base64.urlsafe_b64decode(one.cursor + "=" * (-len(one.cursor) % 4)))
    signed[50:58] = b"\x7f" + b"\xff" * 7  # later than any calendar
    refused(api.get(one.with_cursor(base64.urlsafe_b64encode(signed).rstrip(b"=").decode())), parameter="cursor")
