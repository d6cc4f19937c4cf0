"""
What the database driver's errors mean for a person: the database is away, a right is missing, or a statement failed.
"""

from __future__ import annotations

import psycopg

from stopsearch.domain.errors import ConfigError, StopSearchError, StoreError, StoreUnavailable
from stopsearch.telemetry.faults import database_error, describe_fault

# The right that is missing, and what whoever owns the database runs to give it; "the_user" is who we connect as.
_ON_SCHEMA = "GRANT USAGE, CREATE ON SCHEMA public TO the_user;"
_ON_DATABASE = "GRANT CONNECT, TEMPORARY ON DATABASE the_database TO the_user;"
_ON_TABLES = (
    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO the_user; "
    "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO the_user;"
)

# Trouble between transactions that passes when one of them is done: a deadlock, a conflict, a lock waited for too long.
_PASSING = frozenset({"40P01", "40001", "55P03"})


def is_store_gone(error: BaseException) -> bool:
    """
    Tell a database that went away, shut down or has no room from one that refused a single statement.

    A lost connection has no code of the server's; classes 08, 53 and 57P are connection trouble, no resources, and an
    operator's intervention. https://www.postgresql.org/docs/current/errcodes-appendix.html
    """
    if isinstance(error, psycopg.InterfaceError):
        return True
    code = error.sqlstate if isinstance(error, psycopg.OperationalError) else ""
    return code is None or code.startswith(("08", "53", "57P"))


def is_passing(error: BaseException) -> bool:
    """
    Tell trouble between two transactions, which a second try is likely to be spared.
    """
    return isinstance(error, psycopg.Error) and error.sqlstate in _PASSING


def store_gone(error: BaseException) -> StoreUnavailable:
    """
    Say that the database went away, in place of what the driver says.
    """
    return StoreUnavailable(
        f"The database does not answer, or went away: {describe_fault(error)}.",
        remedy="What was committed stays. See that it runs ('stopsearch db status'), then run the same again.",
    )


def known_trouble(error: BaseException) -> StopSearchError | None:
    """
    Say what an error of the driver, or of SQLAlchemy around it, means for a person; None for any other error.
    """
    trouble = database_error(error)
    if trouble is None:
        return None
    if is_store_gone(trouble):
        return store_gone(trouble)
    if trouble.sqlstate in ("42501", "3F000"):
        return ConfigError(f"A right is missing in the database: {_said(trouble)}.", remedy=_grant(trouble))
    if trouble.sqlstate == "25006":
        return ConfigError(
            f"The database takes no writes: {_said(trouble)}.",
            remedy="Name its primary server in STOPSEARCH_DATABASE_URL; if it is that, let the database's owner run: "
            "ALTER ROLE the_user RESET default_transaction_read_only;",
        )
    return StoreError(
        f"The database refused a statement: {describe_fault(trouble)}.",
        remedy="What was committed stays. Run the same again; if it comes back, please report it.",
    )


def _said(error: psycopg.Error) -> str:
    return (error.diag.message_primary or type(error).__name__).rstrip(".")


def _grant(error: psycopg.Error) -> str:
    said = _said(error)
    if said.startswith("must be owner"):
        return "Connect as the tables' owner, who once ran 'stopsearch db migrate'."
    if "schema" in said:
        grant = _ON_SCHEMA
    elif "database" in said:
        grant = _ON_DATABASE
    else:
        grant = _ON_TABLES
    return f"Let the database's owner run: {grant} the_user is the user of STOPSEARCH_DATABASE_URL."
