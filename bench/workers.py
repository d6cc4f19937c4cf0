"""
A backfill by workers: at the publisher's limit and without one, and what readers of the API feel of it.
"""

from __future__ import annotations

import http.client
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.case import ROOT, case_environment
from bench.databases import BenchServer, database_at
from bench.free_port import free_port
from bench.publisher import Publisher, publishing
from bench.real_months import RealData, write_force_months
from bench.report import Figure, Part
from bench.rounds import Sizes
from bench.settings import server_environment
from stopsearch.domain.forces import FORCE_NAMES
from stopsearch.domain.months import Month
from stopsearch.flows.due_ticks import latest_ticks
from stopsearch.settings import Settings
from stopsearch.store.schedule_slots import take_tick

sys.path.insert(0, str(ROOT / "tests"))  # the services that the tests run are those of the benchmarks too

from builders.rabbitmq import running_rabbitmq
from builders.valkey import running_valkey

_LIMIT_PER_SECOND = 15
_FIRST = Month(2021, 1)
_WORKERS, _PROCESSES = 4, 2
_PAGES_PER_S = 20
_IDLE_S = 30
_WARM_S = 20
_NO_LIMIT = "100000"
_PAGE = "/v1/stops?limit=100&sort=-datetime"


def run(server: BenchServer, data_dir: Path, data: RealData, work: Path, sizes: Sizes) -> Part:
    """
    Run every case once: each is a whole backfill.
    """
    forces = [force for force in FORCE_NAMES if force != "northern-ireland"][: sizes.backfill_forces]
    folder, lifted = work / "published-36", work / "published-12"
    rows = write_force_months(folder, data, forces=forces, first=_FIRST, months=sizes.backfill_months)
    write_force_months(lifted, data, forces=forces, first=_FIRST, months=sizes.workers_lifted_months)
    found: dict[str, dict[str, Any]] = {}
    with ExitStack() as stack:
        broker = stack.enter_context(running_rabbitmq())
        redis = stack.enter_context(running_valkey(work))
        services = {"broker_url": broker.url, "redis_url": redis.url, "log_level": "warning"}
        with publishing(folder) as publisher:
            expected = len(forces) * sizes.backfill_months
            with _database(server, data_dir, publisher, services) as environment:
                found["4 workers, limit 15/s"] = _backfill(environment, publisher, workers=_WORKERS, expected=expected)
            time.sleep(3)  # the publisher's bucket is empty again
            publisher.forget()
            with _database(server, data_dir, publisher, services) as environment:
                found["4 workers, limit 15/s, pages read meanwhile"] = _backfill(
                    environment, publisher, workers=_WORKERS, expected=expected, is_read=True
                )
        with publishing(lifted, is_limited=False) as publisher:
            expected = len(forces) * sizes.workers_lifted_months
            free = {**services, "rate_per_second": _NO_LIMIT}
            for workers in (1, 2):
                publisher.forget()
                with _database(server, data_dir, publisher, free) as environment:
                    name = f"{workers} worker{'s' if workers > 1 else ''}, no limit"
                    found[name] = _backfill(environment, publisher, workers=workers, expected=expected)
    limited, read = found["4 workers, limit 15/s"], found["4 workers, limit 15/s, pages read meanwhile"]
    one, two = found["1 worker, no limit"], found["2 workers, no limit"]
    return Part(
        name="workers",
        title=f"Workers ({_PROCESSES} processes each): {len(forces)} forces × {sizes.backfill_months} months, "
        f"{rows:,} records; without limit {sizes.workers_lifted_months} months",
        rounds=[found],
        columns=(
            "case",
            "requests",
            "seconds",
            "÷ requests/15",
            "force-months/s",
            "429s",
            "page p50 ms",
            "page p99 ms",
        ),
        lines=[
            (
                name,
                str(one_case["requests"]),
                f"{one_case['seconds']:.1f}",
                f"{one_case['ratio']:.3f}" if one_case["is_limited"] else "",
                f"{one_case['per_s']:.1f}",
                str(one_case["limited"]),
                f"{one_case['p50_ms']:.1f} (idle {one_case['idle_p50_ms']:.1f})" if "p50_ms" in one_case else "",
                f"{one_case['p99_ms']:.1f} (idle {one_case['idle_p99_ms']:.1f})" if "p99_ms" in one_case else "",
            )
            for name, one_case in found.items()
        ],
        figures=[
            Figure("backfill by 4 workers over the limit's own time", limited["ratio"], at_most=1.15),
            Figure("429s seen", limited["limited"] + read["limited"], at_most=0),
            Figure("p99 of a page during a backfill over idle", read["p99_ms"] / read["idle_p99_ms"], at_most=2),
            Figure("2 workers over 1, no limit", two["per_s"] / one["per_s"], at_least=1),
        ],
        notes=[
            "Seconds are from the batch's being asked for to its end in the ledger; workers run already.",
            f"Pages: {_PAGES_PER_S} a second whatever the answers take, each timed from when it was due.",
        ],
    )


@contextmanager
def _database(
    server: BenchServer, data_dir: Path, publisher: Publisher, services: Mapping[str, str]
) -> Iterator[dict[str, str]]:
    with server.fresh() as conninfo:
        environment = server_environment(conninfo, data_dir, upstream_url=publisher.url, **services)
        yield {**environment, "CONNINFO": conninfo}


def _backfill(
    environment: Mapping[str, str], publisher: Publisher, *, workers: int, expected: int, is_read: bool = False
) -> dict[str, Any]:
    conninfo = environment["CONNINFO"]
    with ExitStack() as stack:
        for _ in range(workers):
            stack.enter_context(_program(["worker", "--concurrency", str(_PROCESSES)], environment))
        # Its first look would start the daily batch: what is measured is the one that is asked for.
        _take_ticks(conninfo)
        stack.enter_context(_program(["beat"], environment))
        address = stack.enter_context(_server(environment)) if is_read else None
        time.sleep(_WARM_S)  # every process has loaded what it needs
        started = time.monotonic()
        _program_once(["ingest", "--distributed", "--no-wait"], environment)
        latencies: list[float] = []
        if address is not None:
            _wait_for(conninfo, expected // 10)
            latencies = _read_pages(address, until=lambda: _settled(conninfo) >= expected * 9 // 10)
        _wait_for_end(conninfo)
        seconds = time.monotonic() - started
        idle: list[float] = []
        if address is not None:
            time.sleep(5)
            ends = time.monotonic() + _IDLE_S
            idle = _read_pages(address, until=lambda: time.monotonic() >= ends)
    held = _held(conninfo)
    if held != expected:
        raise RuntimeError(f"The backfill ended with {held} of {expected} force-months.")
    arrivals = publisher.arrivals()
    found: dict[str, Any] = {
        "requests": len(arrivals),
        "seconds": seconds,
        "ratio": seconds / (len(arrivals) / _LIMIT_PER_SECOND),
        "is_limited": "STOPSEARCH_RATE_PER_SECOND" not in environment,
        "per_s": expected / seconds,
        "limited": sum(arrival["status"] == 429 for arrival in arrivals),
    }
    if address is not None:
        found |= {
            "pages": len(latencies),
            "p50_ms": statistics.median(latencies) * 1e3,
            "p99_ms": _p99(latencies) * 1e3,
            "idle_p50_ms": statistics.median(idle) * 1e3,
            "idle_p99_ms": _p99(idle) * 1e3,
        }
    return found


@contextmanager
def _program(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "stopsearch", *command],
        cwd=ROOT,
        env={**case_environment(), **environment, "POLARS_MAX_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=sys.stderr,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


def _program_once(command: Sequence[str], environment: Mapping[str, str]) -> None:
    subprocess.run(
        [sys.executable, "-m", "stopsearch", *command],
        cwd=ROOT,
        env={**case_environment(), **environment},
        stdout=subprocess.DEVNULL,
        check=True,
    )


@contextmanager
def _server(environment: Mapping[str, str]) -> Iterator[str]:
    port = free_port()
    with _program(["serve", "--port", str(port)], environment):
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("GET", "/health/live")
                connection.getresponse().read()
                connection.close()
                break
            except OSError:
                time.sleep(0.2)
        yield address


def _read_pages(address: str, *, until: Any) -> list[float]:
    """
    Read a page so many times a second, and give the seconds from when each was due to its last byte.
    """
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    latencies: list[float] = []
    due = time.monotonic()
    while True:
        if len(latencies) % _PAGES_PER_S == 0 and until():
            return latencies
        due += 1 / _PAGES_PER_S
        time.sleep(max(0.0, due - time.monotonic()))
        connection.request("GET", _PAGE)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200 or not body:
            raise RuntimeError(f"A page was answered with {answer.status}.")
        latencies.append(time.monotonic() - due)


def _p99(values: Sequence[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.99))]


def _take_ticks(conninfo: str) -> None:
    with database_at(conninfo).connect(autocommit=True) as connection:
        settings = Settings(_env_file=None)  # type: ignore[call-arg]  # of pydantic
        for tick in latest_ticks(settings, datetime.now(UTC)):
            take_tick(connection, tick.schedule, tick.due_at, at=datetime.now(UTC))


def _settled(conninfo: str) -> int:
    return _ask(conninfo, "SELECT count(*) FROM batch_month WHERE ended_at IS NOT NULL")


def _held(conninfo: str) -> int:
    return _ask(conninfo, "SELECT count(*) FROM month_release WHERE state = 'held'")


def _wait_for(conninfo: str, force_months: int) -> None:
    while _settled(conninfo) < force_months:
        time.sleep(0.2)


def _wait_for_end(conninfo: str) -> None:
    while _ask(conninfo, "SELECT count(*) FROM ingest_batch WHERE status IN ('queued', 'running')"):
        time.sleep(0.1)


def _ask(conninfo: str, query: str) -> int:
    with database_at(conninfo).connect(autocommit=True) as connection:
        row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0
