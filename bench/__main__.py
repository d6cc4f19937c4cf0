"""
`python -m bench`: run the benchmarks, print Markdown, keep the figures in `bench/results`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import archive, backfill, counts, exports, load, memory, pages, profile_load, report, unchanged, workers
from bench.bring_months_in import say_little
from bench.databases import bench_server
from bench.real_months import RealData, api_months, find_real_data, write_months
from bench.report import Part
from bench.rounds import FULL, SHORT, Sizes
from bench.two_million import stock

PARTS = ("load", "unchanged", "archive", "memory", "backfill", "pages", "counts", "exports", "workers")


def main() -> int:
    """
    Run what the command line asks for.

    Returns:
        1 where a target was missed, else 0.
    """
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure what the package promises.")
    parser.add_argument("parts", nargs="*", metavar="part", help=f"any of {', '.join(PARTS)} (default: all)")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--short", action="store_true", help="small sizes, to see that it works; no target is judged")
    size.add_argument("--full", action="store_true", help="the sizes that the targets are set for (the default)")
    parser.add_argument("--rounds", type=int, help="rounds of load and unchanged")
    parser.add_argument("--profile", action="store_true", help="instead, say where the time of a load goes")
    parser.add_argument("--work", type=Path, help="folder for what is made on the way (default: a temporary one)")
    asked = parser.parse_args()
    unknown = sorted(set(asked.parts) - set(PARTS))
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    sizes = SHORT if asked.short else FULL
    if asked.rounds:
        sizes = Sizes(**{**vars(sizes), "rounds": asked.rounds})
    with tempfile.TemporaryDirectory(prefix="stopsearch-bench-", dir=asked.work) as work:
        return _run(asked.parts or list(PARTS), sizes, Path(work), size=_size_name(asked), profile=asked.profile)


def _size_name(asked: argparse.Namespace) -> str:
    return "short" if asked.short else "full"


def _run(names: list[str], sizes: Sizes, work: Path, *, size: str, profile: bool) -> int:
    say_little()
    data = find_real_data()
    found_on = report.machine()
    print(f"Input: {data.name}. {found_on}\n", flush=True)
    data_dir = work / "data"
    with bench_server(data_dir) as server:
        if profile:
            print(profile_load.run(server, _paths(data, work, sizes)))
            return 0
        runners: dict[str, Callable[[], Part]] = {
            "load": lambda: load.run(server, data_dir, _paths(data, work, sizes), sizes),
            "unchanged": lambda: unchanged.run(server, _paths(data, work, sizes), sizes),
            "archive": lambda: archive.run(server, data_dir, data, sizes),
            "memory": lambda: memory.run(server, data_dir, data, work, sizes),
            "backfill": lambda: backfill.run(server, data_dir, data, work, sizes),
            "pages": lambda: pages.run(stock(server, work, data, sizes.stocked_rows), work, sizes),
            "counts": lambda: counts.run(stock(server, work, data, sizes.stocked_rows), work, sizes),
            "exports": lambda: exports.run(stock(server, work, data, sizes.stocked_rows), work, sizes),
            "workers": lambda: workers.run(server, data_dir, data, work, sizes),
        }
        parts = []
        for name in PARTS:
            if name in names:
                part = runners[name]()
                parts.append(part)
                print(report.show(part), flush=True)
                report.keep(part, size=size, data=data.name, found_on=found_on)
    if size == "short":
        print("Short sizes: too small for the targets to be judged by.")
        return 0
    print(report.show_targets(parts))
    return 0 if all(figure.is_met for part in parts for figure in part.figures) else 1


def _paths(data: RealData, work: Path, sizes: Sizes) -> list[str]:
    folder = work / "answers"
    if folder.exists():
        return sorted(str(path) for path in folder.glob("*.json"))
    return write_months(folder, api_months(data, sizes.load_months))


if __name__ == "__main__":
    sys.exit(main())
