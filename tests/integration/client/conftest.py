"""
A server over the bundled sample, as the client meets it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from builders.running_server import TOKEN, running_server
from stopsearch.client import Client
from stopsearch.store.database import Database


@pytest.fixture(scope="session")
def url(stocked: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """
    The address of a server that all tests which only read share.
    """
    with running_server(stocked, data_dir=tmp_path_factory.mktemp("server"), api_token=TOKEN) as address:
        yield address


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    """
    A client of it.
    """
    with Client(url, timeout=20) as client:
        yield client
