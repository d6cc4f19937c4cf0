"""
The connections that a batch writes its revisions on, lent to one run at a time each.
"""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from psycopg import Connection

from stopsearch.store.copy_rows import widen_send_buffer
from stopsearch.store.database import Database
from stopsearch.store.ledger import commit_without_waiting
from stopsearch.store.streets import StreetBook


@dataclass(frozen=True, kw_only=True)
class Writer:
    """
    One connection, and the streets that are known to be kept.
    """

    connection: Connection
    streets: StreetBook


class Writers:
    """
    A few writers. Two keep the server busy while one of them hands its rows over or waits for its commit.

    A run's commit does not wait for the disk; the batch's end does, and takes all runs before it along. Should the
    machine lose power between, whole runs of the last second are missing, and are due again.
    """

    def __init__(self, database: Database, count: int) -> None:
        self._idle: queue.SimpleQueue[Writer] = queue.SimpleQueue()
        self._all = [Writer(connection=database.connect(autocommit=True), streets=StreetBook()) for _ in range(count)]
        for writer in self._all:
            commit_without_waiting(writer.connection)
            widen_send_buffer(writer.connection)
            self._idle.put(writer)

    @contextmanager
    def lend(self) -> Iterator[Writer]:
        """
        Lend a writer; wait for one where all are lent.
        """
        writer = self._idle.get()
        try:
            yield writer
        finally:
            self._idle.put(writer)

    def close(self) -> None:
        """
        Close every connection.
        """
        for writer in self._all:
            writer.connection.close()
