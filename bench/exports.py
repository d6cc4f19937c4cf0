"""
Everything as one file: CSV over HTTP beside the server's own COPY of the same SELECT, and a ready Parquet file beside
reading that file from the disk.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from psycopg import sql

from bench.databases import database_at
from bench.free_port import free_port
from bench.http_load import LOAD_CORE, peak_rss_mb, server
from bench.report import Figure, Part, median, spread
from bench.rounds import Sizes, in_turns
from bench.settings import server_environment
from stopsearch.domain.filters import StopFilter
from stopsearch.flows.asked_export import AskedExport, ExportFormat
from stopsearch.store.embedded.binaries import wheel_binaries
from stopsearch.store.export_rows import RowReader
from stopsearch.store.row_lines import RowText
from stopsearch.store.snapshots import current_snapshot

_CSV = "/v1/exports/stops.csv"
_PARQUET = "/v1/exports/stops.parquet"
_READ_BYTES = 1 << 20

# What somebody would write who has only the tables: the same columns and order, from the view that gives words back.
_IN_WORDS = """
    SELECT id, force, month, type, datetime, local_date, operation, operation_name, latitude, longitude, gender,
        age_range, self_defined_ethnicity, self_defined_ethnic_group, officer_defined_ethnicity,
        officer_defined_ethnic_group, legislation, object_of_search, outcome, outcome_group,
        outcome_linked_to_object_of_search, removal_of_more_than_outer_clothing, is_far_from_force
    FROM stop_in_words WHERE withdrawn_revision IS NULL ORDER BY force, month, datetime, id
"""


def run(conninfo: str, work: Path, sizes: Sizes) -> Part:
    """
    Run both in turns with their rivals.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    script = _write_script(conninfo, work / "export.sql")
    served = work / "served"
    command = [sys.executable, "-m", "stopsearch", "serve", "--port", str(port)]
    words = work / "words.sql"
    words.write_text(f"COPY ({_IN_WORDS}) TO STDOUT (FORMAT csv, HEADER);\n")
    # No finished CSV is kept, so that each is written anew; Parquet files are what is kept.
    environment = server_environment(conninfo, served)
    flat: list[tuple[float, float]] = []

    def ours() -> dict[str, Any]:
        with server(command, f"{url}/health/live", **environment) as pid:
            download(port, f"{_CSV}?force=dorset&from=2019-01&to=2019-01")  # imports, pools and plans are there
            before = peak_rss_mb(pid)
            found = download(port, _CSV)
            flat.append((before, peak_rss_mb(pid)))
        return found

    def bare() -> dict[str, Any]:
        return _psql(conninfo, script)

    def view() -> dict[str, Any]:
        return _psql(conninfo, words)

    def parquet() -> dict[str, Any]:
        with server(command, f"{url}/health/live", **environment):
            download(port, _PARQUET)  # built by whoever asks first
            return download(port, _PARQUET)

    def disk() -> dict[str, Any]:
        [file] = served.rglob("*.parquet")
        started = time.perf_counter()
        with file.open("rb", buffering=0) as opened:
            size = sum(iter(lambda: len(opened.read(_READ_BYTES)), 0))
        return {"bytes": size, "seconds": time.perf_counter() - started}

    cases: dict[str, Callable[[], dict[str, Any]]] = {
        "CSV over HTTP": ours,
        "bare COPY of the same SELECT": bare,
        "bare COPY of the view in words": view,
        "ready Parquet over HTTP": parquet,
    }
    rounds = in_turns(cases, sizes.serve_rounds)
    rate = {name: [found[name]["bytes"] / found[name]["seconds"] for found in rounds] for name in cases}
    rate["the Parquet file from the disk"] = [(found := disk())["bytes"] / found["seconds"] for _ in rounds]
    ratios = [ours / bare for ours, bare in zip(*(rate[name] for name in list(cases)[:2]), strict=True)]
    whole = rounds[0]["CSV over HTTP"]["bytes"]
    return Part(
        name="exports",
        title=f"Everything as one file: {sizes.stocked_rows:,} stops, {whole / 1e6:,.0f} MB of CSV, "
        f"{len(rounds)} rounds",
        rounds=[*rounds, {"rss_before_and_peak_mb": flat}],
        columns=("case", "MB/s", "seconds"),
        lines=[
            (
                name,
                f"{median(rates) / 1e6:,.0f}",
                f"{median([found[name]['seconds'] for found in rounds]):.2f}" if name in cases else "",
            )
            for name, rates in rate.items()
        ],
        figures=[Figure("CSV export over the bare COPY", median(ratios), at_least=0.60)],
        notes=[
            f"Over the bare COPY: {spread(ratios)}. Peak memory of the server before and after the export: "
            + ", ".join(f"{before:.0f} and {after:.0f} MB" for before, after in flat)
            + "."
        ],
    )


def download(port: int, path: str) -> dict[str, Any]:
    """
    Read an answer whole, keeping nothing of it.

    Raises:
        RuntimeError: The answer was no 200.
    """
    os.sched_setaffinity(0, {LOAD_CORE})
    connection = HTTPConnection("127.0.0.1", port, timeout=600)
    started = time.perf_counter()
    connection.request("GET", path)
    answer = connection.getresponse()
    if answer.status != 200:
        raise RuntimeError(f"{path} was answered with {answer.status}: {answer.read()[:500]!r}")
    size = 0
    while data := answer.read(_READ_BYTES):
        size += len(data)
    connection.close()
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    return {"bytes": size, "seconds": time.perf_counter() - started}


def _write_script(conninfo: str, path: Path) -> Path:
    """
    Write every statement of the export, as the server is sent them.
    """
    with database_at(conninfo).connect(autocommit=True) as connection:
        snapshot, _ = current_snapshot(connection)
        asked = AskedExport(snapshot=snapshot, format=ExportFormat.CSV, filter=StopFilter())
        reader = RowReader(asked.columns, RowText.CSV, asked.filter)
        statements = [
            sql.SQL("{};").format(reader.statement(connection, chunk)).as_string(connection) for chunk in asked.chunks
        ]
    path.write_text(
        "SET jit = off; SET work_mem = '64MB'; SET max_parallel_workers_per_gather = 0;\n" + "\n".join(statements)
    )
    return path


def _psql(conninfo: str, script: Path) -> dict[str, Any]:
    psql = wheel_binaries().program("psql")
    started = time.perf_counter()
    done = subprocess.Popen(
        [psql, "--no-psqlrc", "--quiet", f"--dbname={conninfo}", f"--file={script}"], stdout=subprocess.PIPE
    )
    assert done.stdout is not None  # it was asked for
    size = 0
    while data := done.stdout.read(_READ_BYTES):
        size += len(data)
    if done.wait():
        raise RuntimeError("psql did not end well.")
    return {"bytes": size, "seconds": time.perf_counter() - started}
