"""
Write the next migration from what the models have and the migrations lack.

Run as `python tools/make_migration.py "Add what it adds"`. It compares on a database of its own, which the migrations
build: an embedded one in a folder for the moment, or one on the server of STOPSEARCH_TEST_DATABASE_URL.
"""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from psycopg import sql
from psycopg.conninfo import make_conninfo

import stopsearch
from stopsearch.cli.failures import tell_failure
from stopsearch.domain.errors import StopSearchError
from stopsearch.store.database import Database, outside_database
from stopsearch.store.embedded import EmbeddedServer
from stopsearch.store.migrate import migrate, model_differences, newest_revision, write_migration
from stopsearch.telemetry.logs import configure_logs

VERSIONS = Path(stopsearch.__file__).parent / "store" / "migrations" / "versions"
# It becomes a file's name and the first line of its docstring.
_MESSAGE = re.compile(r"[A-Za-z][\w ,:;'()-]{2,99}")
_REFUSED = 2


def main(message: str) -> int:
    """
    Write the migration, and name its file and what it does; or say that nothing differs.
    """
    message = message.strip().removesuffix(".")
    if not _MESSAGE.fullmatch(message):
        sys.stderr.write("error: A message is one line of 3 to 100 letters, digits, spaces and ,:;'()-\n")
        return _REFUSED
    configure_logs(level="warning", shape="auto")
    try:
        with scratch_database() as database:
            migrate(database.engine)
            differences = model_differences(database.engine)
            if not differences:
                sys.stdout.write("Models and migrations agree: nothing to write.\n")
                return 0
            number = f"{int(newest_revision()) + 1:04d}"
            write_migration(database.engine, message, number)
    except StopSearchError as error:
        return tell_failure(error, debug=False)
    [path] = VERSIONS.glob(f"{number}_*.py")
    subprocess.run([sys.executable, "-m", "ruff", "check", "--quiet", "--fix", str(path)], check=False)
    subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet", str(path)], check=True)
    sys.stdout.write(f"Wrote {path}:\n")
    sys.stdout.writelines(f"  {difference}\n" for difference in differences)
    sys.stdout.write("Say in its docstring why, and which locks it holds; describe new columns in docs/database.md.\n")
    return 0


@contextmanager
def scratch_database() -> Iterator[Database]:
    """
    Give a database with nothing in it, for as long as the context lasts.
    """
    name = f"stopsearch_scratch_{secrets.token_hex(4)}"
    given = os.environ.get("STOPSEARCH_TEST_DATABASE_URL")
    if given:
        server = outside_database(given)
        with server.connect(autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        try:
            yield from _opened(make_conninfo(server.conninfo, dbname=name))
        finally:
            with server.connect(autocommit=True) as connection:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        return
    with (
        TemporaryDirectory(prefix="stopsearch-scratch-") as folder,
        EmbeddedServer(Path(folder), is_durable=False) as server,
    ):
        server.ensure_database(name)
        yield from _opened(server.conninfo(name))


def _opened(conninfo: str) -> Iterator[Database]:
    database = Database(conninfo=conninfo, place="scratch database")
    try:
        yield database
    finally:
        database.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
