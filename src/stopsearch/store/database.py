"""
The database that the settings name, embedded or outside, and how to connect to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow

import stopsearch.store.int2_array  # noqa: F401  # before the first connection: later ones alone would know the type
from stopsearch.domain.errors import ConfigError, StoreUnavailable
from stopsearch.settings import Settings

OLDEST_MAJOR = 15
EMBEDDED_DATABASE = "stopsearch"

_CONNECT_TIMEOUT_S = 10
# A caller's own PGTZ is stronger than what the connection string says, so the zone may have to be set afterwards.
_SET_ZONE = "SET TIME ZONE 'UTC'"
_SCHEME = re.compile(r"^postgres(?:ql)?(?:\+psycopg)?://", re.IGNORECASE)

# What the server says at the door when knocking again cannot help. It sends no code there, so its English words
# have to do; said in another language, the trouble counts as passing.
_LASTING = re.compile(
    r"authentication failed|no password supplied|no pg_hba\.conf entry|does not exist"
    r"|permission denied for database|invalid \w+ value|does not support SSL, but SSL was required"
)


@dataclass(frozen=True, kw_only=True)
class Database:
    """
    One PostgreSQL database within reach.
    """

    conninfo: str = field(repr=False)  # holds the password, if there is one
    place: str  # for people: the database and where it is, never the password
    is_embedded: bool = False

    def connect(self, **options: Any) -> psycopg.Connection[TupleRow]:
        """
        Connect; times come and go in UTC.

        Args:
            options: What `psycopg.connect` takes, say `autocommit=True` or `application_name`.

        Raises:
            StoreUnavailable: The server does not answer, or has no room now.
            ConfigError: The server refuses the user, the password or the database.
        """
        try:
            connection = psycopg.connect(self._with_defaults(), **options)
            if connection.info.parameter_status("TimeZone") != "UTC":
                connection.execute(_SET_ZONE)
                if not connection.autocommit:
                    connection.commit()
        except psycopg.OperationalError as error:
            raise self._why_not(error) from error
        return connection

    @cached_property
    def engine(self) -> sa.Engine:
        """
        Give SQLAlchemy's engine, which connects as `connect` does; made when first asked for.
        """
        return sa.create_engine("postgresql+psycopg://", creator=self.connect)

    def close(self) -> None:
        """
        Close the connections that the engine keeps.
        """
        if "engine" in self.__dict__:
            self.engine.dispose()

    def _with_defaults(self) -> str:
        given = conninfo_to_dict(self.conninfo)
        options = f"{given.get('options') or ''} -c TimeZone=UTC".strip()
        defaults = {
            "application_name": "stopsearch",
            "client_encoding": "UTF8",
            "connect_timeout": str(_CONNECT_TIMEOUT_S),
        }
        return make_conninfo("", **{**defaults, **given, "options": options})

    def _why_not(self, error: psycopg.OperationalError) -> ConfigError | StoreUnavailable:
        reason = _reason(error)
        if _LASTING.search(reason):
            return ConfigError(
                f"The {self.place} refuses us: {reason}.", remedy="Mend STOPSEARCH_DATABASE_URL, or the server's users."
            )
        return StoreUnavailable(
            f"The {self.place} cannot be reached: {reason}.",
            remedy="See that the server runs; `stopsearch db status` tells more."
            if self.is_embedded
            else "See that the server runs there, and that STOPSEARCH_DATABASE_URL is right.",
        )


@contextmanager
def open_database(settings: Settings) -> Iterator[Database]:
    """
    Give the database that the settings name, for as long as the context lasts.

    An embedded one is started, and made when it is absent; an outside one is used as it is. Whether its tables are
    there is for the migrations to say.

    Raises:
        ConfigError: The address, the server's version or the data folder cannot be used.
        StoreUnavailable: The server does not answer.
    """
    if settings.database_url is not None:
        database = outside_database(settings.database_url.get_secret_value())
        try:
            check_version(database)
            yield database
        finally:
            database.close()
        return
    # Only here: the embedded server's locks exist on Unix alone, an outside database is used from anywhere.
    from stopsearch.store.embedded import EmbeddedServer

    with EmbeddedServer(settings.data_dir) as server:
        server.ensure_database(EMBEDDED_DATABASE)
        database = Database(
            conninfo=server.conninfo(EMBEDDED_DATABASE),
            place=f"embedded database in {settings.data_dir}",
            is_embedded=True,
        )
        try:
            yield database
        finally:
            database.close()


def outside_database(url: str) -> Database:
    """
    Read a database's address, without connecting.

    Args:
        url: As PostgreSQL writes it (postgresql:// or postgres://), or as SQLAlchemy does for psycopg.

    Raises:
        ConfigError: It is no such address; the message does not repeat it, for it may hold a password.
    """
    remedy = (
        "Write it as postgresql://user:password@host:port/database, and @, / and : in a password as %40, %2F and %3A."
    )
    if not _SCHEME.match(url):
        raise ConfigError("STOPSEARCH_DATABASE_URL is not the address of a PostgreSQL database.", remedy=remedy)
    # SQLAlchemy leaves spaces in a password as they are; libpq wants them escaped.
    libpq_url = _SCHEME.sub("postgresql://", url).replace(" ", "%20")
    try:
        given = conninfo_to_dict(libpq_url)
        port = str(given.get("port") or "5432")
        if not all(part.isdigit() and 0 < int(part) < 65536 for part in port.split(",") if part):
            raise ConfigError("STOPSEARCH_DATABASE_URL has a port that is no number from 1 to 65535.", remedy=remedy)
    except psycopg.ProgrammingError:
        # Not chained: libpq's message repeats parts of the address.
        raise ConfigError("STOPSEARCH_DATABASE_URL cannot be read as an address.", remedy=remedy) from None
    if any("@" in str(given.get(part) or "") for part in ("host", "dbname")):
        # A password with an unescaped @ or / has spilled over; it must not get into a message.
        raise ConfigError("STOPSEARCH_DATABASE_URL has more than one @.", remedy=remedy)
    name = given.get("dbname") or given.get("user") or "of the user's own name"
    place = f"database {name} at {given.get('host') or given.get('hostaddr') or 'the local socket'}:{port}"
    return Database(conninfo=make_conninfo("", **given), place=place)


def check_version(database: Database) -> None:
    """
    Refuse a server that is too old.

    Raises:
        ConfigError: It is older than PostgreSQL 15.
        StoreUnavailable: It does not answer.
    """
    with database.connect() as connection:
        major = connection.info.server_version // 10000
    if major < OLDEST_MAJOR:
        raise ConfigError(
            f"The {database.place} is PostgreSQL {major}; stopsearch needs {OLDEST_MAJOR} or newer.",
            remedy="Upgrade the server, or leave STOPSEARCH_DATABASE_URL out to use the embedded one.",
        )


def _reason(error: psycopg.OperationalError) -> str:
    # "connection failed: connection to server at "h", port 5432 failed: FATAL:  reason", then hints and, for a host
    # with several addresses, the same of each.
    first = (str(error).strip().splitlines() or [""])[0]
    return re.sub(r"^.*(?:failed|is bad): (?:FATAL: *)?", "", first).strip().rstrip(".") or "it gave no reason"
