"""
How a worker that is told to stop tells the tasks in hand: a byte that all its processes share.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from typing import Any

from celery import signals

# Made before any process is forked, so that each has it. Without a lock: one that is killed can hold none.
_is_stopping = multiprocessing.RawValue("b", 0)


def is_stopping() -> bool:
    """
    Tell whether this worker was told to stop.
    """
    return bool(_is_stopping.value)


def stop_within(grace_s: float) -> None:
    """
    Let SIGTERM end the tasks in hand: what is being fetched goes back, what is being stored is finished.

    What has not ended after so many seconds is killed, and the broker gives it to another worker. Call it in the
    process that forks the others.
    """

    def tell(**_: Any) -> None:
        if is_stopping():
            return
        _is_stopping.value = 1
        timer = threading.Timer(grace_s, os.kill, (os.getpid(), signal.SIGQUIT))
        timer.daemon = True
        timer.start()

    signals.worker_shutting_down.connect(tell, weak=False)
