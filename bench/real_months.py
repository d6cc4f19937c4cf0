"""
What the benchmarks are fed with: real published stops, from the larger data folder or from the bundled sample.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

import stopsearch
from stopsearch.domain.months import Month
from stopsearch.standin.records import read_csv_records, read_json, shuffle

RECORDS_A_MONTH = 20_000
FORCE = "metropolitan"
FIRST_MONTH = Month(2018, 4)

_SAMPLE = Path(stopsearch.__file__).parent / "sample"
_SUFFIX = "-stop-and-search.csv"


@dataclass(frozen=True, kw_only=True)
class RealData:
    """
    Where real data lies, and what to call it in a report.
    """

    name: str
    archive: Path  # a folder of monthly zips, or one zip
    answers: tuple[Path, ...]  # stored answers of the API
    is_sample: bool


def find_real_data() -> RealData:
    """
    Give the larger data folder where there is one, else the bundled sample.
    """
    beside = Path(stopsearch.__file__).parents[3] / "shared" / "data"
    shared = Path(os.environ.get("STOPSEARCH_SHARED_DATA", beside))
    if (shared / "archive").is_dir():
        return RealData(
            name="the larger data folder",
            archive=shared / "archive",
            answers=tuple(sorted((shared / "api").glob(f"stops-force_{FORCE}_*.json.gz"))),
            is_sample=False,
        )
    return RealData(
        name="the bundled sample",
        archive=_SAMPLE / "2021-11.zip",
        answers=tuple(sorted((_SAMPLE / "api").glob("stops-force_*.json.gz"))),
        is_sample=True,
    )


def csv_members(archive: Path) -> Iterator[tuple[str, Month, bytes]]:
    """
    Give force, month and bytes of every stop-and-search file of a zip or a folder of zips.
    """
    for path in sorted(archive.glob("*.zip")) if archive.is_dir() else [archive]:
        with zipfile.ZipFile(path) as opened:
            for member in opened.namelist():
                name = member.rpartition("/")[2]
                if name.endswith(_SUFFIX):
                    yield name[8 : -len(_SUFFIX)], Month.parse(name[:7]), opened.read(member)


def api_months(data: RealData, count: int, *, records: int = RECORDS_A_MONTH) -> list[bytes]:
    """
    Give answers of the API, each of so many real records and each different, as compact JSON.

    A month of the archives is shown as the API shows it. It is topped up to its size with records of the stored
    answers, other ones for each month; where there are more months than files, the files are used again.
    """
    stored = [
        record for path in data.answers for record in msgspec.json.decode(read_json(path), type=list[msgspec.Raw])
    ]
    # The publisher sends compact JSON; some of the answers were indented by whoever stored them.
    pool = [msgspec.json.encode(msgspec.json.decode(record)) for record in stored]
    months = _large_months(data, pool)
    found = []
    for number in range(count):
        own = months[number % len(months)]
        turn = number * records // 10 % len(pool)
        more = pool[turn:] + pool[:turn]
        lack = max(records - len(own), 0)
        filled = own + (more * (lack // len(more) + 1))[:lack]
        found.append(b"[" + b",".join(shuffle(filled, order=str(number))[:records]) + b"]")
    return found


def _large_months(data: RealData, pool: list[bytes]) -> list[list[bytes]]:
    if data.is_sample:
        # Its files are small: all of them in a row, cut into months.
        rows = [row for force, month, body in csv_members(data.archive) for row in _as_answer(force, month, body)]
        return [rows[start : start + RECORDS_A_MONTH] for start in range(0, len(rows), RECORDS_A_MONTH)]
    months = [_as_answer(*member) for member in csv_members(data.archive) if member[0] == FORCE]
    return [pool, *(month for month in months if len(month) >= 9_000)]


def _as_answer(force: str, month: Month, body: bytes) -> list[bytes]:
    return [msgspec.json.encode(record) for record in read_csv_records(body, order=f"{force} {month}")]


def reordered(body: bytes) -> bytes:
    """
    Give the same records in another order.
    """
    records = msgspec.json.decode(body, type=list[msgspec.Raw])
    return b"[" + b",".join(bytes(record) for record in shuffle(records, order="again")) + b"]"


def write_months(folder: Path, bodies: Sequence[bytes]) -> list[str]:
    """
    Write answers into a folder, for the cases' own processes to read; give their paths.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:02d}.json" for number in range(len(bodies))]
    for path, body in zip(paths, bodies, strict=True):
        path.write_bytes(body)
    return [str(path) for path in paths]


def largest_csv(data: RealData) -> bytes:
    """
    Give the largest file of the archives.
    """
    return max((body for _, _, body in csv_members(data.archive)), key=len)


def write_repeated_archive(folder: Path, body: bytes, months: int) -> None:
    """
    Write a folder of zips, one a month, that all hold the same file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(months):
        month = Month(2015, 1).plus(number)
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
            made.writestr(f"{month}/{month}-{FORCE}{_SUFFIX}", body)
        (folder / f"{month}.zip").write_bytes(out.getvalue())


def write_force_months(folder: Path, data: RealData, *, forces: Sequence[str], first: Month, months: int) -> int:
    """
    Write a file for every force and month, from real files: its own where there is one, else another force's.

    Returns:
        The rows in all files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    members = {(force, month): body for force, month, body in csv_members(data.archive)}
    own_first = Month(2019, 1)  # the month from which the archives hold nearly all forces
    others = list(members.values())
    rows, turn = 0, 0
    for force in forces:
        for number in range(months):
            body = members.get((force, own_first.plus(number)))
            if body is None:
                body, turn = others[turn % len(others)], turn + 1
            month = first.plus(number)
            (folder / f"{month}-{force}{_SUFFIX}").write_bytes(body)
            rows += body.count(b"\n") - 1
    return rows
