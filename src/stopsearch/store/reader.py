"""
The role that can only read: made beside the tables, and taken on by every connection that answers are read through.
"""

from __future__ import annotations

from typing import Any, LiteralString

import psycopg
import sqlalchemy as sa
import structlog
from psycopg import AsyncConnection, Connection, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from stopsearch.settings import Settings
from stopsearch.store.database import Database, outside_database
from stopsearch.store.tables import Base, ServerKey
from stopsearch.telemetry.events import Event

log = structlog.get_logger()

READER = "stopsearch_reader"

# What a reader may see: every table but the keys that cursors are signed with, the views, and which migration it is.
READABLE = (
    *sorted(set(Base.metadata.tables) - {ServerKey.__tablename__}),
    "alembic_version",
    "stop_in_words",
    "stop_street",
)

# Roles belong to the whole server. Two databases of it that are migrated at once may make the role, or write the same
# row of the catalogue, in the same moment: duplicate_object, unique_violation, "tuple concurrently updated".
_MET_ANOTHER = frozenset({"42710", "23505", "XX000"})
_TRIES = 5

# Since PostgreSQL 16 a membership says by itself whether the role may be taken on.
_MAY_TAKE_ON = "SET"
_MAY_TAKE_ON_15 = "MEMBER"


def ensure_reader(connection: sa.Connection) -> bool:
    """
    Make the role that can only read, where it is absent, and give it its rights on the tables.

    Without the right to do so it says in the log what an administrator would run, and nothing fails: reads then go
    through the same user as writes, in transactions that only read. Safe to call twice, and on several databases of
    one server at once.

    Args:
        connection: Of the tables' owner; what it has open is committed.

    Returns:
        Whether the role is there with all its rights, and this user may take it on.
    """
    connection.commit()
    driver: Connection[Any] = connection.connection.driver_connection  # type: ignore[assignment]  # SQLAlchemy's Any
    reason = ""
    for _ in range(_TRIES):
        try:
            # Each for itself: where the role may not be given to this user, another login may have it all the same.
            for step in (_make_role, _grant_tables, _grant_role):
                step(driver)
                driver.commit()
            return may_read_as(driver)
        except psycopg.Error as error:
            driver.rollback()
            reason = (error.diag.message_primary or type(error).__name__).rstrip(".")
            if error.sqlstate not in _MET_ANOTHER:
                break
        finally:
            driver.rollback()
            connection.rollback()
    log.info(Event.READER_UNMADE, reason=reason, remedy=what_to_run())
    return False


def what_to_run() -> str:
    """
    Give the statements with which an administrator makes the role, where the tables' owner may not.
    """
    return (
        f"CREATE ROLE {READER} NOLOGIN; GRANT {READER} TO the_user; GRANT USAGE ON SCHEMA public TO {READER}; "
        "then run 'stopsearch db migrate' again, as the_user"
    )


def _make_role(connection: Connection[Any]) -> None:
    if not connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [READER]).rowcount:
        connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(READER)))


def _grant_tables(connection: Connection[Any]) -> None:
    """
    Give the rights that lack: those that are there are not written again, for that would lock out whoever reads them.
    """
    role = sql.Identifier(READER)
    schema = connection.execute(
        "SELECT current_schema(), has_schema_privilege(%s, current_schema(), 'USAGE')", [READER]
    ).fetchone()
    if schema and not schema[1]:
        connection.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(sql.Identifier(schema[0]), role))
    lacking = connection.execute(
        """
        SELECT name FROM unnest(%(tables)s::text[]) AS name
        WHERE NOT has_table_privilege(%(role)s, to_regclass(name), 'SELECT')
        """,
        {"tables": list(READABLE), "role": READER},
    ).fetchall()
    if lacking:
        tables = sql.SQL(", ").join(sql.Identifier(name) for (name,) in lacking)
        connection.execute(sql.SQL("GRANT SELECT ON {} TO {}").format(tables, role))


def _grant_role(connection: Connection[Any]) -> None:
    # Whether a role may be taken on goes by who logged in, whatever role that user has taken on since.
    row = connection.execute(
        "SELECT session_user, pg_has_role(session_user, %s, %s)", [READER, _taking_on(connection)]
    ).fetchone()
    if row and not row[1]:
        # It is taken on, not inherited: who logs in with more rights loses none by it.
        terms = sql.SQL("" if connection.info.server_version < 160000 else " WITH INHERIT FALSE, SET TRUE")
        grant = sql.SQL("GRANT {} TO {}{}")
        connection.execute(grant.format(sql.Identifier(READER), sql.Identifier(row[0]), terms))


def _taking_on(connection: Connection[Any] | AsyncConnection[Any]) -> str:
    return _MAY_TAKE_ON_15 if connection.info.server_version < 160000 else _MAY_TAKE_ON


# The role counts where it can read every table of this database: it may be there for another database of the server
# alone. Of a name that is no table the question gives NULL, and it is not asked for.
_USABLE: LiteralString = """
    FROM pg_roles AS role
    WHERE role.rolname = %(role)s AND pg_has_role(session_user, role.oid, %(taking_on)s)
        AND NOT EXISTS (
            SELECT FROM unnest(%(tables)s::text[]) AS name
            WHERE NOT has_table_privilege(role.oid, to_regclass(name), 'SELECT')
        )
"""


def may_read_as(connection: Connection[Any]) -> bool:
    """
    Tell whether the role is there, can read every table, and may be taken on by this connection's user.
    """
    return connection.execute(f"SELECT 1 {_USABLE}", _asking(connection)).fetchone() is not None


def _asking(connection: Connection[Any] | AsyncConnection[Any]) -> dict[str, Any]:
    return {"role": READER, "taking_on": _taking_on(connection), "tables": list(READABLE)}


def reading_options(settings: Settings) -> dict[str, str]:
    """
    Give the server's settings of every connection that answers are read through.

    Transactions only read; statements, waits for locks and idle transactions are bounded; times are UTC and ISO, and
    numbers are written in the shortest form that gives the same number back.
    """
    timeout_ms = str(max(1, round(settings.statement_timeout_s * 1000)))
    return {
        "default_transaction_read_only": "on",
        "statement_timeout": timeout_ms,
        "lock_timeout": timeout_ms,
        # No answer holds a transaction while its client takes it in.
        "idle_in_transaction_session_timeout": timeout_ms,
        # Compiling a plan takes longer than any page does.
        "jit": "off",
        "TimeZone": "UTC",
        "DateStyle": "ISO",
        "extra_float_digits": "1",
    }


def reading_conninfo(database: Database, settings: Settings) -> str:
    """
    Give the address that answers are read from, with what every such connection begins with.

    Raises:
        ConfigError: STOPSEARCH_READ_DATABASE_URL is no address.
    """
    address = settings.read_database_url
    where = database if address is None else outside_database(address.get_secret_value())
    given = conninfo_to_dict(where.conninfo)
    options = " ".join(f"-c {name}={value}" for name, value in reading_options(settings).items())
    defaults = {"application_name": "stopsearch-reader", "client_encoding": "UTF8", "connect_timeout": "10"}
    return make_conninfo("", **{**defaults, **given, "options": f"{given.get('options') or ''} {options}".strip()})


def configure_reader(connection: Connection[Any], settings: Settings) -> None:
    """
    Make a new connection one that only reads, and let it take the role on that can do nothing else.

    Fit for `configure` of a pool: no transaction is left open. Where the role may not be taken on, or where a user
    for reading is configured, the user's own rights stay.
    """
    connection.execute(_SET_ALL, _pairs(settings))
    if settings.read_database_url is None:
        connection.execute(_TAKE_ON, _asking(connection))
    if not connection.autocommit:
        connection.commit()


async def configure_reader_async(connection: AsyncConnection[Any], settings: Settings) -> None:
    """
    Do the same for a connection of an asynchronous pool.
    """
    await connection.execute(_SET_ALL, _pairs(settings))
    if settings.read_database_url is None:
        await connection.execute(_TAKE_ON, _asking(connection))
    if not connection.autocommit:
        await connection.commit()


# Also set here, and not by the address alone: PGTZ, PGOPTIONS and poolers between us and the server may overrule that.
_SET_ALL: LiteralString = """
    SELECT set_config(setting.key, setting.value, false)
    FROM unnest(%(keys)s::text[], %(values)s::text[]) AS setting (key, value)
"""
_TAKE_ON: LiteralString = f"SELECT set_config('role', role.rolname, false) {_USABLE}"


def _pairs(settings: Settings) -> dict[str, list[str]]:
    options = reading_options(settings)
    return {"keys": list(options), "values": list(options.values())}
