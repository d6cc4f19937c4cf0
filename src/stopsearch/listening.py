"""
Where a server of ours listens: a socket that is bound before anything is promised, and the address that it has then.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

from stopsearch.domain.errors import ConfigError

_BACKLOG = 2048


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """
    Listen on an address for a while.

    Args:
        port: The port; 0: any free one.

    Raises:
        ConfigError: The port is taken, or the address is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio sends without delay only over sockets that name it; else each answer
    # waits 40 ms for the client's acknowledgement of its headers.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(_BACKLOG)
        except OSError as error:
            raise ConfigError(
                f"The server cannot listen on {host}, port {port}: {error.strerror or error}.",
                remedy="Choose another with --host or --port; port 0 is any free one.",
            ) from error
        yield listener
    finally:
        listener.close()


def address_of(listener: socket.socket) -> str:
    """
    Give the address by which a listening socket is reached, without a path.
    """
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def is_loopback(host: str) -> bool:
    """
    Tell whether an address can be reached from this machine only.
    """
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
