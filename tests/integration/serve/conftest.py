"""
The application, on top of a database with the whole sample in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from builders.ingests import settings_for
from builders.running_server import TOKEN
from stopsearch.serve.app import make_app
from stopsearch.store.database import Database

MakeApi = Callable[..., TestClient]


@pytest.fixture
def make_api(tmp_path: Path) -> Iterator[MakeApi]:
    """
    Makes a client of the application over a database; further arguments are settings. No client limit unless given.
    """
    with ExitStack() as stack:

        def make(database: Database, **settings: Any) -> TestClient:
            given = {"client_requests_per_s": 0, "data_dir": tmp_path / "data", "api_token": TOKEN, **settings}
            app = make_app(database, settings_for(**given))
            client = TestClient(app, raise_server_exceptions=False, base_url="http://stops.test")
            return stack.enter_context(client)

        yield make


@pytest.fixture
def api(make_api: MakeApi, stocked: Database) -> TestClient:
    """
    A client of the application over the bundled sample; for tests that only read.
    """
    return make_api(stocked)
