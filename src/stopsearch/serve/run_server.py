"""
Runs the application on a socket until the process is told to end, and ends it in order.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from stopsearch.serve.slow_clients import uvicorn_options
from stopsearch.settings import Settings

_SWITCH_S = 0.0005


def run_server(
    app: FastAPI,
    settings: Settings,
    listener: socket.socket,
    *,
    when_ready: Callable[[uvicorn.Server], None],
    when_asked_again: Callable[[int], None] | None = None,
) -> None:
    """
    Serve until SIGINT or SIGTERM, or until the server's `should_exit` is set. Answers under way are finished first,
    within a bound.

    Args:
        when_ready: Called as soon as requests are answered.
        when_asked_again: Called with the signal, if the process is told to end once more.

    Raises:
        StopSearchError: What the application needs can't be had; nothing was served.
    """
    config = uvicorn.Config(
        app,
        **{
            **uvicorn_options(settings),
            # The application's lifespan is entered here, so that what it raises can be told.
            "lifespan": "off",
            # The server logs its own events; Uvicorn's would repeat an error's text, which may quote somebody's record.
            "log_config": None,
            "log_level": "critical",
        },
    )
    # A thread that counts, or finds a snapshot, must not keep the event loop waiting for five milliseconds at a time.
    sys.setswitchinterval(_SWITCH_S)
    server = _Server(config, when_ready, when_asked_again)
    # Streams that would go on for as long as anybody listens end when the server is told to.
    app.state.is_stopping = lambda: server.should_exit

    async def serve() -> None:
        async with app.router.lifespan_context(app):
            await server.serve(sockets=[listener])

    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(serve())


class _Server(uvicorn.Server):
    def __init__(
        self,
        config: uvicorn.Config,
        when_ready: Callable[[uvicorn.Server], None],
        when_asked_again: Callable[[int], None] | None,
    ) -> None:
        super().__init__(config)
        self._when_ready, self._when_asked_again = when_ready, when_asked_again

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._when_ready(self)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - as Uvicorn calls it
        # Uvicorn's own would raise the signal again at the end: to be told to end is how serving ends.
        if self.should_exit and self._when_asked_again is not None:
            self._when_asked_again(sig)
        self.should_exit = True
