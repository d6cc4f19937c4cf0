"""
`/v1/changes`: applied to a copy of one snapshot, its pages give exactly the other, as JSON and as JSON lines.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from builders.ingests import bring_in, edition
from builders.source_bodies import csv_body
from stopsearch.store.database import Database

pytestmark = pytest.mark.integration

MakeApi = Callable[..., TestClient]
Stops = dict[str, dict[str, Any]]


def stops_of(api: TestClient, snapshot: str) -> Stops:
    url: str | None = f"/v1/stops?limit=1000&snapshot={snapshot}&force=durham,south-yorkshire"
    found: Stops = {}
    while url:
        page = api.get(url).json()
        found |= {stop["id"]: stop for stop in page["data"]}
        url = page["next"]
    return found


def walk(api: TestClient, url: str | None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while url:
        page = api.get(url).json()
        found += page["data"]
        url = page["next"]
    return found


def apply(stops: Stops, changes: list[dict[str, Any]]) -> Stops:
    copy = dict(stops)
    for change in changes:
        if change["change"] == "withdrawn":
            assert copy.pop(change["stop"]["id"]) == change["stop"]
    for change in changes:
        if change["change"] == "added":
            assert change["stop"]["id"] not in copy
            copy[change["stop"]["id"]] = change["stop"]
    return copy


@pytest.fixture
def two(own_stocked: Database, make_api: MakeApi) -> tuple[TestClient, str, str]:
    api = make_api(own_stocked)
    old = api.get("/v1/coverage").json()["meta"]["snapshot"]["id"]
    usual = {"datetime": "2020-02-11T10:00:00+00:00"}
    bring_in(own_stocked, edition(csv_body(usual, usual), month="2020-02", published="2023-01"))
    bring_in(own_stocked, edition(csv_body(usual), month="2025-01", force="south-yorkshire", published="2025-02"))
    new = api.get("/v1/coverage").json()["meta"]["snapshot"]["id"]
    return api, old, new


@pytest.mark.parametrize("limit", [7, 1000])
def test_changes_lead_from_the_one_to_the_other_and_back(two: tuple[TestClient, str, str], limit: int) -> None:
    api, old, new = two
    before, after = stops_of(api, old), stops_of(api, new)
    there = walk(api, f"/v1/changes?since={old}&limit={limit}")
    assert apply(before, there) == after
    assert len(there) == 135 + 2 + 1
    back = walk(api, f"/v1/changes?since={new}&snapshot={old}&limit={limit}")
    assert apply(after, back) == before
    assert walk(api, f"/v1/changes?since={new}") == []


def test_lines_say_the_same_and_link_to_the_next_page(two: tuple[TestClient, str, str]) -> None:
    api, old, new = two
    expected = walk(api, f"/v1/changes?since={old}&limit=50")
    for url, accept in (
        (f"/v1/changes.ndjson?since={old}&limit=50", "*/*"),
        (f"/v1/changes?since={old}&limit=50", "application/x-ndjson"),
    ):
        found: list[dict[str, Any]] = []
        following: str | None = url
        while following:
            answer = api.get(following, headers={"Accept": accept})
            assert answer.headers["content-type"].startswith("application/x-ndjson")
            assert answer.headers["stopsearch-snapshot"] == new
            found += [json.loads(line) for line in answer.text.splitlines()]
            following = answer.links["next"]["url"] if "next" in answer.links else None
        assert found == expected


def test_same_two_snapshots_give_the_same_bytes(
    two: tuple[TestClient, str, str], own_stocked: Database, make_api: MakeApi
) -> None:
    api, old, new = two
    url = f"/v1/changes?since={old}&snapshot={new}&limit=20"
    first = api.get(url)
    bring_in(own_stocked, edition(csv_body({}), month="2020-02", published="2024-01"))
    assert api.get(url).content == first.content
    assert make_api(own_stocked).get(url).content == first.content
    told = api.get(url, headers={"If-None-Match": first.headers["etag"]})
    assert (told.status_code, told.content) == (304, b"")


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("", "since"),
        ("since=2020-01-01", "since"),
        ("since=abc", "since"),
        ("since=000000000000&limit=1001", "limit"),
        ("since=000000000000&type=Arrest", "type"),
    ],
)
def test_query_that_can_not_be_meant(api: TestClient, query: str, parameter: str) -> None:
    answer = api.get(f"/v1/changes?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["parameter"] == parameter


def test_unknown_snapshot_is_named(api: TestClient) -> None:
    answer = api.get("/v1/changes?since=000000000000")
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/unknown_snapshot")
