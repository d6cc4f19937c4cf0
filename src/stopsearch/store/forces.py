"""
The forces that the database knows, and the small code of each.
"""

from __future__ import annotations

from collections.abc import Mapping

from psycopg import Connection

from stopsearch.domain.forces import FORCE_NAMES


def force_code(connection: Connection, force: str) -> int:
    """
    Give a force's code; a force that is new gets the next free one. Safe by several processes at once.
    """
    found = connection.execute("SELECT code FROM force WHERE id = %s", [force]).fetchone()
    if found is None:
        with connection.transaction():
            connection.execute("LOCK TABLE force IN SHARE ROW EXCLUSIVE MODE")
            connection.execute(
                """
                INSERT INTO force (code, id, name)
                SELECT coalesce(max(code), 0) + 1, %(force)s, %(name)s FROM force
                ON CONFLICT (id) DO NOTHING
                """,
                {"force": force, "name": FORCE_NAMES.get(force)},
            )
        found = connection.execute("SELECT code FROM force WHERE id = %s", [force]).fetchone()
    assert found is not None  # inserted above, and forces are never deleted
    return int(found[0])


def name_forces(connection: Connection, names: Mapping[str, str]) -> None:
    """
    Take the publisher's own names of the forces that the database knows.
    """
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(
            "UPDATE force SET name = %s WHERE id = %s AND name IS DISTINCT FROM %s",
            [(name, force, name) for force, name in sorted(names.items()) if name],
        )


def any_unnamed(connection: Connection) -> bool:
    """
    Tell whether there is a force whose name we don't know.
    """
    row = connection.execute("SELECT EXISTS (SELECT FROM force WHERE name IS NULL)").fetchone()
    return bool(row and row[0])


def known_forces(connection: Connection) -> dict[str, int]:
    """
    Give the code of every force that the database knows, by id.
    """
    return {str(force): int(code) for force, code in connection.execute("SELECT id, code FROM force ORDER BY id")}
