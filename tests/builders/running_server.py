"""
The application behind a real uvicorn, in a thread, on a free port of this machine's loopback.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from builders.ingests import settings_for
from stopsearch.serve.app import make_app
from stopsearch.serve.slow_clients import uvicorn_options
from stopsearch.store.database import Database

TOKEN = "a-token-of-the-tests"


@contextmanager
def running_server(database: Database, *, data_dir: Path, **changes: Any) -> Iterator[str]:
    """
    Run the server, and give its address. `changes` are settings; there is no client limit unless one is given.
    """
    settings = settings_for(**{"client_requests_per_s": 0, "data_dir": data_dir, **changes})
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        config = uvicorn.Config(make_app(database, settings), log_config=None, **uvicorn_options(settings))
        server = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: server.run(sockets=[listening]), daemon=True)
        thread.start()
        try:
            _wait_until_started(server, thread)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join(30)


def _wait_until_started(server: uvicorn.Server, thread: threading.Thread) -> None:
    deadline = time.monotonic() + 30
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise RuntimeError("The server did not start.")
        time.sleep(0.01)
