"""
A port of the loopback that nobody listens on.
"""

from __future__ import annotations

import socket


def free_port() -> int:
    """
    Give one. Another process may take it before it is used: a benchmark then fails, and is run again.
    """
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
