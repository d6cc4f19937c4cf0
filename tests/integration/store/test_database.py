"""
The database that the settings name is reached, or its address and its trouble are told without its password.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from stopsearch.domain.errors import ConfigError, StoreUnavailable
from stopsearch.settings import Settings
from stopsearch.store import database as database_module
from stopsearch.store.database import EMBEDDED_DATABASE, open_database, outside_database

pytestmark = pytest.mark.integration


def settings_of(url: str) -> Settings:
    return Settings(database_url=SecretStr(url))


def test_an_embedded_database_is_made_and_found_again(tmp_path):
    settings = Settings(data_dir=tmp_path / "data")
    with open_database(settings) as database, database.connect() as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        assert connection.info.dbname == EMBEDDED_DATABASE
        assert database.is_embedded
    with open_database(settings) as database, database.engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT answer FROM kept")) == 42
    assert (tmp_path / "data" / "postgres").is_dir()


def test_the_callers_own_postgresql_variables_do_not_reach_the_embedded_one(tmp_path, monkeypatch):
    for name, value in {
        "PGHOSTADDR": "127.0.0.1",
        "PGPORT": "9",
        "PGSSLMODE": "verify-full",
        "PGOPTIONS": "-c bogus=1",
        "PGREQUIREAUTH": "scram-sha-256",
        "PGTZ": "Asia/Tokyo",
        "PGCLIENTENCODING": "latin1",
        "PGDATA": "/nowhere",
    }.items():
        monkeypatch.setenv(name, value)
    with open_database(Settings(data_dir=tmp_path / "data")) as database, database.connect() as connection:
        row = connection.execute("SELECT current_setting('TimeZone'), timestamptz '2024-07-01 00:00Z', '☃'").fetchone()
    assert row == ("UTC", datetime(2024, 7, 1, tzinfo=UTC), "☃")
    assert row[1].tzinfo == UTC


def test_an_outside_server_is_used_as_it_is(database_url, tmp_path):
    settings = settings_of(database_url)
    with open_database(settings) as database:
        assert not database.is_embedded
        with database.connect(application_name="test") as connection:
            assert connection.execute("SHOW application_name").fetchone() == ("test",)
            assert connection.execute("SHOW TimeZone").fetchone() == ("UTC",)
            assert connection.execute("SELECT count(*) FROM stop").fetchone() == (0,)
    assert not settings.data_dir.exists()


def test_times_are_utc_whatever_the_caller_and_the_server_prefer(blank_database, monkeypatch):
    monkeypatch.setenv("PGTZ", "Asia/Tokyo")
    with blank_database.connect() as connection:
        connection.rollback()  # the zone must not hang on the first transaction
        assert connection.execute("SHOW TimeZone").fetchone() == ("UTC",)
    with blank_database.engine.connect() as connection:
        assert connection.scalar(sa.text("SHOW TimeZone")) == "UTC"


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg", "POSTGRESQL"])
def test_every_way_to_write_the_scheme_is_read(scheme, blank_database_url):
    database = outside_database(blank_database_url.replace("postgresql", scheme, 1))
    with database.connect() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize("password", ["plain", "p@ss/w:rd?#%&+ =", "'quoted' \\back", "ünï ☃"])
def test_a_password_as_sqlalchemy_writes_it_is_read_back(password):
    url = sa.URL.create("postgresql+psycopg", "me", password, "db.example", 5433, "police")
    database = outside_database(url.render_as_string(hide_password=False))
    given = database_module.conninfo_to_dict(database.conninfo)
    assert given == {
        "user": "me", "password": password, "host": "db.example", "port": "5433", "dbname": "police"
    }  # fmt: skip
    assert database.place == "database police at db.example:5433"
    assert password not in repr(database) + str(database)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "police",
        "host=localhost dbname=police",
        "mysql://me:hush@localhost/police",
        "sqlite:///hush.db",
        "postgresql+asyncpg://me:hush@localhost/police",
        "postgresql://me:hush@localhost:99999/police",
        "postgresql://me:hush@localhost:abc/police",
        "postgresql://me:hush@[::1/police",
        "postgresql://me:hush@localhost/police?hush=1",
        # A password whose @ or / is not escaped spills into the host or the name, and must not be shown there.
        "postgresql://me:x@hush@localhost/police",
        "postgresql://me:x@hush/hush@localhost/police",
    ],
)
def test_what_is_no_address_is_refused_without_repeating_it(url):
    with pytest.raises(ConfigError, match="STOPSEARCH_DATABASE_URL") as refusal, open_database(settings_of(url)):
        pass
    assert "hush" not in str(refusal.value)
    assert refusal.value.remedy


def test_a_server_that_is_away_is_named_without_the_password():
    with (
        pytest.raises(StoreUnavailable, match=r"database police at 127\.0\.0\.1:1 cannot be reached: Conn") as trouble,
        open_database(settings_of("postgresql://me:hush@127.0.0.1:1/police")),
    ):
        pass
    assert "hush" not in str(trouble.value)
    assert trouble.value.remedy


def test_what_the_server_will_never_accept_is_a_wrong_setting(blank_database_url):
    absent = blank_database_url.replace("stopsearch_test", "absent", 1)
    with pytest.raises(ConfigError, match="does not exist"), open_database(settings_of(absent)):
        pass


def test_a_server_that_is_too_old_is_refused(blank_database_url, monkeypatch):
    monkeypatch.setattr(database_module, "OLDEST_MAJOR", 99)
    with (
        pytest.raises(ConfigError, match=r"is PostgreSQL \d+; stopsearch needs 99"),
        open_database(settings_of(blank_database_url)),
    ):
        pass


def test_an_engine_is_made_once_and_only_when_asked_for(blank_database):
    assert "engine" not in blank_database.__dict__
    assert blank_database.engine is blank_database.engine


def test_an_engine_shows_no_password():
    database = outside_database("postgresql://me:hush@localhost/police")
    assert "hush" in database.conninfo
    assert "hush" not in repr(database.engine) + repr(database)


def test_tests_cannot_leave_this_machine():
    import socket

    for reach in (
        lambda: socket.create_connection(("192.0.2.1", 80), timeout=1),
        lambda: socket.getaddrinfo("data.police.uk", 443),
    ):
        with pytest.raises(RuntimeError, match="tests stay on this machine"):
            reach()
    kept = ("STOPSEARCH_TEST_", "STOPSEARCH_SHARED_DATA")
    assert [name for name in os.environ if name.startswith("STOPSEARCH_") and not name.startswith(kept)] == []
