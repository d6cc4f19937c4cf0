"""
Workers as processes of their own, which a test may kill, tell to end, and read.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

_START_TIMEOUT_S = 90.0
_END_TIMEOUT_S = 60.0


class RunningProcess:
    """
    One `stopsearch` program that runs unattended, with a process group of its own. `log` is what it has written.
    """

    def __init__(
        self, command: list[str], environment: Mapping[str, str], log: Path, *, module: str = "stopsearch"
    ) -> None:
        self._path = log
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, *command],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", **environment},
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        """
        Give what it has written.
        """
        return self._path.read_text(errors="replace")

    @property
    def is_running(self) -> bool:
        """
        Tell whether its first process lives.
        """
        return self.process.poll() is None

    @property
    def children(self) -> list[int]:
        """
        Give the ids of the processes that it has forked.
        """
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in found.read_text().split()] if found.exists() else []

    def wait_for(self, text: str, *, timeout_s: float = _START_TIMEOUT_S, times: int = 1) -> None:
        """
        Wait until it has written a text, so many times.
        """
        until = time.monotonic() + timeout_s
        while self.log.count(text) < times:
            assert self.is_running, f"it ended with {self.process.returncode}:\n{self.log[-4000:]}"
            assert time.monotonic() < until, f"it did not write {text!r}:\n{self.log[-4000:]}"
            time.sleep(0.05)

    def kill(self) -> None:
        """
        End it and all that it has forked at once, as a machine that loses power would.
        """
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(_END_TIMEOUT_S)

    def terminate(self, *, timeout_s: float = _END_TIMEOUT_S) -> int:
        """
        Tell it to end, and give the exit code.
        """
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)


@contextmanager
def running_worker(
    environment: Mapping[str, str], log: Path, *options: str, is_awaited: bool = True
) -> Iterator[RunningProcess]:
    """
    Run a worker until the block ends, and wait until it is ready.

    Args:
        environment: Its settings, as variables.
        log: The file that it writes to.
        options: Of `stopsearch worker`.
    """
    worker = RunningProcess(["worker", *options], {"STOPSEARCH_LOG_LEVEL": "info", **environment}, log)
    try:
        if is_awaited:
            worker.wait_for("worker_started")
        yield worker
    finally:
        worker.kill()
