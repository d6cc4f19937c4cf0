"""
The planner's statistics of the tables that pages and totals are read from.

Autovacuum gathers them too, but a minute late, and not at all on an embedded server that lives for the length of a
command. Without any, PostgreSQL takes one row in two hundred for current, and a page of stops takes ten times as long.
"""

from __future__ import annotations

from psycopg import Connection, sql

_READ_FROM = ("stop", "stop_count", "stop_total", "revision")

# As autovacuum's own threshold: a tenth of the table, and some for small ones.
_STALE = """
SELECT relname FROM pg_stat_user_tables
WHERE schemaname = current_schema() AND relname = ANY(%s) AND n_mod_since_analyze > 500 + n_live_tup / 10
"""


def refresh_statistics(connection: Connection) -> list[str]:
    """
    Gather the statistics of those tables that have changed much since they were last gathered.

    Cheap where nothing has. A table that another process is at is left to it.

    Args:
        connection: In autocommit.

    Returns:
        The names of the tables.
    """
    stale = [name for (name,) in connection.execute(_STALE, [list(_READ_FROM)])]
    for name in stale:
        connection.execute(sql.SQL("ANALYZE (SKIP_LOCKED) {}").format(sql.Identifier(name)))
    return stale
