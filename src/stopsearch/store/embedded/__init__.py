"""
A PostgreSQL of our own in the data folder: started by the first process that needs it, stopped by the last.
"""

from stopsearch.store.embedded.server import EmbeddedServer, ServerStatus

__all__ = ["EmbeddedServer", "ServerStatus"]
