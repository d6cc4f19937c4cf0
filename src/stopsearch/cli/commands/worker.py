"""
`stopsearch worker`: run the tasks of batches.
"""

from __future__ import annotations

from typing import Annotated

import typer

from stopsearch.cli.opening import at_least_info, begin
from stopsearch.cli.terminal import note
from stopsearch.domain.errors import RequestError
from stopsearch.settings import QUEUES, Settings


def worker(
    queues: Annotated[
        str | None,
        typer.Option(
            "--queues",
            metavar="NAMES",
            help=f"Queues to serve, separated by commas, of {', '.join(QUEUES)}. Default: STOPSEARCH_WORKER_QUEUES.",
            show_default=False,
        ),
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=64,
            help="Processes, each of which runs one task at a time. Default: STOPSEARCH_WORKER_CONCURRENCY.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="What tells this worker from the others in logs.", show_default=False)
    ] = None,
) -> None:
    """
    Run the tasks of batches, until Ctrl-C or SIGTERM.

    Start as many as you like, on as many machines: all need STOPSEARCH_DATABASE_URL and STOPSEARCH_BROKER_URL. Told to
    end, a worker gives back what it is still fetching and finishes what it is storing.
    """
    settings = at_least_info(begin())
    from stopsearch.worker.access import need_access
    from stopsearch.worker.run_worker import run_worker

    chosen = _read_queues(queues) if queues is not None else settings.worker_queues
    need_access(settings)
    _check_database(settings)
    raise typer.Exit(
        run_worker(settings, queues=chosen, concurrency=concurrency or settings.worker_concurrency, name=name)
    )


def _read_queues(text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    unknown = [name for name in names if name not in QUEUES]
    if unknown or not names:
        raise RequestError(
            f"There is no queue '{unknown[0]}'." if unknown else "No queue was named.",
            remedy=f"The queues are {', '.join(QUEUES)}.",
        )
    return names


def _check_database(settings: Settings) -> None:
    """
    See that the tables are there before any task is taken.
    """
    from stopsearch.domain.errors import StoreUnavailable
    from stopsearch.flows.open_store import open_store

    try:
        with open_store(settings):
            if settings.is_embedded:
                note("It stores in this machine's embedded database: elsewhere, workers need STOPSEARCH_DATABASE_URL.")
            return
    except StoreUnavailable as error:  # it may come back: each task waits for it
        note(f"{error.message} Tasks wait for it.")
