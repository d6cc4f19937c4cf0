"""
`stopsearch serve`: the HTTP API.
"""

from __future__ import annotations

from typing import Annotated

import typer

from stopsearch.cli.opening import begin, opened
from stopsearch.cli.stopping import end_at_once
from stopsearch.cli.terminal import note, safe
from stopsearch.listening import address_of, is_loopback, listening
from stopsearch.settings import Settings

DEFAULT_PORT = 8000


def serve(
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="The port; 0 is any free one.")
    ] = DEFAULT_PORT,
) -> None:
    """
    Serve the HTTP API, until Ctrl-C or SIGTERM.

    Then answers that are under way are finished first, and so is what is being stored; asked a second time, it ends at
    once. Its pages for people are at /docs.
    """
    settings = begin()
    # A taken port is told before a database is made or started.
    with listening(host, port) as listener:
        from stopsearch.serve.app import make_app
        from stopsearch.serve.run_server import run_server

        with opened(settings) as database:
            run_server(
                make_app(database, settings),
                settings,
                listener,
                when_ready=lambda _: _announce(address_of(listener), host, settings),
                when_asked_again=end_at_once,
            )


def _announce(address: str, host: str, settings: Settings) -> None:
    note(
        f"Serving at {safe(address)} (end it with Ctrl-C); its pages are at {safe(settings.public_url or address)}/docs"
    )
    if settings.api_token is None:
        note("Starting ingestions over HTTP is off: STOPSEARCH_API_TOKEN is not set.")
    if not is_loopback(host):
        note(f"{safe(host)} can be reached from other machines.")
