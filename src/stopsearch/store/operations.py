"""
The names of policing operations: free text of the publisher's, each with a small code.
"""

from __future__ import annotations

from psycopg import Connection


def operation_codes(connection: Connection, names: set[str]) -> dict[str, int]:
    """
    Give the code of each operation name; a new one gets the next.
    """
    wanted = sorted(names)
    connection.execute(
        """
        INSERT INTO operation_name (name) SELECT unnest(%(names)s::text[])
        EXCEPT SELECT name FROM operation_name ORDER BY 1
        ON CONFLICT (name) DO NOTHING
        """,
        {"names": wanted},
    )
    rows = connection.execute("SELECT name, code FROM operation_name WHERE name = ANY(%s)", [wanted])
    return {str(name): int(code) for name, code in rows}
