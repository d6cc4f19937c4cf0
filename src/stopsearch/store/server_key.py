"""
The secret that cursors are signed with: made once for a database, the same for all of its servers.
"""

from __future__ import annotations

import secrets

from psycopg import Connection

_CURSORS = "cursors"
_KEY_BYTES = 32


def cursor_key(connection: Connection) -> bytes:
    """
    Give the key that cursors are signed with; the first server of a database makes it.

    Args:
        connection: One that may write, in autocommit: who only reads has no right to the key.
    """
    connection.execute(
        "INSERT INTO server_key (name, key) VALUES (%s, %s) ON CONFLICT (name) DO NOTHING",
        [_CURSORS, secrets.token_bytes(_KEY_BYTES)],
    )
    row = connection.execute("SELECT key FROM server_key WHERE name = %s", [_CURSORS]).fetchone()
    assert row is not None  # it was there, or has just been made; keys are never deleted
    return bytes(row[0])
