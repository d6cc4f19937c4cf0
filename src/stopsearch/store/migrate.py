"""
Bring a database's schema to what this code needs, and tell whether it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine
from sqlalchemy.dialects.postgresql import insert

from stopsearch.domain.errors import SchemaOutOfDate
from stopsearch.domain.vocabulary import VOCABULARY
from stopsearch.store.tables import Vocabulary
from stopsearch.store.troubles import known_trouble

_SCRIPTS = Path(__file__).parent / "migrations"
# Two commands that migrate at once must not run one migration twice: "stopsearch" in ASCII, cut to 8 bytes.
_LOCK = int.from_bytes(b"stopsear", "big")


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def newest_revision() -> str:
    """
    Give the migration that this code needs.
    """
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise SchemaOutOfDate("This installation of stopsearch holds no migration.", remedy="Install it again.")
    return head


def schema_revision(engine: Engine) -> str | None:
    """
    Give the migration that the database is at; None where it has no schema of ours.

    Raises:
        ConfigError: A right is missing; the message names it.
    """
    with _in_our_words(), engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def migrate(engine: Engine) -> str:
    """
    Run the migrations that the database lacks. Safe to call twice, and by two processes at once.

    Returns:
        The migration that the database is at afterwards.

    Raises:
        ConfigError: The database's user has no right to make tables; the message names what to run.
        SchemaOutOfDate: The database is newer than this code.
    """
    with _in_our_words(), engine.connect() as connection:
        connection.execute(sa.text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK})
        connection.commit()
        try:
            found = MigrationContext.configure(connection).get_current_revision()
            if _is_newer(found):
                raise _newer(found)
            command.upgrade(_config(connection), "head")
            _write_vocabulary(connection)
            connection.commit()
        finally:
            connection.rollback()
            connection.execute(sa.text("SELECT pg_advisory_unlock(:key)"), {"key": _LOCK})
            connection.commit()
    return newest_revision()


def _write_vocabulary(connection: Connection) -> None:
    labels = [
        {"field": field, "code": label.code, "label": label.text, "label_group": label.group}
        for field, labels in VOCABULARY.items()
        for label in labels
    ]
    connection.execute(insert(Vocabulary).on_conflict_do_nothing(index_elements=["field", "code"]), labels)


def require_schema(engine: Engine) -> None:
    """
    Make sure that the database's schema is the one that this code needs.

    Raises:
        SchemaOutOfDate: It is missing, older or newer.
    """
    found, needed = schema_revision(engine), newest_revision()
    if _is_newer(found):
        raise _newer(found)
    if found != needed:
        what = "has no stopsearch schema yet" if found is None else f"is at migration {found}, not {needed}"
        raise SchemaOutOfDate(f"The database {what}.", remedy="Run 'stopsearch db migrate'.")


def say_revision(found: str | None) -> str:
    """
    Say for people which migration a database is at, and what to do about it.
    """
    needed = newest_revision()
    if found is None:
        return "none yet: run 'stopsearch db migrate'"
    if found == needed:
        return f"{found}, the newest"
    return (
        f"{found}, newer than {needed}: upgrade stopsearch"
        if _is_newer(found)
        else f"{found}, not {needed}: migrate it"
    )


def _is_newer(found: str | None) -> bool:
    # Our migrations are numbered in their order, so that one that this code does not know tells its age.
    return found is not None and found > newest_revision()


def _newer(found: str | None) -> SchemaOutOfDate:
    return SchemaOutOfDate(
        f"The database is newer than this code: it is at migration {found}, and {newest_revision()} is the last one "
        "known here.",
        remedy="Upgrade stopsearch.",
    )


@contextmanager
def _in_our_words() -> Iterator[None]:
    """
    Say what SQLAlchemy's errors mean, without the statement and the values that they quote.
    """
    try:
        yield
    except sa.exc.DBAPIError as error:
        known = known_trouble(error)
        if known is None:
            raise
        raise known from error


def check_models(engine: Engine) -> None:
    """
    Make sure that models and migrations agree, as `alembic check` does.

    Raises:
        alembic.util.AutogenerateDiffsDetected: They differ.
    """
    with engine.connect() as connection:
        command.check(_config(connection))


def write_migration(engine: Engine, message: str, number: str) -> None:
    """
    Write a new migration from the difference between the models and the database. For developers.
    """
    with engine.connect() as connection:
        command.revision(_config(connection), message=message, autogenerate=True, rev_id=number)
