"""
What every test may lean on: a real PostgreSQL with a fresh database each, and a wall around the developer's own things.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
import structlog
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from builders.given_rabbitmq import GivenRabbitMQ
from builders.postgres import RunningPostgres, running_postgres
from builders.rabbitmq import RunningRabbitMQ, running_rabbitmq
from builders.valkey import RunningValkey, emptied_redis, running_valkey
from services import (
    BROKER_VARIABLE,
    DATABASE_VARIABLE,
    REDIS_VARIABLE,
    Service,
    announce,
    look_for_services,
    sum_up,
    want,
)
from stopsearch.store.database import Database, outside_database
from stopsearch.store.embedded import EmbeddedServer
from stopsearch.store.migrate import migrate

# An outside server to test on, instead of an embedded one: its user must be allowed to make databases.
TEST_SERVER_URL = os.environ.get(DATABASE_VARIABLE)
# A RabbitMQ and a Redis of the reader's own, likewise. What they hold is lost.
TEST_BROKER_URL = os.environ.get(BROKER_VARIABLE)
TEST_REDIS_URL = os.environ.get(REDIS_VARIABLE)
_KEPT_VARIABLES = ("STOPSEARCH_TEST_", "STOPSEARCH_SHARED_DATA")


def pytest_report_header() -> list[str]:
    """
    Tell first which real services were found, and what is left out without the others.
    """
    return announce(look_for_services())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """
    Tell at the end what was left out for want of a service.
    """
    skipped = [report.longrepr[2] for report in terminalreporter.stats.get("skipped", []) if report.longrepr]
    for line in sum_up(skipped):
        terminalreporter.write_line(line, yellow=True)


@pytest.fixture(autouse=True)
def own_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """
    Keep the developer's settings, `.env`, data folder and home out of the tests, also out of those in a subprocess.
    """
    for name in os.environ:
        if name.startswith(("STOPSEARCH_", "PG")) and not name.startswith(_KEPT_VARIABLES):
            monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(home)


@pytest.fixture(autouse=True)
def own_logs() -> Iterator[None]:
    """
    Undo what a command that ran inside the test's process has set for log events: its level, and its error stream.
    """
    yield
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Refuse every connection and name that leads off this machine.
    """
    connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo
    given = {urlsplit(url).hostname for url in (TEST_BROKER_URL, TEST_REDIS_URL) if url}
    if TEST_SERVER_URL:
        given.add(conninfo_to_dict(TEST_SERVER_URL).get("host"))

    def check(host: Any) -> None:
        if host in (None, "", "localhost", *given) or _is_loopback(host):
            return
        raise RuntimeError(f"A test tried to reach {host}: tests stay on this machine.")

    def checked_connect(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX:
            check(address[0])
        connect(self, address)

    def checked_connect_ex(self: socket.socket, address: Any) -> int:
        if self.family != socket.AF_UNIX:
            check(address[0])
        return connect_ex(self, address)

    def checked_getaddrinfo(host: Any, *args: Any, **options: Any) -> Any:
        check(host.decode() if isinstance(host, bytes) else host)
        return getaddrinfo(host, *args, **options)

    monkeypatch.setattr(socket.socket, "connect", checked_connect)
    monkeypatch.setattr(socket.socket, "connect_ex", checked_connect_ex)
    monkeypatch.setattr(socket, "getaddrinfo", checked_getaddrinfo)


def _is_loopback(host: Any) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, kw_only=True)
class PostgresServer:
    """
    A server on which tests make databases of their own.
    """

    url: str  # of a database to be connected to while others are made and dropped

    def database_url(self, name: str) -> str:
        """
        Give the address of another of its databases.
        """
        address, mark, options = self.url.partition("?")
        return f"{address.rpartition('/')[0]}/{name}{mark}{options}"

    def create(self, name: str, *, template: str = "template0") -> str:
        """
        Make a database and give its address.
        """
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement)
        return self.database_url(name)

    def drop(self, name: str) -> None:
        """
        Drop a database, whoever is still connected to it.
        """
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement)


def _shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    Give a folder that all workers of a session share.
    """
    base = tmp_path_factory.getbasetemp()
    return base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """
    One server for the whole session, shared by all workers; it survives no crash of the machine.
    """
    if TEST_SERVER_URL:
        yield PostgresServer(url=TEST_SERVER_URL)
        return
    want(Service.POSTGRES)
    with EmbeddedServer(_shared_folder(tmp_path_factory) / "postgres-of-tests", is_durable=False) as server:
        host = conninfo_to_dict(server.conninfo("postgres"))["host"]
        yield PostgresServer(url=f"postgresql://stopsearch@/postgres?host={host}")


@pytest.fixture(scope="session")
def database_names() -> Iterator[str]:
    """
    Names for databases, which no other worker, and no other session on the same server, uses.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw")
    session = uuid4().hex[:8]
    return (f"stopsearch_test_{worker}_{session}_{number}" for number in count())


@pytest.fixture(scope="session")
def migrated_template(postgres_server: PostgresServer, database_names: Iterator[str]) -> Iterator[str]:
    """
    The name of a database that the migrations built, to be copied.
    """
    name = next(database_names)
    database = outside_database(postgres_server.create(name))
    migrate(database.engine)
    database.close()
    yield name
    postgres_server.drop(name)


@pytest.fixture
def blank_database_url(postgres_server: PostgresServer, database_names: Iterator[str]) -> Iterator[str]:
    """
    The address of a database with nothing in it.
    """
    name = next(database_names)
    yield postgres_server.create(name)
    postgres_server.drop(name)


@pytest.fixture
def database_url(
    postgres_server: PostgresServer, migrated_template: str, database_names: Iterator[str]
) -> Iterator[str]:
    """
    The address of a database as the migrations leave it, fit for STOPSEARCH_DATABASE_URL.
    """
    name = next(database_names)
    yield postgres_server.create(name, template=migrated_template)
    postgres_server.drop(name)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """
    A database as the migrations leave it; the same one that `database_url` names.
    """
    database = outside_database(database_url)
    yield database
    database.close()


@pytest.fixture
def blank_database(blank_database_url: str) -> Iterator[Database]:
    """
    A database with nothing in it; the same one that `blank_database_url` names.
    """
    database = outside_database(blank_database_url)
    yield database
    database.close()


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRabbitMQ | GivenRabbitMQ]:
    """
    A RabbitMQ for all tests of a worker that leave it running; each takes its own address of it by `broker_url`.
    """
    want(Service.RABBITMQ)
    if TEST_BROKER_URL:
        yield GivenRabbitMQ(TEST_BROKER_URL, lock=_shared_folder(tmp_path_factory) / "rabbitmq.lock")
        return
    with running_rabbitmq() as server:
        yield server


@pytest.fixture
def broker_url(rabbitmq: RunningRabbitMQ | GivenRabbitMQ) -> Iterator[str]:
    """
    The address of a RabbitMQ with nothing in it, fit for STOPSEARCH_BROKER_URL; `rabbitmq` tells what it holds.
    """
    with rabbitmq.vhost() as url:
        yield url


@pytest.fixture
def own_rabbitmq() -> Iterator[RunningRabbitMQ]:
    """
    A RabbitMQ for one test to stop, to kill, and to rob of its data.
    """
    want(Service.OWN_RABBITMQ)
    with running_rabbitmq() as server:
        yield server


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningValkey]:
    """
    A Valkey for all tests of a worker that leave it running; each takes it, empty, by `redis_url`.
    """
    with running_valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def redis_url(request: pytest.FixtureRequest) -> str:
    """
    The address of an empty Redis, fit for STOPSEARCH_REDIS_URL.
    """
    if TEST_REDIS_URL:
        worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
        return emptied_redis(TEST_REDIS_URL, number=int(worker))
    return emptied_redis(request.getfixturevalue("valkey").url)


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[RunningValkey]:
    """
    A Valkey for one test to stop, to kill and to freeze.
    """
    with running_valkey(tmp_path) as server:
        yield server


@pytest.fixture
def own_postgres() -> Iterator[RunningPostgres]:
    """
    A PostgreSQL behind a TCP port for one test to stop, to kill and to start again; what it commits is durable.
    """
    want(Service.OWN_POSTGRES)
    with running_postgres() as server:
        yield server


@pytest.fixture
def small_postgres() -> Iterator[RunningPostgres]:
    """
    A PostgreSQL behind a TCP port with a small disk, which `full_disk` fills.
    """
    want(Service.SMALL_DISK)
    with running_postgres(disk_mb=256) as server:
        yield server


@pytest.fixture
def shared_data() -> Path:
    """
    The folder of real data that lies beside a developer's checkout; the test is skipped where there is none.
    """
    place = Path(os.environ.get("STOPSEARCH_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not place.is_dir():
        pytest.skip("the larger data is not here; set STOPSEARCH_SHARED_DATA to its folder")
    return place
