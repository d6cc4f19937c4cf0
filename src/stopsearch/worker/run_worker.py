"""
Runs a worker until it is told to end.
"""

from __future__ import annotations

import os
import socket
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import structlog
from celery import signals
from celery.exceptions import SecurityWarning

from stopsearch.settings import Settings
from stopsearch.telemetry.events import Event
from stopsearch.telemetry.logs import configure_foreign_logs
from stopsearch.worker.app import declare_queues, make_celery
from stopsearch.worker.queues import broker_name
from stopsearch.worker.shutdown import stop_within

log = structlog.get_logger()

# Nothing that needs memory is loaded before the fork, and Polars' threads would not live through it.
_NOT_BEFORE_THE_FORK = "polars"


def run_worker(settings: Settings, *, queues: Sequence[str], concurrency: int, name: str | None = None) -> int:
    """
    Serve queues until SIGTERM or SIGINT; then finish or give back the tasks in hand.

    Args:
        queues: Some of `stopsearch.settings.QUEUES`.
        concurrency: How many processes, each of which runs one task at a time.
        name: What tells this worker from the others; without it, the host's name and the process's number.

    Returns:
        The exit code.

    Raises:
        ConfigError: No broker is set.
    """
    app = make_celery(settings)
    configure_foreign_logs(level=settings.log_level)
    signals.setup_logging.connect(_leave_logs_alone, weak=False)  # or Celery would set them up its own way

    @signals.worker_ready.connect(weak=False)  # type: ignore[untyped-decorator]  # Celery has no types
    def announce(**_: Any) -> None:
        declare_queues(app)
        log.info(Event.WORKER_STARTED, queues=list(queues), concurrency=concurrency)

    @signals.worker_process_init.connect(weak=False)  # type: ignore[untyped-decorator]
    def load(**_: Any) -> None:
        import stopsearch.worker.workshop

        assert stopsearch.worker.workshop.__name__

    # Its reason is pickled messages, which run as code; ours are JSON.
    warnings.simplefilter("ignore", SecurityWarning)
    stop_within(settings.worker_grace_s)
    os.nice(settings.worker_nice)
    assert _NOT_BEFORE_THE_FORK not in sys.modules, "the process that forks the others must not load it"
    worker = app.Worker(
        hostname=f"{name or f'stopsearch-{os.getpid()}'}@{socket.gethostname()}",
        queues=[broker_name(queue) for queue in queues],
        concurrency=concurrency,
        pool="prefork",
        optimization="fair",
        without_gossip=True,
        without_mingle=True,
        loglevel=settings.log_level.upper(),
        quiet=True,
    )
    worker.start()
    log.info(Event.WORKER_STOPPED)
    return int(worker.exitcode or 0)


def _leave_logs_alone(**_: Any) -> None:
    """
    Be there: Celery sets logs up only where nobody listens for this.
    """
