"""
Counts by force, month and ethnic group, of one force and of all: each answer made anew, none kept.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from bench.free_port import free_port
from bench.http_load import ask, database_beside_load, server
from bench.report import Figure, Part, median
from bench.rounds import Sizes
from bench.settings import server_environment

_BY = "/v1/counts?by=force,month,self_defined_ethnic_group"
_CASES = {"one force": [f"{_BY}&force={force}" for force in ("city-of-london", "essex", "metropolitan")], "all": [_BY]}


def run(conninfo: str, work: Path, sizes: Sizes) -> Part:
    """
    Ask over one connection, so that the median is the time of one answer.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "stopsearch", "serve", "--port", str(port)]
    rounds: list[dict[str, dict[str, Any]]] = []
    for _ in range(sizes.serve_rounds):
        environment = server_environment(conninfo, work / "served", page_cache_mb="0")
        with database_beside_load(conninfo), server(command, f"{url}/health/live", **environment):
            found = {}
            for name, paths in _CASES.items():
                ask(url, paths, work, connections=1, seconds=1)
                found[name] = vars(ask(url, paths, work, connections=1, seconds=sizes.load_seconds))
            rounds.append(found)
    medians = {name: median([found[name]["median_ms"] for found in rounds]) for name in _CASES}
    return Part(
        name="counts",
        title=f"Counts by force, month and ethnic group of {sizes.stocked_rows:,} stops: one connection, "
        f"{len(rounds)} rounds of {sizes.load_seconds} s",
        rounds=rounds,
        columns=("of", "median ms", "p99 ms", "answers/s", "MB/s"),
        lines=[
            (
                name,
                f"{medians[name]:.1f}",
                f"{median([found[name]['p99_ms'] for found in rounds]):.1f}",
                f"{median([found[name]['requests_per_s'] for found in rounds]):.0f}",
                f"{median([found[name]['bytes_per_s'] for found in rounds]) / 2**20:.1f}",
            )
            for name in _CASES
        ],
        figures=[
            Figure("counts of one force, median ms", medians["one force"], at_most=20),
            Figure("counts of all forces, median ms", medians["all"], at_most=60),
        ],
    )
