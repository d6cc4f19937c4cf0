"""
Running the stand-in: until it is interrupted, for people, or in a thread, for tests and benchmarks.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from stopsearch.domain.errors import ConfigError
from stopsearch.domain.months import Month
from stopsearch.listening import address_of, is_loopback, listening
from stopsearch.standin.app import create_app
from stopsearch.standin.catalogue import Catalogue
from stopsearch.standin.limit import Limit
from stopsearch.standin.publication import WINDOW_MONTHS, Publication

DEFAULT_PORT = 8765
PUBLISHED_LIMIT = Limit()
_START_TIMEOUT_S = 10.0


def run_standin(
    paths: Sequence[Path],
    *,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    limit: Limit | None = PUBLISHED_LIMIT,
    latency_ms: float = 0.0,
    newest: Month | None = None,
    window: int = WINDOW_MONTHS,
    preload: bool = False,
    allow_outside: bool = False,
    announce: Callable[[str], None] | None = None,
) -> None:
    """
    Serve what the paths hold until interrupted.

    Args:
        paths: Zips, CSV files, stored answers, or folders of these.
        host: The address to listen on.
        port: The port; 0: any free one.
        limit: The rate limit by client address; none: no limit.
        latency_ms: Milliseconds that every answer takes at least.
        newest: The newest month that is published; later ones are held back.
        window: The number of months that are listed and answered.
        preload: Encode the answers before the first request.
        allow_outside: Listen on an address that other machines can reach.
        announce: Told the API's address once it is served; standard error by default.

    Raises:
        BadPath: A path is not there, or none holds stops.
        ConfigError: The host can be reached from outside and that was not allowed, or the port is taken.
    """
    if not allow_outside and not is_loopback(host):
        raise ConfigError(
            f"The stand-in would listen on {host}, which other machines may reach.",
            remedy="Use 127.0.0.1, or allow it with --allow-outside.",
        )
    catalogue = Catalogue.open(paths)
    try:
        publication = Publication(catalogue, newest=newest, window=window)
        if preload:
            publication.preload()
        app = create_app(publication, limit=limit, latency_s=latency_ms / 1000)
        with listening(host, port) as listener:
            (announce or _to_standard_error)(f"{address_of(listener)}/api")
            # Uvicorn shuts down and then raises the interrupt again; to be interrupted is how this ends.
            with suppress(KeyboardInterrupt):
                uvicorn.Server(_config(app)).run(sockets=[listener])
    finally:
        catalogue.close()


@contextmanager
def serving_in_thread(app: ASGIApp, *, port: int = 0) -> Iterator[str]:
    """
    Serve an app on the loopback address in a thread, and give its address, without a path.
    """
    with listening("127.0.0.1", port) as listener:
        server = uvicorn.Server(_config(app))
        thread = threading.Thread(target=server.run, args=([listener],), name="standin", daemon=True)
        thread.start()
        try:
            _wait_until_started(server, thread)
            yield address_of(listener)
        finally:
            # Answers that still hang are not waited for.
            server.should_exit = server.force_exit = True
            thread.join(_START_TIMEOUT_S)


def _config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http="h11",
        lifespan="off",
        log_level="critical",
        access_log=False,
        server_header=False,
        # A client's address is what the connection says: a header must not get round the limit or the control.
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
    )


def _wait_until_started(server: uvicorn.Server, thread: threading.Thread) -> None:
    pause = threading.Event()
    for _ in range(int(_START_TIMEOUT_S * 200)):
        if server.started:
            return
        if not thread.is_alive():
            break
        pause.wait(0.005)
    raise ConfigError("The stand-in did not start.", remedy="See what was written to standard error.")


def _to_standard_error(address: str) -> None:
    sys.stderr.write(f"The stand-in answers at {address} (end it with Ctrl-C).\n")
    sys.stderr.flush()
