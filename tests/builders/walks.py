"""
Walks over the pages of the API: every page from the first to the last, by following `next`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from starlette.testclient import TestClient

from builders.plain_stops import Query


def pages_of(api: TestClient, query: Query, *, path: str = "/v1/stops") -> Iterator[dict[str, Any]]:
    """
    Give each page of a question, one after another; each must be a good answer.
    """
    response = api.get(path, params=dict(query))
    while True:
        assert response.status_code == 200, response.text
        page = response.json()
        yield page
        if page["next"] is None:
            return
        assert page["next"] != str(response.url), "the page leads to itself"
        response = api.get(page["next"])


def walk(api: TestClient, query: Query) -> list[str]:
    """
    Give the ids of a question's stops, in the order in which its pages give them.
    """
    asked = {"limit": "1000", "fields": "id", **query}
    return [stop["id"] for page in pages_of(api, asked) for stop in page["data"]]
