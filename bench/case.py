"""
One case in a process of its own, so that its peak memory and its processor time are its own.

`run_case` starts `python -m bench.case MODULE:FUNCTION ARGUMENTS`; the function takes JSON values and gives some.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from psycopg import Connection

ROOT = Path(__file__).parents[1]
_TICKS = os.sysconf("SC_CLK_TCK")
_MARK = "bench-result:"


def case_command(function: str, **arguments: Any) -> list[str]:
    """
    Give the command that runs a case.
    """
    return [sys.executable, "-m", "bench.case", function, json.dumps(arguments)]


def case_environment() -> dict[str, str]:
    """
    Give this process's environment without settings, so that a developer's own cannot bend a figure.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith(("STOPSEARCH_", "PG"))}


def run_case(function: str, **arguments: Any) -> dict[str, Any]:
    """
    Run a case and give what it found.
    """
    done = subprocess.run(
        case_command(function, **arguments),
        cwd=ROOT,
        env=case_environment(),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    results = [line for line in done.stdout.splitlines() if line.startswith(_MARK)]
    if done.returncode or not results:
        raise RuntimeError(f"The case {function} ended with {done.returncode}: {done.stdout[-2000:]}")
    found: dict[str, Any] = json.loads(results[-1].removeprefix(_MARK))
    return found


class Measured(dict[str, float]):
    """
    What the block under `measured` took: seconds, processor seconds by side, megabytes.

    `others_cpu_s` is what the machine spent meanwhile on neither side: where it is much, the figures are no figures.
    """


@contextmanager
def measured(connection: Connection | None) -> Iterator[Measured]:
    """
    Measure a block.

    Args:
        connection: A connection to the server whose processes are counted; it tells who the server is.
    """
    server = postmaster(connection) if connection is not None else None
    found = Measured(rss_before_mb=_peak_rss_mb())
    server_cpu = _family_cpu_s(server) if server else 0.0
    whole, own, started = _machine_cpu_s(), _own_cpu_s(), time.perf_counter()
    yield found
    found["seconds"] = time.perf_counter() - started
    found["client_cpu_s"] = _own_cpu_s() - own
    found["server_cpu_s"] = _family_cpu_s(server) - server_cpu if server else 0.0
    found["others_cpu_s"] = max(_machine_cpu_s() - whole - found["client_cpu_s"] - found["server_cpu_s"], 0.0)
    found["peak_rss_mb"] = _peak_rss_mb()


def _machine_cpu_s() -> float:
    """
    Give the processor seconds that the whole machine has spent on anything.
    """
    user, nice, system, _idle, _wait, irq, soft_irq, stolen = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + irq + soft_irq + stolen) / _TICKS


def _own_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _peak_rss_mb() -> float:
    # Not ru_maxrss: a process begins with that of its parent, and keeps it over exec.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("The kernel does not tell the peak memory.")


def postmaster(connection: Connection) -> int:
    """
    Give the process of the server that a connection is to: the parent of all its others.
    """
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    assert row is not None
    return int(_stat(row[0])[1])


def _stat(pid: int) -> list[str]:
    # What follows the name in brackets, which may hold anything: state, parent, …
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _family_cpu_s(parent: int) -> float:
    """
    Give the processor seconds of a process, of its living children, and of those that it has buried.
    """
    ticks = 0
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            fields = _stat(int(entry))
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(entry) == parent:
            ticks += sum(int(field) for field in fields[11:15])
        elif int(fields[1]) == parent:
            ticks += sum(int(field) for field in fields[11:13])
    return ticks / _TICKS


class _NoPandas:
    """
    Keeps pandas from being found: an installation has none, and Pandera imports it wherever it is there.
    """

    def find_spec(self, name: str, *_: object) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("No module named 'pandas'", name=name)


def main() -> None:
    """
    Run the case that the command line names.
    """
    module, _, name = sys.argv[1].partition(":")
    if module != "bench.baseline_pandas":
        sys.meta_path.insert(0, _NoPandas())  # type: ignore[arg-type]
    result = getattr(importlib.import_module(module), name)(**json.loads(sys.argv[2]))
    print(_MARK + json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
