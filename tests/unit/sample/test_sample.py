"""
The bundled sample is what its manifest and its README say it is: whole, real, small, and odd as promised.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import zipfile
from collections import Counter
from datetime import datetime
from functools import cache
from zoneinfo import ZoneInfo

import pytest

from stopsearch.sample import sample_answers, sample_archives, sample_folder

pytestmark = pytest.mark.unit

EARLIER, LATER = sample_archives()
LONDON = ZoneInfo("Europe/London")
HEADER = (
    "Type,Date,Part of a policing operation,Policing operation,Latitude,Longitude,Gender,Age range,"
    "Self-defined ethnicity,Officer-defined ethnicity,Legislation,Object of search,Outcome,"
    "Outcome linked to object of search,Removal of more than just outer clothing"
)


@cache
def manifest() -> tuple[dict[str, str], ...]:
    with (sample_folder() / "MANIFEST.csv").open(newline="") as file:
        return tuple(csv.DictReader(file))


@cache
def body(edition: str, force: str, month: str) -> bytes:
    with zipfile.ZipFile(sample_folder() / f"{edition}.zip") as archive:
        return archive.read(f"{month}/{month}-{force}-stop-and-search.csv")


def rows(force: str, month: str, edition: str = "2021-11") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(body(edition, force, month).decode("ascii"), newline="")))


def repeats(force: str, month: str) -> Counter[tuple[str, ...]]:
    return Counter(tuple(row.values()) for row in rows(force, month))


def later_lines() -> list[dict[str, str]]:
    return [line for line in manifest() if line["edition"] == "2021-11"]


def test_takes_at_most_three_megabytes() -> None:
    sizes = [path.stat().st_size for path in sample_folder().rglob("*") if path.suffix != ".pyc" and path.is_file()]

    assert sum(sizes) <= 3_000_000


def test_carries_its_licence_notice() -> None:
    text = " ".join((sample_folder() / "README.md").read_text().split())

    assert (
        "Contains public sector information licensed under the [Open Government Licence v3.0]"
        "(https://www.nationalarchives.gov.uk/doc/open-government-licence/version/3/)" in text
    )
    assert "data.police.uk" in text


def test_readme_counts_what_the_manifest_lists() -> None:
    text = (sample_folder() / "README.md").read_text()
    lines = later_lines()

    assert f"{len(lines)} force-months of {len({line['force'] for line in lines})} forces" in text


def test_manifest_lists_every_file_and_nothing_else() -> None:
    members = set()
    for path in (EARLIER, LATER):
        with zipfile.ZipFile(path) as archive:
            members |= {(path.name, name) for name in archive.namelist()}
    answers = {(f"api/{path.name}", "") for path in sample_answers()}

    assert {(line["file"], line["member"]) for line in manifest()} == members | answers
    assert len(manifest()) == len(members) + len(answers)


def test_every_member_is_the_published_bytes_that_the_manifest_counts() -> None:
    for line in manifest():
        if line["edition"] == "api":
            continue
        raw = body(line["edition"], line["force"], line["month"])
        newline = b"\r\n" if line["newline"] == "CRLF" else b"\n"
        header, *records = raw.split(newline)
        assert hashlib.sha256(raw).hexdigest() == line["sha256"]
        assert len(raw) == int(line["bytes"])
        assert header.decode() == HEADER
        assert records.pop() == b""
        assert len(records) == int(line["rows"]), line["member"]
        assert raw.count(b"\r") == (len(records) + 1 if line["newline"] == "CRLF" else 0)


def test_every_answer_is_the_recorded_bytes_that_the_manifest_counts() -> None:
    lines = {line["file"]: line for line in manifest() if line["edition"] == "api"}
    assert len(lines) >= 1
    for path in sample_answers():
        raw, line = gzip.decompress(path.read_bytes()), lines[f"api/{path.name}"]
        assert hashlib.sha256(raw).hexdigest() == line["sha256"]
        assert len(json.loads(raw)) == int(line["rows"])
        assert path.name == f"stops-force_{line['force']}_{line['month']}.json.gz"


def test_has_several_forces_and_two_years_without_a_missing_month() -> None:
    months = sorted({line["month"] for line in later_lines()})

    assert months == [f"{year}-{number:02d}" for year in (2019, 2020) for number in range(1, 13)]
    assert len({line["force"] for line in later_lines()}) >= 10


@pytest.mark.parametrize(
    ("force", "first", "count"), [("cambridgeshire", 8, 15), ("suffolk", 12, 12), ("wiltshire", 7, 12)]
)
def test_has_forces_with_twelve_months_in_a_row(force: str, first: int, count: int) -> None:
    held = {line["month"] for line in later_lines() if line["force"] == force}
    months = [f"{2019 + n // 12}-{n % 12 + 1:02d}" for n in range(24)]

    assert set(months[first : first + count]) <= held


@pytest.mark.parametrize(
    ("force", "month", "received", "then_received", "gone", "new"),
    [
        ("durham", "2020-01", 161, 161, 27, 27),
        ("durham", "2020-02", 135, 135, 85, 85),
        ("south-yorkshire", "2020-01", 2052, 2174, 795, 917),
    ],
)
def test_has_true_revisions(force: str, month: str, received: int, then_received: int, gone: int, new: int) -> None:
    earlier, later = (Counter(body(e, force, month).decode().splitlines()[1:]) for e in ("2020-02", "2021-11"))

    assert (earlier.total(), later.total()) == (received, then_received)
    assert ((earlier - later).total(), (later - earlier).total()) == (gone, new)


def test_cumbria_has_microseconds() -> None:
    dates = [row["Date"] for line in later_lines() if line["force"] == "cumbria" for row in rows(*_key(line))]

    assert sum("." in date for date in dates) == 4137
    assert any("." not in date for date in dates)


def test_dyfed_powys_has_only_dates_in_local_time() -> None:
    assert {row["Date"][11:19] for row in rows("dyfed-powys", "2020-05")} == {"23:00:00"}
    assert {row["Date"][11:19] for row in rows("dyfed-powys", "2020-02")} == {"00:00:00"}
    assert rows("dyfed-powys", "2020-05")[0]["Date"].startswith("2020-04-30")


def test_wiltshire_changes_between_dates_and_times() -> None:
    def is_date_only(month: str) -> bool:
        return all(
            datetime.fromisoformat(row["Date"]).astimezone(LONDON).strftime("%H%M") == "0000"
            for row in rows("wiltshire", month)
        )

    kinds = {is_date_only(line["month"]) for line in later_lines() if line["force"] == "wiltshire"}
    assert kinds == {True, False}


@pytest.mark.parametrize(
    ("force", "month", "surplus"),
    [
        ("cambridgeshire", "2019-01", 142),
        ("cambridgeshire", "2020-07", 297),
        ("suffolk", "2019-10", 335),
        ("surrey", "2020-01", 697),
    ],
)
def test_has_wholly_doubled_files(force: str, month: str, surplus: int) -> None:
    counts = repeats(force, month)

    assert all(count % 2 == 0 for count in counts.values())
    assert counts.total() - len(counts) == surplus


def test_kent_has_points_far_away() -> None:
    far = [row for row in rows("kent", "2020-11") if row["Latitude"] and float(row["Latitude"]) > 54]

    assert len(far) >= 50


def test_has_stops_of_another_month_than_their_file() -> None:
    by_utc = by_london = 0
    for line in later_lines():
        for row in rows(*_key(line)):
            at = datetime.fromisoformat(row["Date"])
            by_utc += at.strftime("%Y-%m") != line["month"]
            by_london += at.astimezone(LONDON).strftime("%Y-%m") != line["month"]

    assert (by_utc, by_london) == (181, 10)


def test_has_both_line_ends_whole_empty_columns_and_real_gaps() -> None:
    held = {_key(line) for line in later_lines()}

    assert {line["newline"] for line in later_lines()} == {"CRLF", "LF"}
    assert not any(row["Latitude"] for row in rows("south-yorkshire", "2020-01"))
    assert not any(row["Legislation"] for row in rows("surrey", "2020-01"))
    assert ("gwent", "2019-08") not in held
    assert ("gwent", "2019-07") in held
    assert max(month for force, month in held if force == "greater-manchester") == "2019-05"


def _key(line: dict[str, str]) -> tuple[str, str]:
    return line["force"], line["month"]
