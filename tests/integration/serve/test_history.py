"""
`/v1/revisions`, their diffs, and the feed: what had arrived when a snapshot was served, the same for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from builders.ingests import TRIGGER, bring_in, edition, ingest_archives, settings_for
from builders.source_bodies import csv_body
from stopsearch.domain.months import Month
from stopsearch.flows.plan import Wanted
from stopsearch.flows.rebuild import revert
from stopsearch.sample import sample_archives
from stopsearch.store.database import Database

pytestmark = pytest.mark.integration

MakeApi = Callable[..., TestClient]
EARLIER, LATER = sample_archives()
DURHAM = Wanted(forces=("durham",), first=Month(2020, 1), last=Month(2020, 2))


def walk(api: TestClient, url: str | None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while url:
        answer = api.get(url)
        assert answer.status_code == 200, answer.text
        found += answer.json()["data"]
        url = answer.json()["next"]
    return found


def places(entries: list[dict[str, Any]]) -> list[tuple[str, str, int]]:
    return [(entry["force"], entry["month"], entry["revision"]) for entry in entries]


def test_snapshot_tells_what_had_arrived_and_nothing_that_came_later(database: Database, make_api: MakeApi) -> None:
    ingest_archives(database, EARLIER, wanted=DURHAM)
    api = make_api(database)
    before = api.get("/v1/revisions?sort=arrival")
    snapshot = before.json()["meta"]["snapshot"]["id"]
    assert [entry["served_until"] for entry in before.json()["data"]] == [None, None]
    ingest_archives(database, LATER, wanted=DURHAM)
    # Older than what is served, and fetched at a time that lies before anything was: it is kept, and never served.
    bring_in(
        database,
        edition(csv_body({}), month="2020-01", published="2019-01", fetched="2020-02-05"),
    )

    assert api.get(f"/v1/revisions?sort=arrival&snapshot={snapshot}").content == before.content
    now = api.get("/v1/revisions").json()["data"]
    assert sorted(places(now)) == [("durham", f"2020-0{month}", number) for month in (1, 2) for number in (1, 2)]
    assert [entry["is_served"] for entry in now] == [True, True, False, False]
    assert [entry["served_until"] is None for entry in now] == [True, True, False, False]
    # The historic one is told as it is now; of the snapshot, it is not sure whether it came before.
    live = api.get("/v1/revisions?live=true&standing=historic")
    assert places(live.json()["data"]) == [("durham", "2020-01", 3)]
    assert live.headers["cache-control"] == "no-store"
    assert "citation" not in live.json()["meta"]
    assert api.get("/v1/revisions?standing=historic").json()["data"] == []
    revert(database, settings_for(), "durham", Month(2020, 1), to=1, trigger=TRIGGER)
    bring_in(database, edition(csv_body({}, {}), month="2020-01", published="2023-01"))
    assert places(api.get("/v1/revisions?standing=historic").json()["data"]) == [("durham", "2020-01", 3)]
    assert api.get(f"/v1/revisions?sort=arrival&snapshot={snapshot}").content == before.content


def test_since_is_strictly_after_and_a_snapshot_knows_its_own(database: Database, make_api: MakeApi) -> None:
    ingest_archives(database, EARLIER, wanted=DURHAM)
    api = make_api(database)
    snapshot = api.get("/v1/revisions").json()["meta"]["snapshot"]["id"]
    last = api.get("/v1/revisions?limit=1").json()["data"][0]["served_from"]
    ingest_archives(database, LATER, wanted=DURHAM)

    new = [("durham", "2020-01", 2), ("durham", "2020-02", 2)]
    assert sorted(places(api.get(f"/v1/revisions?since={snapshot}").json()["data"])) == new
    assert sorted(places(api.get("/v1/revisions", params={"since": last}).json()["data"])) == new
    assert places(api.get("/v1/revisions?only_changes=true&from=2020-02").json()["data"]) == [new[1]]
    assert api.get("/v1/revisions?cause=revert,replay").json()["data"] == []


@pytest.mark.parametrize("order", ["arrival", "-arrival"])
def test_pages_give_every_revision_once(api: TestClient, order: str) -> None:
    whole = walk(api, f"/v1/revisions?limit=1000&sort={order}")
    assert len(whole) == len(set(places(whole))) == 225
    assert walk(api, f"/v1/revisions?limit=32&sort={order}") == whole
    instants = [entry["served_from"] for entry in whole]
    assert instants == sorted(instants, reverse=order == "-arrival")
    for entry in whole:
        assert entry["received"] == entry["stored"] + entry["rejected"]


def test_nothing_that_changes_is_told_of_a_snapshot(api: TestClient) -> None:
    entry = api.get("/v1/revisions?limit=1").json()["data"][0]
    assert {"body_bytes", "is_current", "confirmed_at", "run_id", "batch_id"}.isdisjoint(entry)


def test_diff_summarises_and_lists_every_stop_that_differs(api: TestClient) -> None:
    first = api.get("/v1/revisions/south-yorkshire/2020-01/2/diff?limit=500").json()
    data = first["data"]
    assert (data["revision"], data["against"]) == (2, 1)
    assert (data["withdrawn"], data["added"], data["kept"]) == (795, 917, 2052 - 795)
    assert data["changed_by_field"][0]["field"] == "officer_defined_ethnicity"
    stops = list(data["stops"])
    assert len(stops) == 500
    url = first["next"]
    while url:
        page = api.get(url).json()
        assert {name: value for name, value in page["data"].items() if name != "stops"} == {
            name: value for name, value in data.items() if name != "stops"
        }
        stops += page["data"]["stops"]
        url = page["next"]
    assert [each["change"] for each in stops].count("withdrawn") == 795
    assert [each["change"] for each in stops].count("added") == 917
    ids = [each["stop"]["id"] for each in stops]
    assert ids == sorted(set(ids))
    back = api.get("/v1/revisions/south-yorkshire/2020-01/1/diff?against=2&limit=1").json()["data"]
    assert (back["added"], back["withdrawn"]) == (795, 917)


def test_stops_of_a_diff_and_of_changes_read_as_those_of_the_list(api: TestClient) -> None:
    listed = api.get("/v1/stops?force=durham&from=2020-02&to=2020-02&limit=1000").json()["data"]
    by_id = {stop["id"]: stop for stop in listed}
    differing = api.get("/v1/revisions/durham/2020-02/2/diff?limit=1000").json()["data"]["stops"]
    added = [each["stop"] for each in differing if each["change"] == "added"]
    assert added == [by_id[stop["id"]] for stop in added]
    assert [list(stop) for stop in added] == [list(by_id[stop["id"]]) for stop in added]
    assert len(added) == 85


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        ("durham/2020-02/9/diff", 404, "unknown_revision"),
        ("durham/2020-02/1/diff", 404, "unknown_revision"),  # nothing was served before it
        ("durham/2020-02/2/diff?against=7", 404, "unknown_revision"),
        ("durhm/2020-02/2/diff", 404, "unknown_force"),
        ("durham/2011-02/1/diff", 404, "unknown_revision"),
        ("durham/2020-13/1/diff", 422, "bad_month"),
        ("durham/2020-02/0/diff", 422, "bad_query"),
        ("durham/2020-02/99999/diff", 422, "bad_query"),
        ("durham/2020-02/2/diff?against=0", 422, "bad_query"),
    ],
)
def test_unknown_revision_is_named(api: TestClient, path: str, status: int, kind: str) -> None:
    answer = api.get(f"/v1/revisions/{path}")
    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{kind}")


@pytest.mark.parametrize(
    "query", ["cause=weather", "standing=old", "sort=force", "since=noon", "since=123456789012345"]
)
def test_query_that_can_not_be_meant(api: TestClient, query: str) -> None:
    answer = api.get(f"/v1/revisions?{query}")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


def test_cursor_belongs_to_its_question_and_its_snapshot(own_stocked: Database, make_api: MakeApi) -> None:
    api = make_api(own_stocked)
    url = api.get("/v1/revisions?limit=3").json()["next"]
    assert api.get(url.replace("limit=3", "limit=4")).json()["type"] == "/problems/bad_cursor"
    cursor = url.partition("cursor=")[2].partition("&")[0]
    for place in range(0, len(cursor), 7):
        forged = cursor[:place] + ("A" if cursor[place] != "A" else "B") + cursor[place + 1 :]
        assert api.get(url.replace(cursor, forged)).status_code == 422
    following = api.get(url).json()["data"]
    bring_in(own_stocked, edition(csv_body({}), month="2025-01"))
    assert api.get(url).json()["data"] == following
    unpinned = api.get(url.partition("&snapshot=")[0])
    assert unpinned.json()["type"] == "/problems/bad_cursor"


def test_feed_tells_each_revision_once_to_whoever_polls(database: Database, make_api: MakeApi) -> None:
    ingest_archives(database, EARLIER, wanted=DURHAM)
    api = make_api(database)
    snapshot = api.get("/v1/snapshots").json()["data"][0]["id"]
    before = api.get("/v1/revisions").content
    seen: list[tuple[str, str, int]] = []
    first = api.get(f"/v1/changes/revisions?since={snapshot}")
    assert first.headers["cache-control"] == "no-store"
    assert first.json()["data"] == []
    poll = first.json()["meta"]["poll"]

    def ask() -> None:
        nonlocal poll
        url = f"{poll}&limit=1"
        while url:
            page = api.get(url).json()
            seen.extend(places(page["data"]))
            url, poll = page["next"], page["meta"]["poll"].replace("limit=1&", "")

    ingest_archives(database, LATER, wanted=DURHAM)
    ask()
    assert sorted(seen) == [("durham", "2020-01", 2), ("durham", "2020-02", 2)]
    ask()
    assert len(seen) == 2
    # The set of before comes back under its old id: the feed tells it all the same.
    revert(database, settings_for(), "durham", Month(2020, 1), trigger=TRIGGER)
    revert(database, settings_for(), "durham", Month(2020, 2), trigger=TRIGGER)
    ask()
    assert seen[2:] == [("durham", "2020-01", 3), ("durham", "2020-02", 3)]
    assert api.get(poll).json()["meta"]["snapshot"]["id"] == snapshot
    assert api.get("/v1/revisions").content == before
    assert len(api.get("/v1/revisions?live=true").json()["data"]) == 2 * 3
