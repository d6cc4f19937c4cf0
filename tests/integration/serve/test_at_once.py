"""
What is asked for at once, or in the moment of a commit: answers that agree with each other all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from starlette.testclient import TestClient

from builders.ingests import bring_in, edition
from builders.standin import make_api_record
from stopsearch.flows.arrivals import list_arrivals
from stopsearch.flows.count_stops import count_total
from stopsearch.serve import stop_pages
from stopsearch.serve.routes import changes
from stopsearch.store.database import Database

pytestmark = pytest.mark.integration

MakeApi = Callable[..., TestClient]


def test_a_total_that_two_ask_for_at_once_is_told_once(
    database: Database, make_api: MakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring_in(database, edition([make_api_record(), make_api_record(gender="Female")]))
    api = make_api(database)
    question = "/v1/stops?total=true&limit=1"
    both = Barrier(2, timeout=20)

    def count_together(*args: Any) -> Any:
        both.wait()
        return count_total(*args)

    monkeypatch.setattr(stop_pages, "count_total", count_together)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: api.get(question).content, range(2))

    assert first.count(b'"total":') == second.count(b'"total":') == 1
    assert api.get(question).content == first == second


def test_the_snapshot_that_a_feed_names_serves_all_that_the_feed_tells(
    database: Database, make_api: MakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring_in(database, edition([make_api_record()]))
    api = make_api(database)
    held = api.get("/v1/forces").headers["stopsearch-snapshot"]

    def list_after_a_commit(*args: Any, **kwargs: Any) -> Any:
        bring_in(database, edition([make_api_record(), make_api_record(gender="Female")]))
        return list_arrivals(*args, **kwargs)

    monkeypatch.setattr(changes, "list_arrivals", list_after_a_commit)
    feed = api.get(f"/v1/changes/revisions?since={held}").json()

    [told] = feed["data"]
    assert told["revision"] == 2
    [change] = api.get(f"/v1/changes?since={held}&snapshot={feed['meta']['snapshot']['id']}").json()["data"]
    assert change["change"] == "added"


def test_an_earlier_state_that_is_restored_under_a_server_is_what_it_serves(
    database: Database, make_api: MakeApi
) -> None:
    bring_in(database, edition([make_api_record()]))
    api = make_api(database)
    before = api.get("/v1/counts").json()
    with database.connect(autocommit=True) as connection:
        [(generation,)] = connection.execute("SELECT generation FROM serving").fetchall()
        # As a dump that was made before anything came in.
        connection.execute("TRUNCATE stop, stop_count, stop_total, revision, month_release, snapshot CASCADE")
        connection.execute("UPDATE serving SET generation = 0, changed_at = NULL")
    after = api.get("/v1/counts").json()

    assert (generation, before["data"]) == (1, [{"stops": 1}])
    assert after["meta"]["coverage"]["held"] == 0
    assert after["meta"]["snapshot"]["id"] != before["meta"]["snapshot"]["id"]


@pytest.mark.parametrize(
    "question",
    [
        "/v1/stops",
        "/v1/counts",
        "/v1/counts.csv",
        "/v1/coverage",
        "/v1/quality",
        "/v1/revisions",
        "/v1/dead-letters",
        "/v1/exports/stops.csv",
        "/v1/changes/revisions",
    ],
)
def test_a_force_that_is_new_to_everybody_is_known_once_it_came_in(
    database: Database, make_api: MakeApi, question: str
) -> None:
    bring_in(database, edition([make_api_record()]))
    api = make_api(database)
    asked = f"{question}?force=new-force"
    assert api.get(asked).status_code == 422

    bring_in(database, edition([make_api_record()], force="new-force"))
    assert api.get(asked).status_code == 200
    assert make_api(database).get(asked).status_code == 200  # also where it is the first question of all
    assert api.get(f"{question}?force=new-forse").status_code == 422
