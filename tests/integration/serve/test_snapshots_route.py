"""
`/v1/snapshots`: every id that was given out, the same for ever, and made again from what the answer names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from builders.ingests import bring_in, edition
from builders.source_bodies import csv_body
from stopsearch.store.database import Database

pytestmark = pytest.mark.integration

MakeApi = Callable[..., TestClient]


def test_lists_the_newest_first_and_tells_which_is_current(database: Database, make_api: MakeApi) -> None:
    api = make_api(database)
    ids = []
    for count in range(1, 6):
        bring_in(database, edition(csv_body(*[{}] * count), published=f"2023-{count:02}"))
        ids.append(api.get("/v1/coverage").json()["meta"]["snapshot"]["id"])

    answer = api.get("/v1/snapshots?limit=2")
    walked = [answer.json()]
    while walked[-1]["next"]:
        walked.append(api.get(walked[-1]["next"]).json())

    assert [len(page["data"]) for page in walked] == [2, 2, 1]
    listed = [kept for page in walked for kept in page["data"]]
    assert [kept["id"] for kept in listed] == ids[::-1]
    assert [kept["stops"] for kept in listed] == [5, 4, 3, 2, 1]
    assert [kept["current"] for kept in listed] == [True, False, False, False, False]
    assert answer.headers["cache-control"] == "no-store"


def test_one_is_the_same_whatever_comes_after(database: Database, make_api: MakeApi) -> None:
    bring_in(database, edition(csv_body({}), published="2023-10"))
    api = make_api(database)
    snapshot = api.get("/v1/snapshots").json()["data"][0]["id"]
    before = api.get(f"/v1/snapshots/{snapshot}")
    bring_in(database, edition(csv_body({}, {}), published="2023-11"))

    after = api.get(f"/v1/snapshots/{snapshot}")
    assert after.content == before.content
    assert "current" not in after.json()["data"]
    assert after.headers["etag"] == before.headers["etag"]
    assert "immutable" in after.headers["cache-control"]
    assert api.get(f"/v1/snapshots/{snapshot}", headers={"If-None-Match": before.headers["etag"]}).status_code == 304
    by_prefix = api.get(f"/v1/snapshots/{snapshot[:12]}")
    assert by_prefix.content == before.content
    # A prefix may come to mean another one, or none.
    assert "immutable" not in by_prefix.headers["cache-control"]
    assert api.get(after.json()["meta"]["citation"].rpartition(" ")[2]).content == before.content


def test_id_can_be_made_again_as_the_answer_says(api: TestClient) -> None:
    snapshot = api.get("/v1/snapshots").json()["data"][0]["id"]
    told = api.get(f"/v1/snapshots/{snapshot}?revisions=true").json()["data"]
    lines = sorted(
        f"{each['force']} {each['month']} {each['content_digest']} {each['rules_version']}\n".encode("ascii")
        for each in told["revisions"]
    )
    assert hashlib.sha256(b"stopsearch snapshot 1\n" + b"".join(lines)).hexdigest() == snapshot == told["id"]
    assert sum(each["stored"] for each in told["revisions"]) == told["stops"]
    assert sum(each["stops"] for each in told["forces"]) == told["stops"]
    assert sum(each["held"] for each in told["forces"]) == told["force_months"] == len(told["revisions"])
    assert "revisions" not in api.get(f"/v1/snapshots/{snapshot}").json()["data"]


@pytest.mark.parametrize("snapshot_id", ["0" * 64, "0" * 12, "abc", "Z" * 12, "%27--", "0" * 65])
def test_unknown_one_is_not_there(api: TestClient, snapshot_id: str) -> None:
    answer = api.get(f"/v1/snapshots/{snapshot_id}")
    assert answer.status_code in (404, 422)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "before=noon", "before=2020-01-01T00:00:00", "snapshot=0"])
def test_query_that_can_not_be_meant(api: TestClient, query: str) -> None:
    answer = api.get(f"/v1/snapshots?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["parameter"] == query.partition("=")[0]
