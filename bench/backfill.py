"""
A backfill of every force and three years against the stand-in with its real limit, also killed and resumed.
"""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

from bench.bring_months_in import say_little
from bench.case import ROOT, case_command, case_environment
from bench.databases import BenchServer, database_at, plain_settings
from bench.publisher import Publisher, publishing
from bench.real_months import RealData, write_force_months
from bench.report import Figure, Part
from bench.rounds import Sizes
from stopsearch.domain.forces import FORCE_NAMES
from stopsearch.domain.months import Month
from stopsearch.flows.batches import Trigger
from stopsearch.flows.ingest_from_api import ingest_from_api
from stopsearch.flows.plan import Wanted

_LIMIT_PER_SECOND = 15
_FIRST = Month(2021, 1)
_KILL_AFTER = (1 / 3, 2 / 3)  # of the force-months
_POLL_S = 0.2
UNDISTURBED, KILLED = "undisturbed", "killed twice"


def ingest(*, conninfo: str, data_dir: str, url: str) -> dict[str, Any]:
    """
    Case: bring in what is due.
    """
    say_little()
    report = asyncio.run(
        ingest_from_api(
            database_at(conninfo),
            plain_settings(Path(data_dir), upstream_url=url),
            Wanted(),
            trigger=Trigger(name="bench", requested_by="bench"),
        )
    )
    return {"status": report.status}


def run(server: BenchServer, data_dir: Path, data: RealData, work: Path, sizes: Sizes) -> Part:
    """
    Run the backfill once undisturbed, and once killed twice and resumed.
    """
    forces = [force for force in FORCE_NAMES if force != "northern-ireland"][: sizes.backfill_forces]
    months = sizes.backfill_months
    folder = work / "published"
    rows = write_force_months(folder, data, forces=forces, first=_FIRST, months=months)
    found: dict[str, dict[str, Any]] = {}
    with publishing(folder) as publisher:
        for name, kills in ((UNDISTURBED, ()), (KILLED, _KILL_AFTER)):
            publisher.forget()
            with server.fresh() as conninfo:
                found[name] = _backfill(
                    conninfo, data_dir, publisher, kills=[int(share * len(forces) * months) for share in kills]
                )
            # The publisher's bucket is empty again before the next one begins.
            time.sleep(3)
    if found[UNDISTURBED].pop("content") != found[KILLED].pop("content"):
        raise RuntimeError("The backfill that was killed ended in another state than the undisturbed one.")
    expected = len(forces) * months
    for name, one in found.items():
        if one["held"] != expected:
            raise RuntimeError(f"The backfill ({name}) ended with {one['held']} of {expected} force-months.")
    return Part(
        name="backfill",
        title=f"Backfill: {len(forces)} forces × {months} months, {rows:,} records, limit {_LIMIT_PER_SECOND}/s",
        rounds=[found],
        columns=(
            "case",
            "requests",
            "seconds",
            "requests ÷ 15/s",
            "ratio",
            "429s",
            "busiest second",
            "kept and asked for again",
            "in flight at a kill",
        ),
        lines=[
            (
                name,
                str(one["requests"]),
                f"{one['seconds']:.1f}",
                f"{one['allowed_s']:.1f}",
                f"{one['ratio']:.3f}",
                str(one["limited"]),
                str(one["busiest_second"]),
                str(one["asked_again"]),
                str(one["in_flight_at_kills"]),
            )
            for name, one in found.items()
        ],
        figures=[
            *(
                Figure(f"backfill time over the limit's, {name}", one["ratio"], at_most=1.15)
                for name, one in found.items()
            ),
            *(Figure(f"429s seen, {name}", one["limited"], at_most=0) for name, one in found.items()),
            Figure("kept and downloaded again, killed twice", found[KILLED]["asked_again"], at_most=0),
        ],
        notes=["Seconds are those that a process of ours lived, its start included; both ended in the same content."],
    )


def _backfill(conninfo: str, data_dir: Path, publisher: Publisher, *, kills: Sequence[int]) -> dict[str, Any]:
    command = case_command("bench.backfill:ingest", conninfo=conninfo, data_dir=str(data_dir), url=publisher.url)
    lived_s = 0.0
    killed: list[tuple[float, set[tuple[str, str]]]] = []
    for kill_at in (*kills, None):
        started = time.monotonic()
        process = subprocess.Popen(command, cwd=ROOT, env=case_environment(), stdout=subprocess.DEVNULL)
        try:
            if kill_at is not None and _wait_for(conninfo, kill_at, process):
                process.kill()
                at = time.monotonic()
                process.wait()
                lived_s += at - started
                killed.append((at, _kept_once_settled(conninfo)))
                continue
            code = process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        lived_s += time.monotonic() - started
        if code:
            raise RuntimeError(f"The backfill ended with {code}.")
        break
    if len(killed) != len(kills):
        raise RuntimeError("The backfill was done before it could be killed.")
    return {**_account(publisher, lived_s, killed), **_state(conninfo)}


def _account(
    publisher: Publisher, lived_s: float, killed: Sequence[tuple[float, set[tuple[str, str]]]]
) -> dict[str, Any]:
    arrivals = publisher.arrivals()
    times = [arrival["at"] for arrival in arrivals]
    asked_again = sum(
        (arrival["force"], arrival["month"]) in kept
        for at, kept in killed
        for arrival in arrivals
        if arrival["at"] > at
    )
    stops = [(arrival["force"], arrival["month"]) for arrival in arrivals if arrival["path"].endswith("/stops-force")]
    allowed_s = len(arrivals) / _LIMIT_PER_SECOND
    return {
        "requests": len(arrivals),
        "seconds": lived_s,
        "allowed_s": allowed_s,
        "ratio": lived_s / allowed_s,
        "limited": sum(arrival["status"] == 429 for arrival in arrivals),
        "not_200": sum(arrival["status"] != 200 for arrival in arrivals),
        "busiest_second": max(sum(at <= other < at + 1 for other in times) for at in times),
        "asked_again": asked_again,
        "in_flight_at_kills": len(stops) - len(set(stops)) - asked_again,
    }


def _wait_for(conninfo: str, force_months: int, process: subprocess.Popen[bytes]) -> bool:
    """
    Wait until so many force-months are held; tell whether the process still runs.
    """
    with database_at(conninfo).connect(autocommit=True) as connection:
        while process.poll() is None:
            row = connection.execute("SELECT count(*) FROM month_release WHERE state = 'held'").fetchone()
            if row is not None and row[0] >= force_months:
                return True
            with suppress(subprocess.TimeoutExpired):
                process.wait(_POLL_S)
    return False


def _kept_once_settled(conninfo: str) -> set[tuple[str, str]]:
    """
    Give the force-months whose answer is kept, once the server has noticed that its client is gone.
    """
    with database_at(conninfo).connect(autocommit=True) as connection:
        others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and connection.execute(others).fetchone() != (0,):
            time.sleep(0.01)
        rows: list[tuple[str, date]] = connection.execute(
            """
            SELECT DISTINCT force.id, run.month FROM ingest_run AS run JOIN force ON force.code = run.force_code
            WHERE run.body_digest IS NOT NULL
            """
        ).fetchall()
    return {(force, str(Month.of(month))) for force, month in rows}


def _state(conninfo: str) -> dict[str, Any]:
    with database_at(conninfo).connect(autocommit=True) as connection:
        rows = connection.execute(
            """
            SELECT force.id, release.month::text, revision.number, encode(revision.content_digest, 'hex'),
                (SELECT count(*) FROM stop WHERE force_code = force.code AND stop.month = release.month)
            FROM month_release AS release
            JOIN force ON force.code = release.force_code
            JOIN revision ON (revision.force_code, revision.month, revision.number)
                = (release.force_code, release.month, release.current_revision)
            ORDER BY 1, 2
            """
        ).fetchall()
    return {"held": len(rows), "stops": sum(row[4] for row in rows), "content": rows}
