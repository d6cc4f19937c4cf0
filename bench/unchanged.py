"""
Unchanged content again: identical bytes, and the same records in another order, beside the first load.
"""

from __future__ import annotations

from typing import Any

from bench.bring_months_in import begin, bring_months_in, read_bodies, require, say_little, stage_seconds, warm
from bench.case import measured, run_case
from bench.databases import BenchServer, database_at
from bench.real_months import reordered
from bench.report import Figure, Part, median, spread
from bench.rounds import Sizes
from stopsearch.domain.states import RunStatus

FIRST, SAME, REORDERED = "first load", "identical bytes", "another order"


def bring_in_again(*, conninfo: str, paths: list[str]) -> dict[str, Any]:
    """
    Case: load, then the same bytes, then the same records in another order.
    """
    say_little()
    database = database_at(conninfo)
    bodies = read_bodies(paths)
    other = {month: reordered(body) for month, body in bodies.items()}
    batch_id = begin(database)
    warm(database, batch_id, bodies)
    found: dict[str, Any] = {}
    with database.connect(autocommit=True) as watching:
        for name, sent, status in (
            (FIRST, bodies, RunStatus.REVISED),
            (SAME, bodies, RunStatus.UNCHANGED),
            (REORDERED, other, RunStatus.UNCHANGED),
        ):
            watching.execute("CHECKPOINT")
            with measured(watching) as took:
                reports = bring_months_in(database, batch_id, sent)
            require(reports, status)
            found[name] = {**took, "stages": stage_seconds(reports)}
        found["rows"] = sum(row[0] for row in watching.execute("SELECT received FROM revision WHERE number = 1"))
    return found


def run(server: BenchServer, paths: list[str], sizes: Sizes) -> Part:
    """
    Run it a few times, each in a fresh database, and compare within each round.
    """
    rounds = []
    for _ in range(sizes.rounds):
        with server.fresh() as conninfo:
            rounds.append(run_case("bench.unchanged:bring_in_again", conninfo=conninfo, paths=paths))
    shares = {
        name: [found[name]["seconds"] / found[FIRST]["seconds"] for found in rounds] for name in (SAME, REORDERED)
    }
    lines = [
        (
            name,
            f"{median([found[name]['seconds'] for found in rounds]):.3f}",
            "1" if name == FIRST else spread(shares[name]),
            f"{median([found[name]['client_cpu_s'] for found in rounds]):.2f}",
            f"{median([found[name]['server_cpu_s'] for found in rounds]):.2f}",
        )
        for name in (FIRST, SAME, REORDERED)
    ]
    return Part(
        name="unchanged",
        title=f"Unchanged content again: {len(paths)} months, {len(rounds)} rounds",
        rounds=rounds,
        columns=("what", "seconds", "of the first load's time", "client CPU s", "server CPU s"),
        lines=lines,
        figures=[
            Figure("identical bytes over the first load's time", median(shares[SAME]), at_most=0.10),
            Figure("another order over the first load's time", median(shares[REORDERED]), at_most=0.40),
        ],
    )
