"""
Values as the server's own texts: taken as they are, and written the same way whatever a server prefers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from psycopg import AsyncCursor, Connection, Cursor
from psycopg.types.string import TextLoader

# What of a stop is written out as the server writes it.
_TYPES = ("float8", "json", "date", "uuid")


@contextmanager
def text_cursor(connection: Connection) -> Iterator[Cursor[Any]]:
    """
    Give a cursor to which numbers with fractions, JSON, dates and ids come as text, in one transaction.
    """
    with connection.transaction(), connection.cursor() as cursor:
        # What the server or the user's role prefers must not change how values are written.
        cursor.execute("SET LOCAL DateStyle = 'ISO'")
        cursor.execute("SET LOCAL TimeZone = 'UTC'")
        cursor.execute("SET LOCAL extra_float_digits = 1")
        take_texts(cursor)
        yield cursor


def take_texts(cursor: Cursor[Any] | AsyncCursor[Any]) -> None:
    """
    Let the same come to a cursor as text; how it is written is for the connection to have settled.
    """
    for name in _TYPES:
        cursor.adapters.register_loader(name, TextLoader)
