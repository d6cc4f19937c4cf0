"""
Open the database for a command, and see that its tables are what this code needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from stopsearch.settings import Settings
from stopsearch.store.database import Database, open_database
from stopsearch.store.migrate import migrate, require_schema


@contextmanager
def open_store(settings: Settings, *, migrating: bool = False) -> Iterator[Database]:
    """
    Give the database that the settings name, ready for use.

    An embedded one is ours alone, so it is migrated without asking. An outside one may serve others, who are on an
    older version of this code: its owner says when it is migrated.

    Args:
        migrating: Whether an outside database is migrated too.

    Raises:
        SchemaOutOfDate: An outside database has other tables than this code needs.
        ConfigError: The settings name no database that can be used.
        StoreUnavailable: It does not answer.
    """
    with open_database(settings) as database:
        if database.is_embedded or migrating:
            migrate(database.engine)
        else:
            require_schema(database.engine)
        yield database
