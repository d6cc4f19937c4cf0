"""
A user who lacks a right is told which, and what to run; a database that is newer is no fault of anybody's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import pytest
import sqlalchemy as sa
from psycopg import sql

from builders.command_line import CommandLine
from builders.standin import make_api_record, running_standin
from stopsearch.domain.errors import SchemaOutOfDate
from stopsearch.store.database import Database
from stopsearch.store.migrate import migrate, require_schema

pytestmark = pytest.mark.integration

MONTHS = {("durham", "2023-07"): [make_api_record()]}


@pytest.fixture
def ordinary_role(blank_database: Database) -> Iterator[str]:
    """
    A role of the server without any right of its own.
    """
    name = f"ordinary_{uuid4().hex[:12]}"
    with blank_database.connect(autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(name)))
    yield name
    with blank_database.connect(autocommit=True) as connection:
        connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def as_role(url: str, options: str) -> str:
    """
    Give a database's address with server options, which every connection begins with.
    """
    return f"{url}{'&' if '?' in url else '?'}options={quote(options)}"


@pytest.mark.parametrize("has_schema", [True, False])
def test_migrating_without_the_right_says_what_to_run(
    blank_database: Database, blank_database_url: str, ordinary_role: str, tmp_path: Path, has_schema: bool
) -> None:
    if not has_schema:
        with blank_database.connect(autocommit=True) as connection:
            connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
    url = as_role(blank_database_url, f"-c role={ordinary_role}")
    stopsearch = CommandLine(folder=tmp_path, settings={"DATABASE_URL": url})

    told = stopsearch.look("db", "migrate", expect=3).err

    assert told.count("\n") == 1
    assert "GRANT USAGE, CREATE ON SCHEMA public TO" in told
    assert "INSERT" not in told
    assert "[SQL" not in told


def test_bringing_in_without_the_right_says_what_to_run(
    blank_database: Database, blank_database_url: str, ordinary_role: str, tmp_path: Path
) -> None:
    migrate(blank_database.engine)
    role = sql.Identifier(ordinary_role)
    with blank_database.connect(autocommit=True) as connection, running_standin(MONTHS) as standin:
        settings = {
            "DATABASE_URL": as_role(blank_database_url, f"-c role={ordinary_role}"),
            "UPSTREAM_URL": standin.url,
        }
        stopsearch = CommandLine(folder=tmp_path, settings=settings)
        for granted in ("USAGE ON SCHEMA public", "SELECT ON ALL TABLES IN SCHEMA public"):
            told = stopsearch.look("ingest", expect=3).err
            assert told.count("\n") == 1
            assert "permission denied for table" in told
            assert "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO" in told
            connection.execute(sql.SQL("GRANT {} TO {}").format(sql.SQL(granted), role))
        told = stopsearch.look("ingest", expect=3).err
        assert "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO" in told

        for granted in (
            "INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public",
            "USAGE ON ALL SEQUENCES IN SCHEMA public",
        ):
            connection.execute(sql.SQL("GRANT {} TO {}").format(sql.SQL(granted), role))
        assert stopsearch.look("ingest").code == 0, "what the remedy names was not enough"


def test_a_database_that_takes_no_writes_is_told(database_url: str, tmp_path: Path) -> None:
    url = as_role(database_url, "-c default_transaction_read_only=on")
    with running_standin(MONTHS) as standin:
        stopsearch = CommandLine(folder=tmp_path, settings={"DATABASE_URL": url, "UPSTREAM_URL": standin.url})
        told = stopsearch.look("ingest", expect=3).err
    assert told.count("\n") == 1
    assert "takes no writes" in told


def test_a_newer_database_asks_for_a_newer_stopsearch(database: Database, database_url: str, tmp_path: Path) -> None:
    with database.engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    for ask in (migrate, require_schema):
        with pytest.raises(SchemaOutOfDate, match=r"newer than this code.*Upgrade stopsearch"):
            ask(database.engine)
    stopsearch = CommandLine(folder=tmp_path, settings={"DATABASE_URL": database_url})
    assert "upgrade stopsearch" in stopsearch.look("db", "status").out
    assert "Upgrade stopsearch" in stopsearch.look("db", "migrate", expect=6).err
