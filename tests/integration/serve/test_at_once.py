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
    arrivals = changes.list_arrivals

    def list_after_a_commit(*args: Any, **kwargs: Any) -> Any:
        bring_in(database, edition([make_api_record(), make_api_record(gender="Female")]))
        return arrivals(*args, **kwargs)

    monkeypatch.setattr(changes, "list_arrivals", list_after_a_commit)
    feed = api.get(f"/v1/changes/revisions?since={held}").json()

    [told] = feed["data"]
    assert told["revision"] == 2
    [change] = api.get(f"/v1/changes?since={held}&snapshot={feed['meta']['snapshot']['id']}").json()["data"]
    assert change["change"] == "added"
