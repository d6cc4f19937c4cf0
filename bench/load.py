"""
Load: from response bytes in memory to committed rows, beside the server's bare COPY and a plain pandas pipeline.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench import server_copy
from bench.bring_months_in import begin, bring_months_in, read_bodies, require, say_little, stage_seconds, warm
from bench.case import measured, run_case
from bench.databases import BenchServer, database_at
from bench.report import Figure, Part, median, ratios, spread
from bench.rounds import Sizes, in_turns
from stopsearch.domain.states import RunStatus

_FINISHED = "bench_finished"
OURS, CSV, BINARY, PANDAS = "stopsearch", "server COPY, csv", "server COPY, binary", "pandas pipeline"


def bring_in(*, conninfo: str, paths: list[str]) -> dict[str, Any]:
    """
    Case: the package itself.
    """
    say_little()
    database = database_at(conninfo)
    bodies = read_bodies(paths)
    batch_id = begin(database)
    warm(database, batch_id, bodies)
    with database.connect(autocommit=True) as watching, measured(watching) as took:
        reports = bring_months_in(database, batch_id, bodies)
    require(reports, RunStatus.REVISED)
    rows = sum(report.outcome.received or 0 for report in reports)
    rejected = sum(report.outcome.rejected or 0 for report in reports)
    return {**took, "rows": rows, "rejected": rejected, "stages": stage_seconds(reports)}


def run(server: BenchServer, data_dir: Path, paths: list[str], sizes: Sizes) -> Part:
    """
    Run the cases by turns and compare them round by round.
    """
    server.make(_FINISHED, "bench_template")
    run_case("bench.load:bring_in", conninfo=server.conninfo(_FINISHED), paths=paths)
    files = server_copy.write_finished_rows(conninfo=server.conninfo(_FINISHED), data_dir=str(data_dir))

    def ours() -> dict[str, Any]:
        with server.fresh() as conninfo:
            return run_case("bench.load:bring_in", conninfo=conninfo, paths=paths)

    def copied(format_: str) -> dict[str, Any]:
        with server.fresh(_FINISHED) as conninfo:
            return run_case("bench.server_copy:copy_in", conninfo=conninfo, files=files[format_], format_=format_)

    def pandas() -> dict[str, Any]:
        with server.fresh() as conninfo:
            return run_case("bench.baseline_pandas:bring_in", conninfo=conninfo, paths=paths)

    try:
        rounds = in_turns(
            {OURS: ours, CSV: lambda: copied("csv"), BINARY: lambda: copied("binary"), PANDAS: pandas}, sizes.rounds
        )
    finally:
        server.drop(_FINISHED)
    return Part(
        name="load",
        title=f"Load: {len(paths)} months, {int(rounds[0][OURS]['rows']):,} records, {len(rounds)} rounds",
        rounds=rounds,
        columns=(
            "case",
            "rows/s",
            "stopsearch's rate over it",
            "client CPU s",
            "server CPU s",
            "others' CPU s",
            "peak MB",
            "of it before",
        ),
        lines=[_line(name, rounds) for name in (OURS, CSV, BINARY, PANDAS)],
        figures=[
            Figure("load rate over server COPY (csv)", median(ratios(rounds, CSV, OURS)), at_least=0.75),
            Figure("load rate over the pandas pipeline", median(ratios(rounds, PANDAS, OURS)), at_least=5.0),
        ],
        notes=[_stages(rounds)],
    )


def _line(name: str, rounds: list[dict[str, dict[str, Any]]]) -> tuple[str, ...]:
    def of(key: str) -> float:
        return median([found[name][key] for found in rounds])

    rates = [found[name]["rows"] / found[name]["seconds"] for found in rounds]
    against = "1" if name == OURS else spread(ratios(rounds, name, OURS))
    return (
        name,
        f"{median(rates):,.0f}",
        against,
        f"{of('client_cpu_s'):.2f}",
        f"{of('server_cpu_s'):.2f}",
        f"{of('others_cpu_s'):.2f}",
        f"{of('peak_rss_mb'):.0f}",
        f"{of('rss_before_mb'):.0f}",
    )


def _stages(rounds: list[dict[str, dict[str, Any]]]) -> str:
    stages = {
        stage: median([found[OURS]["stages"][stage] / found[OURS]["rows"] * 1e6 for found in rounds])
        for stage in rounds[0][OURS]["stages"]
    }
    said = ", ".join(f"{stage} {us:.2f}" for stage, us in stages.items())
    return f"Stages of stopsearch, µs a record, which overlap: {said}."
