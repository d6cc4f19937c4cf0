"""
`/v1/dead-letters`: what was rejected from what a snapshot serves, letter for letter; and what became of it, live only.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from builders.ingests import bring_in, edition
from builders.source_bodies import api_record, csv_body, json_body
from stopsearch.flows.dead_letters import dismiss
from stopsearch.store.database import Database

pytestmark = pytest.mark.integration

MakeApi = Callable[..., TestClient]

BAD_GENDER: dict[str, Any] = {"gender": "Unknown"}
BAD_BOTH: dict[str, Any] = {"gender": "Unknown", "age_range": "old"}


@pytest.fixture
def rejected(database: Database) -> Database:
    """
    Nine rejected records of two forces and three force-months, among sound ones.
    """
    bring_in(database, edition(csv_body({}, BAD_GENDER, BAD_BOTH, {}, BAD_GENDER)))
    bring_in(database, edition(csv_body(BAD_GENDER, {}, BAD_GENDER), month="2023-08"))
    bring_in(database, edition(csv_body(BAD_BOTH, BAD_GENDER, {}, BAD_GENDER, {"age_range": "old"}), force="kent"))
    return database


def page(api: TestClient, query: str = "") -> dict[str, Any]:
    answer = api.get(f"/v1/dead-letters?{query}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def places(letters: list[dict[str, Any]]) -> list[tuple[str, str, int]]:
    return [(letter["force"], letter["month"], letter["record_number"]) for letter in letters]


PLACES = [
    *(("durham", "2023-07", number) for number in (2, 3, 5)),
    *(("durham", "2023-08", number) for number in (1, 3)),
    *(("kent", "2023-07", number) for number in (1, 2, 4, 5)),
]


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 200])
def test_pages_give_every_one_once(rejected: Database, make_api: MakeApi, limit: int) -> None:
    api = make_api(rejected)
    found: list[dict[str, Any]] = []
    url: str | None = f"/v1/dead-letters?limit={limit}"
    while url:
        answer = api.get(url).json()
        assert len(answer["data"]) <= limit
        assert answer["meta"]["counts"]["letters"] == 9
        found += answer["data"]
        url = answer["next"]
    assert places(found) == PLACES
    assert len({letter["id"] for letter in found}) == 9


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("force=kent", PLACES[5:]),
        ("to=2023-07&force=durham", PLACES[:3]),
        ("rule=age_range_is_known", [("durham", "2023-07", 3), ("kent", "2023-07", 1), ("kent", "2023-07", 5)]),
        ("rule=type_is_given", []),
        ("from=2024-01", []),
    ],
)
def test_filters_choose_records_and_counts_alike(
    rejected: Database, make_api: MakeApi, query: str, expected: list[tuple[str, str, int]]
) -> None:
    api = make_api(rejected)
    for limit in (1, 50):
        found, url = [], f"/v1/dead-letters?{query}&limit={limit}"
        while url:
            answer = api.get(url).json()
            found += answer["data"]
            url = answer["next"]
            counts = answer["meta"]["counts"]
            assert counts["letters"] == sum(counts["by_force"].values()) == len(expected)
        assert places(found) == expected


def test_counts_are_by_rule_and_by_force(rejected: Database, make_api: MakeApi) -> None:
    api = make_api(rejected)
    assert page(api, "limit=1")["meta"]["counts"] == {
        "letters": 9,
        "by_rule": {"age_range_is_known": 3, "gender_is_known": 8},
        "by_force": {"durham": 5, "kent": 4},
    }
    assert page(api, "rule=age_range_is_known")["meta"]["counts"] == {
        "letters": 3,
        "by_rule": {"age_range_is_known": 3},
        "by_force": {"durham": 1, "kent": 2},
    }


def test_says_why_and_gives_the_record_letter_for_letter(database: Database, make_api: MakeApi) -> None:
    # Read and written again, the number and the escape would not be what the publisher wrote.
    odd = json.dumps(api_record(gender="Unknown"))[:-1] + ', "odd": 1.10, "note": "\\u0041"}'
    bring_in(database, edition(f"[{json.dumps(api_record())},{odd}]".encode()))
    with database.connect() as connection:
        [(kept,)] = connection.execute("SELECT raw::text FROM dead_letter").fetchall()
    api = make_api(database)
    answer = api.get("/v1/dead-letters")
    [letter] = answer.json()["data"]
    assert f'"raw":{kept}' in answer.text
    assert letter["raw_bytes"] == len(kept)
    assert kept == odd
    assert [(broken["rule"], broken["column"]) for broken in letter["rejections"]] == [("gender_is_known", "gender")]
    assert f'"raw":{kept}' in api.get(f"/v1/dead-letters/{letter['id']}").text


def test_long_record_is_given_by_its_number_only(database: Database, make_api: MakeApi) -> None:
    long = api_record(gender="Unknown", note="x" * 20_000)
    longer = api_record(gender="Unknown", note="x" * 1_100_000)
    bring_in(database, edition(json_body(api_record(), long, longer)))
    api = make_api(database)
    answer = api.get("/v1/dead-letters")
    assert len(answer.content) < 10_000
    first, second = answer.json()["data"]
    assert (first["raw"], first["is_raw_given"], second["is_raw_given"]) == (None, False, False)
    assert first["raw_bytes"] > 20_000
    one = api.get(f"/v1/dead-letters/{first['id']}").json()["data"]
    assert one["raw"] == long
    # What no sense can be made of is not given on, however it is asked for.
    assert api.get(f"/v1/dead-letters/{second['id']}").json()["data"]["is_raw_given"] is False


def test_what_becomes_of_a_record_is_no_part_of_a_snapshot(rejected: Database, make_api: MakeApi) -> None:
    api = make_api(rejected)
    before = api.get("/v1/dead-letters")
    letter = before.json()["data"][0]
    one = api.get(f"/v1/dead-letters/{letter['id']}")
    assert {"state", "reason", "attempts", "decided_at"}.isdisjoint(letter)

    dismiss(rejected, [letter["id"]], reason="a private word of the operator")

    assert api.get("/v1/dead-letters").content == before.content
    assert api.get(f"/v1/dead-letters/{letter['id']}").content == one.content
    live = api.get("/v1/dead-letters?live=true&state=dismissed")
    assert [(each["id"], each["state"]) for each in live.json()["data"]] == [(letter["id"], "dismissed")]
    assert live.headers["cache-control"] == "no-store"
    assert {"citation", "snapshot"}.isdisjoint(live.json()["meta"])
    assert "private" not in live.text
    assert len(page(api, "live=true")["data"]) == 8
    now = api.get(f"/v1/dead-letters/{letter['id']}?live=true").json()["data"]
    assert (now["state"], now["decided_at"] is None) == ("dismissed", False)


def test_live_pages_give_every_one_once(rejected: Database, make_api: MakeApi) -> None:
    api = make_api(rejected)
    found, url = [], "/v1/dead-letters?live=true&limit=2&rule=gender_is_known"
    while url:
        answer = api.get(url).json()
        found += places(answer["data"])
        url = answer["next"]
    assert sorted(found) == sorted(place for place in PLACES if place != ("kent", "2023-07", 5))


def test_snapshot_has_the_records_of_what_it_serves(rejected: Database, make_api: MakeApi) -> None:
    api = make_api(rejected)
    before = api.get("/v1/dead-letters?force=durham&to=2023-07")
    snapshot = before.json()["meta"]["snapshot"]["id"]
    old = before.json()["data"][0]["id"]
    bring_in(rejected, edition(csv_body({}, {}, BAD_GENDER), published="2100-01"))

    now = page(api, "force=durham&to=2023-07")
    assert places(now["data"]) == [("durham", "2023-07", 3)]
    new = now["data"][0]["id"]
    assert api.get(f"/v1/dead-letters?force=durham&to=2023-07&snapshot={snapshot}").content == before.content
    assert api.get(f"/v1/dead-letters/{old}").json()["data"]["is_served"] is False
    assert api.get(f"/v1/dead-letters/{old}?snapshot={snapshot}").json()["data"]["is_served"] is True
    assert api.get(f"/v1/dead-letters/{new}").json()["data"]["is_served"] is True
    assert api.get(f"/v1/dead-letters/{new}?snapshot={snapshot}").status_code == 404


@pytest.mark.parametrize(
    ("path", "status", "parameter"),
    [
        ("dead-letters/999999", 404, None),
        ("dead-letters/9223372036854775807", 404, None),
        ("dead-letters/9223372036854775808", 422, "letter_id"),
        ("dead-letters/0", 422, "letter_id"),
        ("dead-letters/one", 422, "letter_id"),
        ("dead-letters?rule=age_range_is_now", 422, "rule"),
        ("dead-letters?rule=%27;--", 422, "rule"),
        ("dead-letters?live=true&rule=age_range_is_now", 422, "rule"),
        ("dead-letters?state=open", 422, "state"),
        ("dead-letters?live=true&state=lost", 422, "state"),
        ("dead-letters?live=true&snapshot=000000000000", 422, "snapshot"),
        ("dead-letters?limit=201", 422, "limit"),
        ("dead-letters?cursor=%E2%82%AC", 422, "cursor"),
    ],
)
def test_what_can_not_be_meant_is_named(
    rejected: Database, make_api: MakeApi, path: str, status: int, parameter: str | None
) -> None:
    answer = make_api(rejected).get(f"/v1/{path}")
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    if parameter is not None:
        assert answer.json()["errors"][0]["parameter"] == parameter
