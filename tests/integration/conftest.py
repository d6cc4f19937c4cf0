"""
Databases with the whole sample in them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from builders.ingests import TRIGGER, settings_for
from stopsearch.flows.quickstart import bring_sample_in
from stopsearch.store.database import Database, outside_database

if TYPE_CHECKING:
    from conftest import PostgresServer


@pytest.fixture(scope="session")
def sample_template(
    postgres_server: PostgresServer, migrated_template: str, database_names: Iterator[str]
) -> Iterator[str]:
    """
    The name of a database that holds the bundled sample, to be copied.
    """
    name = next(database_names)
    database = outside_database(postgres_server.create(name, template=migrated_template))
    asyncio.run(bring_sample_in(database, settings_for(), trigger=TRIGGER))
    database.close()
    yield name
    postgres_server.drop(name)


@pytest.fixture(scope="session")
def stocked_url(postgres_server: PostgresServer, sample_template: str, database_names: Iterator[str]) -> Iterator[str]:
    """
    The address of a database that holds the bundled sample, fit for STOPSEARCH_DATABASE_URL; `stocked` is the same.
    """
    name = next(database_names)
    yield postgres_server.create(name, template=sample_template)
    postgres_server.drop(name)


@pytest.fixture(scope="session")
def stocked(stocked_url: str) -> Iterator[Database]:
    """
    A database that holds the bundled sample, shared by all tests that only read.
    """
    database = outside_database(stocked_url)
    yield database
    database.close()


@pytest.fixture
def own_stocked(
    postgres_server: PostgresServer, sample_template: str, database_names: Iterator[str]
) -> Iterator[Database]:
    """
    A database that holds the bundled sample, for one test to change.
    """
    name = next(database_names)
    database = outside_database(postgres_server.create(name, template=sample_template))
    yield database
    database.close()
    postgres_server.drop(name)
