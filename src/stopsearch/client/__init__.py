"""
A client for Python of a stopsearch server: small, typed, blocking or awaiting, with the snapshot attached.

It talks HTTP and nothing else: nothing of the server, and no database, is needed where it runs.
"""

from stopsearch.client.answers import Answer, Snapshot, Table
from stopsearch.client.clients import AsyncClient, Client
from stopsearch.client.downloads import Export
from stopsearch.client.errors import (
    BadArgument,
    BrokenAnswer,
    ClientError,
    ClientTimeout,
    Fault,
    ProblemError,
    Unreachable,
)
from stopsearch.client.rows import AsyncRows, Rows

__all__ = [
    "Answer",
    "AsyncClient",
    "AsyncRows",
    "BadArgument",
    "BrokenAnswer",
    "Client",
    "ClientError",
    "ClientTimeout",
    "Export",
    "Fault",
    "ProblemError",
    "Rows",
    "Snapshot",
    "Table",
    "Unreachable",
]
