"""
Processes that bring data in and are killed on the way: forked from one that has everything imported, so that they
are cheap. Run as a program, this module is that process; as a module, it is what starts it and asks it.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]
_PATIENCE_S = 60.0
_NEVER = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Ended:
    """
    How one process ended: killed by us, or by itself with an exit code.
    """

    was_killed: bool
    exit_code: int
    seconds: float


class Killables:
    """
    Starts processes that bring data in, one at a time, and kills each after so long.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, *, kill_after: tuple[int, float] | None = None, **task: Any) -> Ended:
        """
        Bring data in with a process of its own.

        Args:
            kill_after: Kill it (SIGKILL) so many seconds after so many of its runs have ended, unless it has ended.
            task: What `_bring_in` takes.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({**task, "kill_after": kill_after}) + "\n")
        self._process.stdin.flush()
        return Ended(**json.loads(self._process.stdout.readline()))


@contextmanager
def killables(errors: Path) -> Iterator[Killables]:
    """
    Give processes to kill; what they write to standard error goes to a file.
    """
    path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "POLARS_MAX_THREADS": "2"}
    with errors.open("a") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "builders.killable"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
            env=environment,
            text=True,
        )
        try:
            yield Killables(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(_PATIENCE_S)


def _serve() -> None:
    # Nothing of this starts a thread before the fork: a thread pool does not live on in a child.
    import builders.ingests
    import stopsearch.flows.ingest_from_api

    assert builders.ingests.__name__
    assert stopsearch.flows.ingest_from_api.__name__
    for line in sys.stdin:
        task = json.loads(line)
        runs, seconds = task.pop("kill_after") or (_NEVER, 0.0)
        began = time.monotonic()
        told, tells = os.pipe()
        pid = os.fork()
        if pid == 0:
            _bring_in(tells, **task)
        os.close(tells)
        ended = os.pidfd_open(pid)
        if _wait_for_runs(runs, ended, told) and not select.select([ended], [], [], seconds)[0]:
            os.kill(pid, signal.SIGKILL)  # not waited for yet, so it is still that process
        exit_code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.close(ended)
        os.close(told)
        answer = {
            "was_killed": exit_code == -signal.SIGKILL,  # it may have ended by itself just before
            "exit_code": exit_code,
            "seconds": time.monotonic() - began,
        }
        print(json.dumps(answer), flush=True)  # noqa: T201


def _wait_for_runs(runs: int, ended: int, told: int) -> bool:
    """
    Wait until so many runs are told to have ended; tell whether the process lives on.
    """
    watched = [ended, told]
    while runs > 0:
        ready = select.select(watched, [], [])[0]
        if told not in ready:
            return False
        lines = os.read(told, 65536)
        if not lines:  # it has closed its end, and so is about to end itself
            watched.remove(told)
        runs -= lines.count(b"run_finished")
    return True


def _bring_in(tells: int, *, database_url: str, paths: list[str] | None = None, upstream_url: str = "") -> None:
    """
    Bring data in as a child process, tell of each run that ends, and end, whatever happens.
    """
    code = 1
    try:
        import structlog

        from builders.ingests import ingest_api, ingest_archives
        from stopsearch.flows.plan import Wanted
        from stopsearch.store.database import outside_database

        structlog.configure(logger_factory=structlog.WriteLoggerFactory(file=os.fdopen(tells, "w", buffering=1)))
        database = outside_database(database_url)
        if paths is not None:
            report = ingest_archives(database, *map(Path, paths))
        else:
            report = ingest_api(database, upstream_url, Wanted(recheck=True))
        code = 0 if report.status == "finished" else 2
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
