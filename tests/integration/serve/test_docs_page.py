"""
The page for people: it asks no other server for anything.
"""

from __future__ import annotations

import re

import pytest
from starlette.testclient import TestClient

pytestmark = pytest.mark.integration


def test_the_page_and_all_that_it_is_made_of_come_from_this_server(api: TestClient) -> None:
    page = api.get("/docs")
    assert page.status_code == 200
    assert "http://" not in page.text
    assert "https://" not in page.text
    parts = re.findall(r"(?:src|href)=\"([^\"]+)\"", page.text)
    assert len(parts) >= 3
    for part in [*parts, "/openapi.json"]:
        answer = api.get(part)
        assert (answer.status_code, len(answer.content) > 100) == (200, True), part


def test_a_browser_may_load_nothing_from_elsewhere(api: TestClient) -> None:
    assert api.get("/docs").headers["content-security-policy"].startswith("default-src 'self'")
    assert api.get("/v1/forces").headers["content-security-policy"].startswith("default-src 'none'")
