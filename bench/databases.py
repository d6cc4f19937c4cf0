"""
A server of the benchmarks' own, run as the package ships it, and a fresh database for each case.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from psycopg import Connection, sql
from psycopg.conninfo import make_conninfo

from stopsearch.settings import Settings
from stopsearch.store.database import Database, open_database
from stopsearch.store.migrate import migrate

TEMPLATE = "bench_template"


def plain_settings(data_dir: Path, **changes: object) -> Settings:
    """
    Give the settings as they ship, whatever the environment says, but for the data folder and what is changed.
    """
    return Settings(_env_file=None, database_url=None, data_dir=data_dir, **changes)  # type: ignore[call-arg,arg-type]


class BenchServer:
    """
    The embedded server in a folder of its own, with a migrated template to make databases from.
    """

    def __init__(self, home: Database) -> None:
        self._home = home
        self._numbers = count(1)

    def conninfo(self, name: str) -> str:
        """
        Give the address of one of the server's databases.
        """
        return make_conninfo(self._home.conninfo, dbname=name)

    @contextmanager
    def fresh(self, template: str = TEMPLATE) -> Iterator[str]:
        """
        Make a database from a template, settle the server, and give its address; it is dropped afterwards.
        """
        name = f"bench_{next(self._numbers)}"
        self.make(name, template)
        try:
            yield self.conninfo(name)
        finally:
            self.drop(name)

    def make(self, name: str, template: str) -> None:
        """
        Make a database, and have what that wrote out of the way before anything is measured.
        """
        with self._home.connect(autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
            )
            connection.execute("CHECKPOINT")

    def exists(self, name: str) -> bool:
        """
        Tell whether there is a database of this name.
        """
        with self._home.connect(autocommit=True) as connection:
            return connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone() is not None

    def rename(self, old: str, new: str) -> None:
        """
        Give a database another name; nobody may be connected to it.
        """
        with self._home.connect(autocommit=True) as connection:
            connection.execute(
                sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(old), sql.Identifier(new))
            )

    def drop(self, name: str) -> None:
        """
        Drop a database, whoever is still connected to it.
        """
        with self._home.connect(autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def bench_server(data_dir: Path) -> Iterator[BenchServer]:
    """
    Start the embedded server, durable as it ships, and stop it at the end.
    """
    with open_database(plain_settings(data_dir)) as home:
        server = BenchServer(home)
        if not server.exists(TEMPLATE):
            server.make(TEMPLATE, "template0")
            template = database_at(server.conninfo(TEMPLATE))
            migrate(template.engine)
            template.close()
        yield server


def database_at(conninfo: str) -> Database:
    """
    Give the database at an address.
    """
    return Database(conninfo=conninfo, place="database of the benchmarks", is_embedded=True)


def column_names(connection: Connection, table: str) -> list[str]:
    """
    Give a table's columns in their order.
    """
    rows = connection.execute(
        """
        SELECT attname FROM pg_attribute
        WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
        """,
        [table],
    ).fetchall()
    return [name for (name,) in rows]
