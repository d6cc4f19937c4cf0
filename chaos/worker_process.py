"""
`stopsearch worker`, with shorter waits, and with a force-month that ends whoever works on it: for trials only.

`CHAOS_POISON` names a file that holds "force month"; while it does, a process that prepares that force-month is killed
at once, as the kernel does when memory runs out. Nothing of this is in the package itself.
"""

from __future__ import annotations

import os
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

from celery import signals

POISON_VARIABLE = "CHAOS_POISON"

# The waits of minutes, in seconds.
_WAITS: dict[str, dict[str, float]] = {
    "stopsearch.flows.run_month": {"_FIRST_WAIT": 1, "_LONGEST_WAIT": 4, "_BUSY_WAIT": 1.5, "_DOWN_WAIT": 1.5},
    "stopsearch.flows.tend_batches": {"_LOST_AFTER": 6, "_PLAN_AGAIN_AFTER": 3},
}


def _shorten_waits(**_: Any) -> None:
    from importlib import import_module

    for name, waits in _WAITS.items():
        module = import_module(name)
        for wait, seconds in waits.items():
            assert isinstance(getattr(module, wait), timedelta), f"{name} has no {wait} any more"
            setattr(module, wait, timedelta(seconds=seconds))


def _take_poison(**_: Any) -> None:
    import stopsearch.flows.bring_in as bring_in

    place = Path(os.environ[POISON_VARIABLE])
    prepare = bring_in.prepare_edition

    def prepare_or_die(published: Any, *args: Any, **options: Any) -> Any:
        if place.exists() and place.read_text() == f"{published.force} {published.month}":
            os.kill(os.getpid(), signal.SIGKILL)
        return prepare(published, *args, **options)

    bring_in.prepare_edition = prepare_or_die


if __name__ == "__main__":
    # In the processes that run tasks: the one that forks them must not load what they need.
    signals.worker_process_init.connect(_shorten_waits, weak=False)
    signals.worker_process_init.connect(_take_poison, weak=False)
    from stopsearch.cli import main

    main()
