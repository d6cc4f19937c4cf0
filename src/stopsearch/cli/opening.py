"""
How a command begins: settings read, logs set up, the database opened.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import typer

from stopsearch.cli.arguments import is_untouched
from stopsearch.cli.exit_codes import OK
from stopsearch.cli.terminal import errors, note, safe
from stopsearch.domain.errors import RequestError
from stopsearch.settings import Settings, read_settings
from stopsearch.telemetry.logs import configure_logs

if TYPE_CHECKING:
    from stopsearch.store.database import Database


def begin() -> Settings:
    """
    Read the settings and set the logs up.
    """
    settings = read_settings()
    set_logs_up(settings)
    return settings


def set_logs_up(settings: Settings) -> None:
    """
    Let log events go to what standard error is now; a progress display takes its place for a while.
    """
    configure_logs(level=settings.log_level, shape=settings.log_format)


def at_least_info(settings: Settings) -> Settings:
    """
    Let a program that runs unattended log what it does, unless a level was chosen.
    """
    if "log_level" not in settings.model_fields_set:
        settings = settings.model_copy(update={"log_level": "info"})
        set_logs_up(settings)
    return settings


def need_something_held(settings: Settings, *, is_named: bool) -> None:
    """
    End a command that only reads, where no database has been made yet: it must not make one.

    Args:
        is_named: Whether something was named that must be there; otherwise, holding nothing is the answer.

    Raises:
        RequestError: What was named can't be there.
        typer.Exit: There is nothing to show; it was said so.
    """
    if not is_untouched(settings):
        return
    remedy = "'stopsearch quickstart' brings a real sample in, 'stopsearch ingest' what is due."
    if is_named:
        raise RequestError("Nothing is held yet.", remedy=remedy)
    note(f"Nothing is held yet: {remedy}")
    raise typer.Exit(OK)


@contextmanager
def opened(settings: Settings, *, migrating: bool = False) -> Iterator[Database]:
    """
    Give the database, ready for use; say so while an embedded one is made or started.
    """
    from stopsearch.flows.open_store import open_store

    with ExitStack() as stack:
        waiting = ""
        if is_untouched(settings):
            waiting = f"Making a database in {settings.data_dir} (only this once)"
        elif settings.database_url is None:
            waiting = "Starting the embedded database"
        if waiting and sys.stderr.isatty():
            with errors().status(safe(waiting), spinner="dots"):
                database = stack.enter_context(open_store(settings, migrating=migrating))
        else:
            if waiting.startswith("Making"):
                note(f"{safe(waiting)}.")
            database = stack.enter_context(open_store(settings, migrating=migrating))
        yield database
