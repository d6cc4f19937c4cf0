"""
How a command begins: settings read, logs set up, the database opened.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from stopsearch.cli.arguments import is_untouched
from stopsearch.cli.terminal import errors, note, safe
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
