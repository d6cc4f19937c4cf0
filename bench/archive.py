"""
An archive of all forces and some three years, end to end, by the flow that the command line calls.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from bench.bring_months_in import say_little, stage_seconds
from bench.case import measured, run_case
from bench.databases import BenchServer, database_at, plain_settings
from bench.real_months import RealData
from bench.report import Part, median
from bench.rounds import Sizes
from stopsearch.domain.months import Month
from stopsearch.domain.states import RunStatus
from stopsearch.flows.batches import Trigger
from stopsearch.flows.ingest_from_archives import ingest_from_archives
from stopsearch.flows.plan import Wanted


def bring_in(*, conninfo: str, data_dir: str, path: str, last: str | None) -> dict[str, Any]:
    """
    Case: bring every member in, from a process that has only imported its code.
    """
    say_little()
    database = database_at(conninfo)
    wanted = Wanted(last=Month.parse(last) if last else None)
    with database.connect(autocommit=True) as watching:
        with measured(watching) as took:
            report = asyncio.run(
                ingest_from_archives(
                    database,
                    plain_settings(Path(data_dir)),
                    wanted,
                    paths=[path],
                    trigger=Trigger(name="bench", requested_by="bench"),
                )
            )
        row = watching.execute("SELECT count(*) FROM stop").fetchone()
    assert row is not None
    return {
        **took,
        "rows": sum(run.outcome.received or 0 for run in report.runs),
        "stored": row[0],
        "members": len(report.runs),
        "forces": len({run.force for run in report.runs}),
        "months": len({run.month for run in report.runs}),
        "failed": report.count(RunStatus.FAILED, RunStatus.REFUSED, RunStatus.BUSY),
        "stages": stage_seconds(report.runs),
    }


def run(server: BenchServer, data_dir: Path, data: RealData, sizes: Sizes) -> Part:
    """
    Run it, each time in a fresh database.
    """
    rounds = []
    for _ in range(sizes.archive_rounds):
        with server.fresh() as conninfo:
            rounds.append(
                run_case(
                    "bench.archive:bring_in",
                    conninfo=conninfo,
                    data_dir=str(data_dir),
                    path=str(data.archive),
                    last=sizes.archive_last,
                )
            )
    one = rounds[0]
    stages = {stage: median([found["stages"][stage] for found in rounds]) for stage in one["stages"]}
    return Part(
        name="archive",
        title=f"Archive end to end: {one['members']:,} force-months, {one['rows']:,} records, {len(rounds)} rounds",
        rounds=rounds,
        columns=(
            "forces",
            "months",
            "records",
            "rows/s",
            "seconds",
            "client CPU s",
            "server CPU s",
            "others' CPU s",
            "peak MB",
        ),
        lines=[
            (
                str(one["forces"]),
                str(one["months"]),
                f"{one['rows']:,}",
                f"{median([found['rows'] / found['seconds'] for found in rounds]):,.0f}",
                *(
                    f"{median([found[key] for found in rounds]):.1f}"
                    for key in ("seconds", "client_cpu_s", "server_cpu_s", "others_cpu_s", "peak_rss_mb")
                ),
            )
        ],
        notes=[
            f"Stages, seconds, which overlap: {', '.join(f'{name} {s:.1f}' for name, s in stages.items())}. "
            f"Failed force-months: {one['failed']}."
        ],
    )
