"""
The promise of a snapshot: the same id gives the same bytes, whatever came in since, also from another process; and what
is served now is never an older snapshot than the last that was committed.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.testclient import TestClient

from builders.archives import csv_of, csv_rows, sample_month
from builders.ingests import bring_in, edition
from stopsearch.domain.months import Month
from stopsearch.domain.published import Availability
from stopsearch.domain.states import MonthState
from stopsearch.store.database import Database
from stopsearch.store.releases import note_state, record_listing

pytestmark = pytest.mark.integration

# One question a route that takes snapshot=, the route as the OpenAPI document spells it.
QUESTIONS = {
    "/v1/stops": "/v1/stops?force=durham,south-yorkshire&limit=50&total=true&sort=-datetime",
    "/v1/stops.json": "/v1/stops.json?force=durham",
    "/v1/stops.csv": "/v1/stops.csv?force=durham&limit=1000",
    "/v1/stops.ndjson": "/v1/stops.ndjson?gender=Female",
    "/v1/stops.geojson": "/v1/stops.geojson?located=true&force=durham",
    "/v1/counts.json": "/v1/counts.json?by=hour",
    "/v1/counts.csv": "/v1/counts.csv?by=quarter,outcome",
    "/v1/counts.ndjson": "/v1/counts.ndjson?by=legislation,object_of_search,weekday&force=durham",
    "/v1/counts": "/v1/counts?by=force,month,self_defined_ethnic_group",
    "/v1/rates": "/v1/rates?force=durham,btp&from=2020-01&to=2020-02&override=gap,few_stops",
    "/v1/coverage": "/v1/coverage?force=durham",
    "/v1/quality": "/v1/quality?force=durham",
    "/v1/revisions": "/v1/revisions?force=durham,south-yorkshire",
    "/v1/forces": "/v1/forces",
    "/v1/vocabulary": "/v1/vocabulary",
    "/v1/dead-letters": "/v1/dead-letters",
    "/v1/snapshots/{snapshot_id}": "/v1/snapshots/{id}",
}


def revise_and_look(database: Database) -> None:
    """
    Do everything that changes what is served, or what is known: revisions, a new list, an empty answer, a bad record.
    """
    durham = csv_rows(sample_month("durham", "2020-01"))
    broken = [{**row, "Latitude": "999", "Longitude": "999"} for row in durham[:5]]
    bring_in(
        database,
        edition(csv_of(durham[:100]), month="2020-01", published="2023-01"),
        edition(csv_of([*durham, *broken]), month="2020-03", published="2023-01"),
        edition(csv_of(durham[:70]), force="new-force", month="2021-03", published="2023-01"),
    )
    with database.connect(autocommit=True) as connection:
        listed = {Month(2020, 1): frozenset({"durham"}), Month(2024, 3): frozenset({"durham", "kent"})}
        record_listing(connection, Availability(listed=listed), at=datetime.now(UTC))
        [(code,)] = connection.execute("SELECT code FROM force WHERE id = 'durham'").fetchall()
        note_state(connection, code, Month(2020, 2), MonthState.EMPTY, at=datetime.now(UTC), is_look=True)


def snapshot_of(api: TestClient) -> str:
    snapshot: str = api.get("/v1/forces").headers["stopsearch-snapshot"]
    return snapshot


def pinned(question: str, snapshot: str) -> str:
    if "{id}" in question:
        return question.replace("{id}", snapshot)
    return f"{question}{'&' if '?' in question else '?'}snapshot={snapshot}"


def test_the_same_id_gives_the_same_bytes_after_everything_that_may_change_them(
    own_stocked: Database, make_api: Any
) -> None:
    first = make_api(own_stocked)
    snapshot = snapshot_of(first)
    before = {}
    for route, question in QUESTIONS.items():
        answer = first.get(pinned(question, snapshot))
        assert answer.status_code == 200, (route, answer.text)
        before[route] = (answer.content, answer.headers["etag"])

    revise_and_look(own_stocked)
    assert snapshot_of(first) != snapshot
    for api in (first, make_api(own_stocked)):
        for route, question in QUESTIONS.items():
            answer = api.get(pinned(question, snapshot))
            assert (answer.content, answer.headers["etag"]) == before[route], route


def test_an_answer_of_now_is_what_its_snapshot_gives(own_stocked: Database, make_api: Any) -> None:
    revise_and_look(own_stocked)
    api = make_api(own_stocked)
    for route, question in QUESTIONS.items():
        if "{id}" in question:
            continue
        now = api.get(question)
        again = api.get(pinned(question, now.headers["stopsearch-snapshot"]))
        assert now.content == again.content, route


def test_every_route_that_takes_a_snapshot_is_asked_here(api: TestClient) -> None:
    document = api.get("/openapi.json").json()
    taking = {
        path
        for path, item in document["paths"].items()
        if any(parameter["name"] == "snapshot" for parameter in item.get("get", {}).get("parameters", ()))
    }
    # Pages with a part in their path are asked for by their own tests.
    assert taking - set(QUESTIONS) <= {
        path for path in taking if "{" in path or "/exports" in path or "/changes" in path
    }


def test_a_revision_is_seen_at_once_by_every_route(own_stocked: Database, make_api: Any) -> None:
    api = make_api(own_stocked)
    questions = [question for question in QUESTIONS.values() if "{id}" not in question]
    before = {question: api.get(question) for question in questions}

    bring_in(
        own_stocked,
        edition(csv_of(csv_rows(sample_month("durham", "2020-01"))[:90]), month="2020-01", published="2023-01"),
    )
    for question in questions:
        after = api.get(question, headers={"If-None-Match": before[question].headers["etag"]})
        assert after.status_code == 200, question
        assert after.headers["stopsearch-snapshot"] != before[question].headers["stopsearch-snapshot"], question


def test_what_is_held_already_is_not_sent_again(api: TestClient) -> None:
    for route, question in QUESTIONS.items():
        asked = pinned(question, snapshot_of(api))
        first = api.get(asked)
        again = api.get(asked, headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b""), route
        # Compressed, an answer's tag is weak: the same content in other bytes.
        assert again.headers["etag"].removeprefix("W/") == first.headers["etag"].removeprefix("W/")


def test_as_of_and_the_id_of_then_give_the_same_bytes(own_stocked: Database, make_api: Any) -> None:
    api = make_api(own_stocked)
    before = snapshot_of(api)
    then = api.get("/v1/forces").json()["meta"]["snapshot"]["served_from"]
    revise_and_look(own_stocked)
    for route, question in QUESTIONS.items():
        if "{id}" in question:
            continue
        mark = "&" if "?" in question else "?"
        by_instant = api.get(f"{question}{mark}as_of={then}")
        assert by_instant.status_code == 200, (route, by_instant.text)
        assert by_instant.headers["stopsearch-snapshot"] == before
        assert by_instant.content == api.get(pinned(question, before)).content, route
