"""
Whoever holds an answer is told that it still stands, without its being made again, and sees a new revision at once.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from builders.ingests import bring_in, edition
from builders.source_bodies import api_record
from stopsearch.serve.reading import Reading
from stopsearch.store.database import Database

pytestmark = pytest.mark.integration

# One of each kind of route that answers from a snapshot.
ROUTES = ("/v1/stops", "/v1/counts?by=force", "/v1/forces", "/v1/coverage?form=matrix", "/v1/revisions", "/v1/quality")
KEPT = "public, max-age=0, must-revalidate"
FOR_EVER = "public, max-age=31536000, immutable"


@pytest.fixture
def no_reads(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """
    Gives a switch, after which any question but which snapshot is current fails.
    """

    def switch() -> None:
        async def refuse(*_: object, **__: object) -> Any:
            raise AssertionError("an answer was made that the client holds")

        monkeypatch.setattr(Reading, "run", refuse)

    return switch


@pytest.mark.parametrize("route", ROUTES)
def test_what_a_client_holds_is_not_made_again(api: TestClient, no_reads: Callable[[], None], route: str) -> None:
    first = api.get(route)
    assert first.status_code == 200, first.text
    assert first.headers["cache-control"] == KEPT
    assert {"Accept", "Accept-Encoding"} <= set(first.headers["vary"].split(", "))
    no_reads()
    for tag in (first.headers["etag"], '"other", W/' + first.headers["etag"].removeprefix("W/"), "*"):
        again = api.get(route, headers={"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
        assert again.headers["cache-control"] == KEPT


@pytest.mark.parametrize("route", ROUTES)
def test_another_tag_gets_the_answer(api: TestClient, route: str) -> None:
    assert api.get(route, headers={"If-None-Match": '"0123"'}).status_code == 200


@pytest.mark.parametrize("route", ROUTES)
def test_compressed_or_not_it_is_the_same_answer(api: TestClient, route: str) -> None:
    plain = api.get(route, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    with api.stream("GET", route, headers={"Accept-Encoding": "gzip"}) as answer:
        body = b"".join(answer.iter_raw())
        compressed = answer.headers
    if len(plain.content) < 1024:
        assert body == plain.content
        return
    assert compressed["content-encoding"] == "gzip"
    assert gzip.decompress(body) == plain.content
    assert compressed["etag"] == f"W/{plain.headers['etag']}"
    again = api.get(route, headers={"Accept-Encoding": "gzip", "If-None-Match": compressed["etag"]})
    assert (again.status_code, again.headers["etag"]) == (304, compressed["etag"])
    again = api.get(route, headers={"Accept-Encoding": "identity", "If-None-Match": compressed["etag"]})
    assert (again.status_code, again.headers["etag"]) == (304, plain.headers["etag"])


@pytest.mark.parametrize("route", ROUTES)
def test_head_tells_what_get_would(api: TestClient, route: str) -> None:
    got, head = api.get(route), api.head(route)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("etag", "content-type", "cache-control", "stopsearch-snapshot"):
        assert head.headers[name] == got.headers[name]
    assert api.head(route, headers={"If-None-Match": got.headers["etag"]}).status_code == 304


def test_only_the_whole_id_of_a_snapshot_is_kept_for_ever(api: TestClient) -> None:
    snapshot = api.get("/v1/forces").headers["stopsearch-snapshot"]
    assert api.get("/v1/forces", params={"snapshot": snapshot}).headers["cache-control"] == FOR_EVER
    assert api.get("/v1/forces", params={"snapshot": snapshot[:12]}).headers["cache-control"] == KEPT
    served_from = api.get("/v1/forces").headers["stopsearch-served-from"]
    assert api.get("/v1/forces", params={"as_of": served_from}).headers["cache-control"] == KEPT


def test_each_question_has_a_tag_of_its_own(api: TestClient) -> None:
    tags = {api.get(f"/v1/stops?limit={number}").headers["etag"] for number in (1, 2, 3)}
    tags |= {api.get(f"/v1/stops?limit=1&force={force}").headers["etag"] for force in ("durham", "cleveland")}
    assert len(tags) == 5
    same = {
        api.get(f"/v1/stops?{query}").headers["etag"] for query in ("limit=2&sort=datetime", "sort=datetime&limit=2")
    }
    assert len(same) == 1


def test_problems_are_not_kept(api: TestClient) -> None:
    answer = api.get("/v1/stops?colour=red")
    assert (answer.status_code, answer.headers["cache-control"]) == (422, "no-store")
    assert "etag" not in answer.headers


def test_a_new_revision_is_seen_at_once(make_api: Any, database: Database) -> None:
    bring_in(database, edition([api_record()]))
    client = make_api(database)
    for route in ("/v1/stops", "/v1/counts?by=force"):
        before = client.get(route)
        assert client.get(route, headers={"If-None-Match": before.headers["etag"]}).status_code == 304
        assert client.get(route).content == before.content

    bring_in(database, edition([api_record(), api_record(gender="Female")]))
    for route in ("/v1/stops", "/v1/counts?by=force"):
        after = client.get(route, headers={"If-None-Match": before.headers["etag"]})
        assert after.status_code == 200
        assert after.headers["stopsearch-snapshot"] != before.headers["stopsearch-snapshot"]
        pinned = client.get(route, params={"snapshot": before.headers["stopsearch-snapshot"]})
        assert pinned.headers["cache-control"] == FOR_EVER
        assert pinned.headers["stopsearch-snapshot"] == before.headers["stopsearch-snapshot"]
