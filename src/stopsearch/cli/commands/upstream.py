"""
`stopsearch upstream`: a stand-in for the publisher, for development and demos.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stopsearch.cli.arguments import check_paths
from stopsearch.cli.terminal import note, program, safe
from stopsearch.domain.months import Month

app = typer.Typer(help="A stand-in for the publisher's API.", no_args_is_help=True)


@app.callback()
def upstream() -> None:
    """
    A stand-in for the publisher's API.
    """


@app.command()
def serve(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH", help="Zips, CSV files, stored answers of the API, or folders of these."),
    ],
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="The port; 0 is any free one.")
    ] = 8765,
    no_limit: Annotated[
        bool, typer.Option("--no-limit", help="Do without the publisher's limit of 15 requests a second.")
    ] = False,
    latency_ms: Annotated[
        float, typer.Option("--latency-ms", metavar="MS", min=0, help="Milliseconds that every answer takes at least.")
    ] = 0,
    newest: Annotated[
        str | None, typer.Option("--newest", metavar="YYYY-MM", help="The newest month; later ones are held back.")
    ] = None,
    preload: Annotated[bool, typer.Option("--preload", help="Make the answers before the first request.")] = False,
    allow_outside: Annotated[
        bool, typer.Option("--allow-outside", help="Let --host be an address that other machines can reach.")
    ] = False,
) -> None:
    """
    Serve real data in the publisher's shape and habits, until Ctrl-C.

    Reach it with STOPSEARCH_UPSTREAM_URL set to the address that is told.
    """
    check_paths(paths)
    month = Month.parse(newest) if newest is not None else None
    from stopsearch.standin.serve import PUBLISHED_LIMIT, run_standin

    run_standin(
        [Path(path).expanduser() for path in paths],
        host=host,
        port=port,
        limit=None if no_limit else PUBLISHED_LIMIT,
        latency_ms=latency_ms,
        newest=month,
        preload=preload,
        allow_outside=allow_outside,
        announce=_announce,
    )


def _announce(address: str) -> None:
    note(f"The stand-in answers at {safe(address)} (end it with Ctrl-C). In another terminal:")
    note(f"  STOPSEARCH_UPSTREAM_URL={safe(address)} {program()} plan")
