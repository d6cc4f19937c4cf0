"""
The connection that a batch asks its short questions on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from psycopg import Connection

from stopsearch.store.database import Database

_T = TypeVar("_T")


class Desk:
    """
    One connection for short questions, asked one at a time, from any thread. The advisory locks of runs live on it.
    """

    def __init__(self, database: Database) -> None:
        self._connection = database.connect(autocommit=True)
        self._turn = threading.Lock()

    def call(self, question: Callable[[Connection], _T]) -> _T:
        """
        Ask a question, once those before it are answered.
        """
        with self._turn:
            return question(self._connection)

    def close(self) -> None:
        """
        Close the connection, and let its locks go.
        """
        self._connection.close()
