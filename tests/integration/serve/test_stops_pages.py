"""
Pages of stops: walks that miss nothing and repeat nothing, whatever comes in meanwhile, and cursors that can't be bent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.testclient import TestClient

from builders.ingests import bring_in, edition
from builders.plain_stops import PlainStops, read_plain_stops
from builders.standin import make_api_record
from builders.walks import pages_of, walk
from stopsearch.serve.reading import Reading
from stopsearch.store.database import Database
from stopsearch.store.snapshots import current_snapshot

pytestmark = pytest.mark.integration

MakeApi = Callable[..., TestClient]


@pytest.fixture(scope="module")
def plain(stocked: Database) -> PlainStops:
    return read_plain_stops(stocked)


@pytest.mark.parametrize("limit", ["1", "7", "999", "1000"])
@pytest.mark.parametrize("sort", ["datetime", "-datetime"])
@pytest.mark.parametrize("forces", ["durham", "durham,south-yorkshire", ""])
def test_a_walk_gives_every_stop_once_in_order(
    api: TestClient, plain: PlainStops, limit: str, sort: str, forces: str
) -> None:
    query = {"datetime_from": "2020-01-30", "datetime_before": "2020-02-02", **({"force": forces} if forces else {})}
    expected = plain.ids(query, is_descending=sort == "-datetime")
    assert len(expected) > 7
    assert walk(api, {**query, "limit": limit, "sort": sort}) == expected


def test_a_walk_over_everything_gives_everything(api: TestClient, plain: PlainStops) -> None:
    assert walk(api, {}) == plain.ids({})


def test_a_last_page_that_is_full_has_no_next(api: TestClient, plain: PlainStops) -> None:
    query = {"force": "durham", "from": "2020-02", "to": "2020-02"}
    count = len(plain.ids(query))
    page = api.get("/v1/stops", params={**query, "limit": str(count)}).json()
    assert (len(page["data"]), page["next"]) == (count, None)
    page = api.get("/v1/stops", params={**query, "limit": str(count - 1)}).json()
    assert page["next"] is not None
    assert [len(each["data"]) for each in pages_of(api, {**query, "limit": str(count - 1)})] == [count - 1, 1]


def _records(day: int, count: int, **fields: Any) -> list[dict[str, Any]]:
    return [
        make_api_record(datetime=f"2023-07-{day:02d}T{hour:02d}:00:00+00:00", **fields)
        for hour in range(count)
        for _ in range(2)  # repeats at one instant: only the id tells them apart
    ]


@pytest.mark.parametrize("sort", ["datetime", "-datetime"])
@pytest.mark.parametrize("force", ["durham", "durham,kent", ""])
def test_what_comes_in_during_a_walk_neither_hides_nor_repeats_a_stop(
    database: Database, make_api: MakeApi, sort: str, force: str
) -> None:
    """
    Between the pages the publisher takes stops back, changes some, adds others before and behind, and a month comes.
    """
    editions = [
        _records(10, 12),
        _records(9, 6) + _records(10, 6) + _records(11, 6),
        _records(10, 12, gender="Female"),
        _records(8, 3),
        _records(10, 12),
    ]
    bring_in(database, edition(editions[0]), edition(_records(10, 3), force="kent"))
    api = make_api(database)
    query = {"limit": "5", "sort": sort, **({"force": force} if force else {})}
    expected = read_plain_stops(database).ids({"force": force} if force else {}, is_descending=sort == "-datetime")
    found: list[str] = []
    snapshots = set()
    coming = iter(
        [
            [edition(editions[1])],
            [edition(editions[2]), edition(_records(10, 2), force="kent")],
            [edition(_records(10, 8), month="2023-06"), edition(_records(10, 8), force="essex")],
            [edition(editions[3])],
            [edition(editions[4])],
        ]
    )
    for page in pages_of(api, query):
        found += [stop["id"] for stop in page["data"]]
        snapshots.add(page["meta"]["snapshot"]["id"])
        bring_in(database, *next(coming, []))
    assert next(coming, None) is None
    assert found == expected
    assert len(snapshots) == 1
    # A new walk, and no other, sees what came.
    now = read_plain_stops(database).ids({"force": force} if force else {}, is_descending=sort == "-datetime")
    assert walk(api, query) == now
    assert now != expected


def test_a_new_revision_is_served_at_once(database: Database, make_api: MakeApi) -> None:
    bring_in(database, edition(_records(10, 2)))
    api = make_api(database)
    first = api.get("/v1/stops").json()
    bring_in(database, edition(_records(11, 3)))
    second = api.get("/v1/stops").json()
    assert (len(first["data"]), len(second["data"])) == (4, 6)
    assert first["meta"]["snapshot"] != second["meta"]["snapshot"]
    # Also where the new page holds nothing, or where it is only told by numbers.
    assert api.get("/v1/stops", params={"datetime_before": "2023-07-11"}).json()["data"] == []
    bring_in(database, edition(_records(12, 1)))
    empty = api.get("/v1/stops", params={"datetime_before": "2023-07-11"}).json()
    assert empty["meta"]["snapshot"]["id"] not in (first["meta"]["snapshot"]["id"], second["meta"]["snapshot"]["id"])
    bring_in(database, edition(_records(13, 2)))
    assert len(api.get("/v1/stops", params={"revision_state": "restated"}).json()["data"]) == 4


def test_a_page_is_of_the_snapshot_that_it_names(
    database: Database, make_api: MakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A revision arrives between the look at the snapshot and the page: each page is all of one, and says which.
    """
    bring_in(database, edition(_records(10, 3)))
    api = make_api(database)
    first = api.get("/v1/stops").json()
    refresh, coming = Reading.current, iter(range(11, 31))

    async def refresh_and_then_change(self: Reading, seen: int | None = None) -> Any:
        found = await refresh(self, seen)
        day = next(coming, None)
        if day is not None:
            await _in_thread(lambda: bring_in(database, edition(_records(day, day - 9))))
        return found

    monkeypatch.setattr(Reading, "current", refresh_and_then_change)
    bring_in(database, edition(_records(9, 1)))
    page = api.get("/v1/stops").json()
    assert page["meta"]["snapshot"]["id"] != first["meta"]["snapshot"]["id"]
    monkeypatch.undo()
    again = api.get("/v1/stops", params={"snapshot": page["meta"]["snapshot"]["id"]}).json()
    assert (again["data"], again["meta"]["snapshot"]) == (page["data"], page["meta"]["snapshot"])


async def _in_thread(call: Callable[[], object]) -> None:
    await asyncio.to_thread(call)


def test_older_snapshots_stay_as_they_were(database: Database, make_api: MakeApi) -> None:
    """
    By id, by instant, and by a shortened id: the same bytes as when it was current.
    """
    api = make_api(database)
    kept = []
    for records in (_records(10, 4), _records(10, 2) + _records(12, 1), [], _records(10, 4, gender=None)):
        bring_in(database, edition(records), edition(records[:2], force="kent"))
        plain = read_plain_stops(database)
        pinned = f"/v1/stops?snapshot={_snapshot_of(database)}&limit=3"
        kept.append((pinned, api.get(pinned).content, plain.ids({}), api.get("/v1/stops").json()["meta"]["snapshot"]))
    for pinned, content, ids, snapshot in kept:
        assert api.get(pinned).content == content
        assert walk(api, {"snapshot": snapshot["id"], "limit": "3"}) == ids
        assert walk(api, {"snapshot": snapshot["id"][:16]}) == ids
        assert walk(api, {"as_of": snapshot["served_from"]}) == ids


def _snapshot_of(database: Database) -> str:
    with database.connect(autocommit=True) as connection:
        return current_snapshot(connection)[0].id


_OTHER_MONTHS = ("2022-12", "2023-05", "2023-06", "2023-08", "2024-09")


def test_a_snapshot_knows_nothing_of_other_months(database: Database, make_api: MakeApi) -> None:
    """
    Months before, after and between those of a snapshot have no place in its array, and must not take another's.
    """
    api = make_api(database)
    bring_in(database, edition(_records(10, 2), month="2023-07"), edition(_records(10, 3), force="kent"))
    old = api.get("/v1/stops").json()
    others = [(force, month) for force in ("durham", "kent", "essex", "btp") for month in _OTHER_MONTHS]
    bring_in(database, *(edition(_records(10, 2), force=force, month=month) for force, month in others))
    again = api.get("/v1/stops", params={"snapshot": old["meta"]["snapshot"]["id"]}).json()
    assert again["data"] == old["data"]


def test_stops_that_go_and_come_back_are_counted_once(database: Database, make_api: MakeApi) -> None:
    """
    A stop that came back is not withdrawn; one that went twice is told once.
    """
    api = make_api(database)
    there, gone = _records(10, 2), _records(11, 1)
    counts = []
    for records in (there, gone, there + _records(12, 1), gone + _records(13, 1)):
        bring_in(database, edition(records))
        plain = read_plain_stops(database)
        withdrawn = walk(api, {"revision_state": "withdrawn"})
        assert withdrawn == plain.ids({"revision_state": "withdrawn"})
        assert walk(api, {"revision_state": "restated"}) == plain.ids({"revision_state": "restated"})
        counts.append(len(withdrawn))
    assert counts == [0, 4, 2, 6]


def test_a_snapshot_that_comes_back_is_told_as_it_was_first(database: Database, make_api: MakeApi) -> None:
    """
    The same id gives the same bytes: also of what was withdrawn, though more was withdrawn by the second time.
    """
    api = make_api(database)
    answers = []
    for records in (_records(10, 2), _records(11, 1), _records(10, 2)):
        bring_in(database, edition(records))
        answers.append([api.get("/v1/stops", params=query).json() for query in ({}, {"revision_state": "withdrawn"})])
    assert answers[0] == answers[2]
    assert len(answers[1][1]["data"]) == 4


def test_a_cursor_is_bound_to_its_query(api: TestClient) -> None:
    query = {"limit": "5", "force": "durham"}
    following = api.get("/v1/stops", params=query).json()["next"]
    [word] = parse_qs(urlsplit(following).query)["cursor"]
    for changed in (
        {"limit": "6", "force": "durham"},
        {"limit": "5", "force": "kent"},
        {"limit": "5"},
        {**query, "sort": "-datetime"},
        {**query, "gender": "Male"},
        {**query, "fields": "id"},
    ):
        answer = api.get("/v1/stops", params={**changed, "cursor": word})
        assert (answer.status_code, answer.json()["type"]) == (422, "/problems/bad_cursor"), changed
        assert "another query" in answer.json()["detail"]
    assert api.get("/v1/stops", params={"force": "durham", "limit": "5", "cursor": word}).status_code == 200
    for moment in ({"snapshot": "0" * 64}, {"as_of": "2026-01-01T00:00:00Z"}):
        answer = api.get("/v1/stops", params={**query, "cursor": word, **moment})
        assert (answer.status_code, answer.json()["type"]) == (422, "/problems/bad_cursor")
        assert "next" in answer.json()["remedy"]


def test_a_cursor_may_stand_anywhere_and_be_spelt_in_any_way(api: TestClient) -> None:
    """
    What was read of one query is kept for the next page: never with another page's cursor.
    """
    page = api.get("/v1/stops", params={"limit": "5"}).json()
    [word] = parse_qs(urlsplit(page["next"]).query)["cursor"]
    second = api.get(page["next"]).json()
    assert second["data"] != page["data"]
    for query in (
        f"cursor={word}&limit=5",
        f"limit=5&%63ursor={word}",
        f"limit=5&cursor={word}",
        f"limit=5&&cursor={word}",
    ):
        for _ in range(2):
            assert api.get(f"/v1/stops?{query}").json()["data"] == second["data"], query
        assert api.get("/v1/stops?limit=5").json()["data"] == page["data"]
    for query in (
        f"limit=5&xcursor={word}",
        f"limit=5cursor={word}",
        f"limit=5&cursor={word}&cursor={word}",
        f"cursor={word}&cursor=&limit=5",
    ):
        for _ in range(2):
            assert api.get(f"/v1/stops?{query}").status_code == 422, query


def test_forged_cursors_are_refused(api: TestClient) -> None:
    following = api.get("/v1/stops", params={"limit": "5"}).json()["next"]
    [word] = parse_qs(urlsplit(following).query)["cursor"]
    flipped = [word[:at] + ("A" if word[at] != "A" else "B") + word[at + 1 :] for at in range(0, len(word), 7)]
    for forged in (*flipped, "", "x", word[:-1], word + "A", word + "=", word * 2, "é" * 20, "' OR 1=1 --", "0" * 400):
        answer = api.get("/v1/stops", params={"limit": "5", "cursor": forged})
        assert answer.status_code == 422, forged
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["errors"][0]["parameter"] == "cursor"


def test_a_cursor_of_another_server_is_refused(
    api: TestClient, make_api: MakeApi, own_stocked: Database, stocked: Database
) -> None:
    with own_stocked.connect(autocommit=True) as connection:
        connection.execute("DELETE FROM server_key")
    other = make_api(own_stocked)
    following = other.get("/v1/stops", params={"limit": "5"}).json()["next"]
    assert other.get(following).status_code == 200
    assert api.get(following).status_code == 422


def test_servers_of_one_database_share_cursors(api: TestClient, make_api: MakeApi, stocked: Database) -> None:
    following = api.get("/v1/stops", params={"limit": "5"}).json()["next"]
    assert make_api(stocked).get(following).json()["data"] == api.get(following).json()["data"]


_COUNTED: tuple[dict[str, str], ...] = (
    {},
    {"force": "durham"},
    {"gender": "Female"},
    {"near": "52.6369,-1.1398", "radius_m": "500"},
    {"doubled": "true", "from": "2019-02"},
    {"revision_state": "withdrawn"},
    {"revision_state": "restated", "age_range": "none"},
)


def test_totals_are_of_all_pages(api: TestClient, plain: PlainStops) -> None:
    for query in _COUNTED:
        page = api.get("/v1/stops", params={**query, "total": "true", "limit": "1"}).json()
        assert page["meta"]["total"]["stops"] == len(plain.ids(query))
        assert api.get(page["next"]).json()["meta"]["total"] == page["meta"]["total"]
        assert "total" not in api.get("/v1/stops", params={**query, "total": "false", "limit": "1"}).json()["meta"]


def test_pages_can_be_asked_after(api: TestClient) -> None:
    first = api.get("/v1/stops", params={"limit": "3"})
    assert first.headers["cache-control"] == "public, max-age=0, must-revalidate"
    assert first.headers["stopsearch-snapshot"] == first.json()["meta"]["snapshot"]["id"]
    for address, held in ((first.url, first), (first.json()["next"], api.get(first.json()["next"]))):
        again = api.get(str(address), headers={"If-None-Match": held.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert "immutable" in api.get(first.json()["next"]).headers["cache-control"]
    other = api.get("/v1/stops.csv", params={"limit": "3"}, headers={"If-None-Match": first.headers["etag"]})
    assert other.status_code == 200


def test_asking_after_a_page_sees_a_new_revision(database: Database, make_api: MakeApi) -> None:
    bring_in(database, edition(_records(10, 2)))
    api = make_api(database)
    first = api.get("/v1/stops")
    bring_in(database, edition(_records(11, 3)))
    again = api.get("/v1/stops", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, len(again.json()["data"])) == (200, 6)


def test_next_is_a_whole_address_with_the_same_query(api: TestClient) -> None:
    query = {"force": "durham", "limit": "2", "object_of_search": "Goods on which duty has not been paid etc."}
    page = api.get("/v1/stops", params={"limit": "2", "sort": "-datetime", "force": ["kent", "durham"]}).json()
    asked = parse_qs(urlsplit(page["next"]).query)
    assert page["next"].startswith("http://stops.test/v1/stops?")
    assert asked.keys() == {"limit", "sort", "force", "cursor"}
    assert sorted(asked["force"]) == ["durham", "kent"]
    assert api.get("/v1/stops", params=query).status_code == 200


def test_json_is_the_same_for_the_same_snapshot(api: TestClient) -> None:
    """
    Whether it is told as what is current, or by the numbers of its revisions.
    """
    query = {"force": "south-yorkshire,durham", "from": "2020-01", "limit": "500"}
    current = api.get("/v1/stops", params=query).json()
    pinned = api.get("/v1/stops", params={**query, "snapshot": current["meta"]["snapshot"]["id"]}).json()
    assert current["data"] == pinned["data"]
