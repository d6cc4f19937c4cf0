"""
The load tool: wrk on one core, asking a server on the other for a list of addresses, in turns.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from bench.case import ROOT, case_environment, postmaster
from bench.databases import database_at

SERVER_CORE, LOAD_CORE = 0, 1

# Addresses are read once; each thread begins at the first and asks one after another.
_SCRIPT = """
local paths, at = {}, 0
for line in io.lines("%s") do paths[#paths + 1] = line end
request = function()
  at = at %% #paths + 1
  return wrk.format("GET", paths[at])
end
"""


@dataclass(frozen=True, kw_only=True)
class Load:
    """
    What one run of the load tool found.
    """

    requests_per_s: float
    median_ms: float
    p99_ms: float
    bytes_per_s: float


def ask(url: str, paths: Sequence[str], folder: Path, *, connections: int, seconds: int) -> Load:
    """
    Ask for addresses for some seconds, over so many connections at once.

    Raises:
        RuntimeError: The load tool is not installed, or an answer was no 2xx.
    """
    wrk = shutil.which("wrk")
    if wrk is None:
        raise RuntimeError("The load tool wrk is not installed: apt-get install wrk.")
    listed = folder / "paths.txt"
    listed.write_text("\n".join(paths) + "\n")
    script = folder / "paths.lua"
    script.write_text(_SCRIPT % listed)
    done = subprocess.run(
        [
            *("taskset", "-c", str(LOAD_CORE), wrk, "--threads", "1", "--connections", str(connections)),
            *("--duration", f"{seconds}s", "--timeout", "30s", "--latency", "--script", str(script), url),
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    if "Non-2xx" in done or "Socket errors" in done:
        raise RuntimeError(f"{url} did not answer every request well:\n{done}")
    return Load(
        requests_per_s=float(_found(r"Requests/sec:\s+([\d.]+)", done)),
        median_ms=_milliseconds(_found(r"50%\s+([\d.]+\w+)", done)),
        p99_ms=_milliseconds(_found(r"99%\s+([\d.]+\w+)", done)),
        bytes_per_s=_bytes(_found(r"Transfer/sec:\s+([\d.]+\w+)", done)),
    )


@contextmanager
def server(command: Sequence[str], url: str, **environment: str) -> Iterator[int]:
    """
    Run a server as one process on its core, once it answers; give its process id.
    """
    process = subprocess.Popen(
        ["taskset", "-c", str(SERVER_CORE), *command],
        cwd=ROOT,
        env={**case_environment(), **environment},
        stdout=subprocess.DEVNULL,
        stderr=sys.stderr,
    )
    try:
        _wait_for(url, process)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:  # datasette waits for its threads, which wait for connections
            process.kill()
            process.wait()


def peak_rss_mb(pid: int) -> float:
    """
    Give the peak memory of a process so far.
    """
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("The kernel does not tell the peak memory.")


@contextmanager
def database_beside_load(conninfo: str) -> Iterator[None]:
    """
    Keep PostgreSQL to the core of the load tool: what it forks from now on has the core of its parent.
    """
    with database_at(conninfo).connect(autocommit=True) as connection:
        pid = postmaster(connection)
    before = os.sched_getaffinity(pid)
    os.sched_setaffinity(pid, {LOAD_CORE})
    try:
        yield
    finally:
        os.sched_setaffinity(pid, before)


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"The server of {url} ended with {process.returncode}.")
        try:
            with urlopen(url, timeout=5) as answer:
                answer.read()
                return
        except (URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"{url} did not answer in a minute.")


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise RuntimeError(f"The load tool said something else than was expected:\n{text}")
    return match[1]


def _milliseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(\w+)", text).groups()  # type: ignore[union-attr]  # as it was found
    return float(number) * {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}[unit]


def _bytes(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(\w+)", text).groups()  # type: ignore[union-attr]  # as it was found
    return float(number) * {"B": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30}[unit]
