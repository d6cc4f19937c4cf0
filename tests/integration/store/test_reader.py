"""
What is served is read by a role to which the server itself refuses every write, whatever a statement tries.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from builders.ingests import settings_for
from stopsearch.store.database import Database, outside_database
from stopsearch.store.embedded import EmbeddedServer
from stopsearch.store.migrate import migrate
from stopsearch.store.reader import (
    READABLE,
    READER,
    configure_reader,
    configure_reader_async,
    ensure_reader,
    may_read_as,
    reading_conninfo,
)
from stopsearch.store.tables import Base

pytestmark = pytest.mark.integration

PASSWORD = "of the tests"

WRITES = {
    "insert": "INSERT INTO force (code, id, name) VALUES (99, 'nowhere', 'Nowhere')",
    "update": "UPDATE serving SET generation = 0",
    "delete": "DELETE FROM serving",
    "truncate": "TRUNCATE stop",
    "create": "CREATE TABLE mine (a integer)",
    "alter": "ALTER TABLE stop ADD COLUMN mine integer",
    "drop": "DROP TABLE stop CASCADE",
    "copy": "COPY serving FROM STDIN",
    "lock": "DO $$ BEGIN LOCK TABLE stop IN ACCESS EXCLUSIVE MODE; END $$",
    "program": "COPY serving TO PROGRAM 'true'",
    "role": "CREATE ROLE mine SUPERUSER",
}


@pytest.fixture
def reader(database: Database) -> Iterator[psycopg.Connection[Any]]:
    """
    A connection as a server's pool makes it.
    """
    settings = settings_for()
    with psycopg.connect(reading_conninfo(database, settings), autocommit=True) as connection:
        configure_reader(connection, settings)
        yield connection


@pytest.fixture
def login(database: Database) -> Iterator[str]:
    """
    A user of the server without any right of its own, who may log in.
    """
    name = f"login_{uuid4().hex[:12]}"
    role = sql.Identifier(name)
    with database.connect(autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(PASSWORD)))
    yield name
    with database.connect(autocommit=True) as connection:
        connection.execute(sql.SQL("DROP OWNED BY {}").format(role))
        connection.execute(sql.SQL("DROP ROLE {}").format(role))


def as_user(url: str, user: str) -> str:
    """
    Give a database's address for another user, of those made here.
    """
    return f"postgresql://{user}:{quote(PASSWORD)}@{url.partition('@')[2]}"


@pytest.mark.parametrize("statement", WRITES.values(), ids=WRITES)
def test_every_write_is_refused_twice(reader: psycopg.Connection[Any], statement: str) -> None:
    """
    By the transaction, which only reads; and by the role, where a statement has got round that.
    """
    with pytest.raises((psycopg.errors.ReadOnlySqlTransaction, psycopg.errors.InsufficientPrivilege)):
        reader.execute(statement)
    reader.execute("SET default_transaction_read_only = off")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        reader.execute(statement)


def test_the_transaction_itself_only_reads(reader: psycopg.Connection[Any]) -> None:
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        reader.execute("CREATE TEMPORARY TABLE mine (a integer)")


def test_a_reader_sees_all_but_the_keys(reader: psycopg.Connection[Any]) -> None:
    assert set(Base.metadata.tables) - set(READABLE) == {"server_key"}
    for name in READABLE:
        reader.execute(sql.SQL("SELECT * FROM {} LIMIT 1").format(sql.Identifier(name)))
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        reader.execute("SELECT * FROM server_key")


def test_nothing_of_ours_is_left_out_of_what_is_readable(database: Database) -> None:
    with database.connect() as connection:
        here = connection.execute(
            """
            SELECT relname FROM pg_class
            WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
            """
        ).fetchall()
    assert {name for (name,) in here} - {"server_key"} == set(READABLE)


def test_what_a_connection_begins_with(reader: psycopg.Connection[Any]) -> None:
    shown = {
        name: reader.execute("SELECT current_setting(%s)", [name]).fetchone()
        for name in ("statement_timeout", "lock_timeout", "TimeZone", "DateStyle", "extra_float_digits", "role")
    }
    assert shown == {
        "statement_timeout": ("15s",),
        "lock_timeout": ("15s",),
        "TimeZone": ("UTC",),
        "DateStyle": ("ISO, MDY",),
        "extra_float_digits": ("1",),
        "role": (READER,),
    }
    assert reader.execute("SELECT current_user").fetchone() == (READER,)
    assert reader.execute("SELECT '2024-03-01 12:30+01'::timestamptz").fetchone() == (
        datetime(2024, 3, 1, 11, 30, tzinfo=UTC),
    )


def test_a_statement_that_takes_too_long_is_ended(database: Database) -> None:
    settings = settings_for(statement_timeout_s=0.1)
    with psycopg.connect(reading_conninfo(database, settings)) as connection:
        configure_reader(connection, settings)
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("SELECT pg_sleep(20)")


def test_a_client_that_stalls_in_a_transaction_is_cut_off(database: Database) -> None:
    settings = settings_for(statement_timeout_s=0.5, export_stall_s=0.1)
    with psycopg.connect(reading_conninfo(database, settings)) as connection:
        configure_reader(connection, settings)
        connection.execute("SELECT 1")
        time.sleep(1.5)
        with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
            connection.execute("SELECT 1")


def test_both_kinds_of_pool_are_configured(database: Database) -> None:
    settings = settings_for()
    conninfo = reading_conninfo(database, settings)
    with (
        ConnectionPool(conninfo, min_size=1, configure=partial(configure_reader, settings=settings)) as pool,
        pool.connection(timeout=10) as connection,
    ):
        assert connection.execute("SELECT current_user").fetchone() == (READER,)

    async def ask() -> Any:
        configure = partial(configure_reader_async, settings=settings)
        async with (
            AsyncConnectionPool(conninfo, min_size=1, configure=configure, open=False) as pool,
            pool.connection(timeout=10) as connection,
        ):
            return await (await connection.execute("SELECT current_user")).fetchone()

    assert asyncio.run(ask()) == (READER,)


def test_a_user_for_reading_stays_who_it_is(database: Database, database_url: str, login: str) -> None:
    settings = settings_for(read_database_url=as_user(database_url, login))
    with database.connect(autocommit=True) as owner:
        owner.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(READER), sql.Identifier(login)))
    with psycopg.connect(reading_conninfo(database, settings), autocommit=True) as connection:
        configure_reader(connection, settings)
        assert connection.execute("SELECT current_user").fetchone() == (login,)
        connection.execute("SELECT count(*) FROM stop")
        for statement in ("UPDATE serving SET generation = 0", "SELECT * FROM server_key"):
            connection.execute("SET default_transaction_read_only = off")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


def test_the_address_keeps_options_that_it_had(database: Database) -> None:
    given = Database(conninfo=f"{database.conninfo} options='-c work_mem=12345'", place="there")
    with psycopg.connect(reading_conninfo(given, settings_for())) as connection:
        assert connection.execute("SELECT current_setting('work_mem')").fetchone() == ("12345kB",)
        assert connection.execute("SELECT current_setting('default_transaction_read_only')").fetchone() == ("on",)


def test_databases_of_one_server_that_are_migrated_at_once_make_one_role(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    On a server of its own: on a shared one the role has been there since the first test.
    """
    monkeypatch.setattr("stopsearch.store.migrate.ensure_reader", bool)
    names = ["first", "second", "third", "fourth"]
    role = sql.Identifier(READER)
    with EmbeddedServer(tmp_path, is_durable=False) as server, ThreadPoolExecutor(len(names)) as threads:
        server.ensure_database(names[0])
        databases = [Database(conninfo=server.conninfo(name), place=name) for name in names]
        migrate(databases[0].engine)
        databases[0].close()
        with psycopg.connect(server.conninfo("postgres"), autocommit=True) as connection:
            for name in names[1:]:
                connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE first").format(sql.Identifier(name)))
        for _ in range(5):
            begin = Barrier(len(names))

            def make(one: Database, begin: Barrier = begin) -> bool:
                with one.engine.connect() as connection:
                    connection.exec_driver_sql("SELECT 1")
                    begin.wait()
                    return ensure_reader(connection)

            assert list(threads.map(make, databases)) == [True] * len(names)
            for one in databases:
                with one.connect(autocommit=True) as connection:
                    connection.execute(sql.SQL("DROP OWNED BY {}").format(role))
            with databases[0].connect(autocommit=True) as connection:
                connection.execute(sql.SQL("DROP ROLE {}").format(role))
        for one in databases:
            one.close()


def test_rights_that_were_taken_away_come_back_with_the_next_migration(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        connection.execute(sql.SQL("REVOKE SELECT ON stop FROM {}").format(sql.Identifier(READER)))
        assert not may_read_as(connection)
    migrate(database.engine)
    with database.connect(autocommit=True) as connection:
        assert may_read_as(connection)


def test_the_role_is_left_alone_where_it_can_read_nothing(database: Database) -> None:
    """
    It may be there for another database of the same server.
    """
    with database.connect(autocommit=True) as connection:
        connection.execute(sql.SQL("REVOKE SELECT ON stop FROM {}").format(sql.Identifier(READER)))
    settings = settings_for()
    with psycopg.connect(reading_conninfo(database, settings), autocommit=True) as connection:
        configure_reader(connection, settings)
        assert connection.execute("SELECT current_user <> %s", [READER]).fetchone() == (True,)
        connection.execute("SELECT count(*) FROM stop")
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute("UPDATE serving SET generation = 0")


def test_a_user_who_may_make_no_role_goes_on_and_is_told_what_to_run(
    database: Database, database_url: str, login: str, capsys: pytest.CaptureFixture[str]
) -> None:
    owner = outside_database(as_user(database_url, login))
    with database.connect(autocommit=True) as connection:
        connection.execute(sql.SQL("REVOKE SELECT ON stop FROM {}").format(sql.Identifier(READER)))
    with owner.engine.connect() as connection:
        assert ensure_reader(connection) is False
    owner.close()
    told = capsys.readouterr().out
    assert "reader_unmade" in told
    assert "permission denied" in told
    assert f"CREATE ROLE {READER} NOLOGIN" in told
    assert conninfo_to_dict(database.conninfo).get("password", "no password") not in told


@pytest.mark.parametrize("may_make_roles", [True, False])
def test_an_ordinary_owner_of_the_tables_may_take_the_role_on(
    postgres_server: Any, database_names: Iterator[str], login: str, database: Database, may_make_roles: bool
) -> None:
    """
    Who may make roles: since PostgreSQL 16 that alone does not let them be taken on. Who may not: after an
    administrator has made it and given it.
    """
    name = next(database_names)
    url = postgres_server.create(name)
    with outside_database(url).connect(autocommit=True) as connection:
        role = sql.Identifier(login)
        connection.execute(sql.SQL("GRANT CREATE, USAGE ON SCHEMA public TO {}").format(role))
        terms = sql.SQL("")
        if may_make_roles:
            connection.execute(sql.SQL("ALTER ROLE {} CREATEROLE").format(role))
            is_15 = connection.info.server_version < 160000
            terms = sql.SQL("WITH ADMIN OPTION" if is_15 else "WITH ADMIN TRUE, SET FALSE, INHERIT FALSE")
        connection.execute(sql.SQL("GRANT {} TO {} {}").format(sql.Identifier(READER), role, terms))
    owner = outside_database(as_user(url, login))
    try:
        migrate(owner.engine)
        settings = settings_for()
        with psycopg.connect(reading_conninfo(owner, settings), autocommit=True) as connection:
            configure_reader(connection, settings)
            assert connection.execute("SELECT current_user, session_user").fetchone() == (READER, login)
            connection.execute("SELECT count(*) FROM stop")
    finally:
        owner.close()
        with outside_database(url).connect(autocommit=True) as connection:
            connection.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(login)))
        postgres_server.drop(name)
