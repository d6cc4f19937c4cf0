"""
Memory: the peak must not grow with the number of months.
"""

from __future__ import annotations

from pathlib import Path

from bench.case import run_case
from bench.databases import BenchServer
from bench.real_months import RealData, largest_csv, write_repeated_archive
from bench.report import Figure, Part, median
from bench.rounds import Sizes


def run(server: BenchServer, data_dir: Path, data: RealData, work: Path, sizes: Sizes) -> Part:
    """
    Bring in the same file under few and under many months' names, by turns.
    """
    body = largest_csv(data)
    few, many = sizes.memory_months
    peaks: dict[int, list[float]] = {few: [], many: []}
    for _ in range(sizes.memory_rounds):
        for months in (few, many):
            folder = work / f"repeated-{months}"
            write_repeated_archive(folder, body, months)
            with server.fresh() as conninfo:
                found = run_case(
                    "bench.archive:bring_in",
                    conninfo=conninfo,
                    data_dir=str(data_dir),
                    path=str(folder),
                    last=None,
                )
            if found["failed"] or found["members"] != months:
                raise RuntimeError(f"{found['failed']} of {found['members']} force-months failed.")
            peaks[months].append(found["peak_rss_mb"])
    lines = body.count(b"\n") - 1
    growth = median(peaks[many]) / median(peaks[few])
    return Part(
        name="memory",
        title=f"Peak memory of the process, months of {lines:,} records each",
        rounds=[{str(months): found for months, found in peaks.items()}],
        columns=("months", "peak MB"),
        lines=[(str(months), ", ".join(f"{peak:.0f}" for peak in found)) for months, found in peaks.items()],
        figures=[Figure(f"peak memory of {many} over {few} months", growth, at_most=1.10)],
        notes=[f"{many} months take {growth:.2f} times the memory of {few}."],
    )
