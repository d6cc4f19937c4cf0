"""
`stopsearch db`: the database itself: migrate it, look at it, carry it elsewhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stopsearch.cli.arguments import AsJson, check_output
from stopsearch.cli.as_json import plain
from stopsearch.cli.opening import begin, need_something_held, opened
from stopsearch.cli.terminal import facts as show_facts
from stopsearch.cli.terminal import safe, say, say_json, size
from stopsearch.domain.errors import BadPath, ConfigError

_DUMP_MARK = b"PGDMP"  # how pg_dump's custom format begins
_NAME_A_DUMP = "Name a file that 'stopsearch db dump' wrote."

app = typer.Typer(help="The database itself: dump, restore, shell.", no_args_is_help=True)


@app.command()
def migrate() -> None:
    """
    Bring the tables to what this version needs.

    An embedded database is made when it is absent. Other commands do it by themselves for an embedded database, but
    never for one of STOPSEARCH_DATABASE_URL.
    """
    settings = begin()
    from stopsearch.store.migrate import newest_revision

    with opened(settings, migrating=True) as database:
        say(f"The {safe(database.place)} is at migration {newest_revision()}, the newest.")


@app.command()
def status(as_json: AsJson = False) -> None:
    """
    Show where it is, whether it runs, its size.

    Nothing is started.
    """
    settings = begin()
    if settings.database_url is None:
        # Only here: the embedded server exists on Unix alone.
        from stopsearch.store.embedded import EmbeddedServer

        server = EmbeddedServer(settings.data_dir).status()
        facts = [
            ("kind", "embedded PostgreSQL"),
            ("folder", str(server.data_dir)),
            ("running", f"yes, as process {server.pid}" if server.is_running else "no; every command starts it"),
            ("version", server.version or "not made yet"),
            ("size", size(server.size_bytes)),
        ]
        report = {"kind": "embedded", **plain(server)}
    else:
        from stopsearch.store.database import open_database
        from stopsearch.store.migrate import newest_revision, say_revision, schema_revision
        from stopsearch.store.status import database_bytes

        with open_database(settings) as database, database.connect(autocommit=True) as connection:
            version = connection.info.parameter_status("server_version") or ""
            found, needed = schema_revision(database.engine), newest_revision()
            held = database_bytes(connection)
            facts = [
                ("kind", "outside PostgreSQL"),
                ("database", database.place),
                ("version", version),
                ("schema", say_revision(found)),
                ("size", size(held)),
            ]
            report = {
                "kind": "outside",
                "database": database.place,
                "version": version,
                "schema": found,
                "newest_schema": needed,
                "size_bytes": held,
            }
    if as_json:
        say_json(report)
        return
    show_facts([(f"[bold]{name}[/bold]", safe(value)) for name, value in facts])


@app.command()
def shell(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="-- ARGUMENT", help="More for psql, say -- -c 'SELECT 1'.", show_default=False),
    ] = None,
) -> None:
    """
    Open psql on the database.

    The view stop_in_words has the stops with their words.
    """
    settings = begin()
    from stopsearch.store.dumps import open_shell

    with opened(settings) as database:
        code = open_shell(database, arguments or ())
    raise typer.Exit(code)


@app.command()
def dump(file: Annotated[str, typer.Argument(metavar="FILE", help="A file that does not exist yet.")]) -> None:
    """
    Write everything to one file.

    It is in the form of pg_dump, as everything is at one instant.
    """
    settings = begin()
    path = _file(file)
    if path.exists():
        raise BadPath(f"'{file}' exists.", remedy="Name another file, or remove it first.")
    need_something_held(settings, is_named=True)
    from stopsearch.store.dumps import dump as write_dump

    with opened(settings) as database:
        written = write_dump(database, path)
        say(f"The {safe(database.place)} was written to {safe(path)}, {size(written)}.")


@app.command()
def restore(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A file that 'stopsearch db dump' wrote.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Lose the stops that the database holds.")] = False,
) -> None:
    """
    Put a dump in place of everything.

    The tables are migrated afterwards. The dump may come from another machine, or another version of PostgreSQL. When
    it fails, the database is as it was.
    """
    settings = begin()
    path = _file(file)
    if not path.is_file():
        raise BadPath(f"'{file}' is not a file.", remedy=_NAME_A_DUMP)
    _check_dump(path)
    from stopsearch.store.dumps import restore as put_back
    from stopsearch.store.migrate import migrate as run_migrations

    with opened(settings, migrating=True) as database:
        put_back(database, path, overwrite=overwrite)
        run_migrations(database.engine)
        say(f"{safe(path)} is now in the {safe(database.place)}.")


@app.command()
def stop(
    force: Annotated[bool, typer.Option("--force", help="Also when other commands use it: they fail.")] = False,
) -> None:
    """
    Stop an embedded server left running.

    A killed command leaves it so. Nothing committed is lost.
    """
    settings = begin()
    if settings.database_url is not None:
        raise ConfigError(
            "The database of STOPSEARCH_DATABASE_URL is not ours to stop.", remedy="Stop it where it was started."
        )
    from stopsearch.store.embedded import EmbeddedServer

    was_running = EmbeddedServer(settings.data_dir).stop(force=force)
    say("The embedded server was stopped." if was_running else "No embedded server is running.")


def _check_dump(path: Path) -> None:
    """
    Look at the first bytes of a dump before a database is made for it.
    """
    try:
        with path.open("rb") as file:
            mark = file.read(len(_DUMP_MARK))
    except OSError as error:
        raise BadPath(f"'{path}' can't be read: {error.strerror}.", remedy=_NAME_A_DUMP) from error
    if mark != _DUMP_MARK:
        raise BadPath(f"'{path}' is no dump.", remedy=_NAME_A_DUMP)


def _file(given: str) -> Path:
    path = check_output(given)
    if path is None:
        raise BadPath("A dump can't go through standard output.", remedy="Name a file.")
    return path
