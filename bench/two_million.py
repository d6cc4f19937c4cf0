"""
A database of two million real-shaped stops, brought in as any archive is: the real months, and the same months again
under earlier years.

Years are shifted by eight and sixteen, so that a leap day stays one. A shifted stop differs from its model by year
alone, so that forces, labels, places, repeats and gaps are as real ones are.
"""

from __future__ import annotations

import asyncio
import io
import re
import zipfile
from pathlib import Path

from bench.bring_months_in import require
from bench.databases import TEMPLATE, BenchServer, database_at, plain_settings
from bench.real_months import RealData
from stopsearch.domain.states import RunStatus
from stopsearch.flows.batches import Trigger
from stopsearch.flows.ingest_from_archives import ingest_from_archives
from stopsearch.flows.plan import Wanted

STOCKED = "bench_stocked"
_UNFINISHED = "bench_stocking"
WANTED_ROWS = 2_000_000

_SHIFTS = (0, 8, 16, 24)
_OLDEST_YEAR = 2000  # a month before it is none


def stock(server: BenchServer, work: Path, data: RealData, rows: int = WANTED_ROWS) -> str:
    """
    Make the database, where it is not there yet, and give its address.
    """
    folder = work / "shifted"
    if server.exists(STOCKED):
        return server.conninfo(STOCKED)
    write_shifted(data, folder, rows)
    server.drop(_UNFINISHED)
    server.make(_UNFINISHED, TEMPLATE)
    database = database_at(server.conninfo(_UNFINISHED))
    report = asyncio.run(
        ingest_from_archives(
            database,
            plain_settings(work / "data"),
            Wanted(),
            paths=[str(path) for path in sorted(folder.iterdir())],
            trigger=Trigger(name="bench", requested_by="bench"),
        )
    )
    require(report.runs, RunStatus.REVISED)
    with database.connect(autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")
    database.close()
    server.rename(_UNFINISHED, STOCKED)
    return server.conninfo(STOCKED)


def write_shifted(data: RealData, folder: Path, rows: int) -> int:
    """
    Write archives of at least so many rows, one folder of zips a shift; give how many rows they hold.
    """
    written = 0
    for shift in _SHIFTS:
        if written >= rows:
            break
        place = folder / f"shifted-{shift:02d}"
        place.mkdir(parents=True, exist_ok=True)
        for path in sorted(Path(data.archive).glob("*.zip"), reverse=True):
            year, month = int(path.stem[:4]) - shift, path.stem[5:]
            if written >= rows or year < _OLDEST_YEAR:
                continue
            with (
                zipfile.ZipFile(path) as source,
                zipfile.ZipFile(place / f"{year}-{month}.zip", "w", zipfile.ZIP_DEFLATED) as target,
            ):
                for member in source.namelist():
                    body = _earlier(source.read(member), shift)
                    written += body.count(b"\n") - 1
                    target.writestr(_earlier_name(member, shift), body)
    return written


def _earlier(body: bytes, shift: int) -> bytes:
    if not shift:
        return body
    lines = io.BytesIO()
    for line in body.splitlines(keepends=True):
        lines.write(re.sub(rb"\b(20\d\d)(-\d\d-\d\dT)", lambda m: b"%d%s" % (int(m[1]) - shift, m[2]), line))
    return lines.getvalue()


def _earlier_name(member: str, shift: int) -> str:
    return re.sub(r"\b(20\d\d)(-\d\d)", lambda m: f"{int(m[1]) - shift}{m[2]}", member)
