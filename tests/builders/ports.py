"""
Ports for servers that a test stops and starts again.
"""

from __future__ import annotations

import secrets
import socket

# Below those that systems hand out for outgoing connections: a client that knocks at the port of a server that is
# down must not be given that very port as its own, nor may another client take it before the server is back.
_FIRST, _LAST = 15_000, 32_000


def free_port() -> int:
    """
    Give a port of 127.0.0.1 on which nobody listens, and which no outgoing connection will take.
    """
    while True:
        # Not of `random`, which some tests seed: two processes would then draw the same.
        port = _FIRST + secrets.randbelow(_LAST - _FIRST)
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
