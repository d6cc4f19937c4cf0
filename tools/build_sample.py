"""
Build the bundled sample from a larger collection of published files, byte for byte.

The collection's folder holds `archive/` and `archive-earlier/` (a zip a month), `api/` (recorded answers) and
`manifest.csv` (force, month, member, rows, newline, sha256 and the public repository of each file). Building twice
gives the same bytes.

    python tools/build_sample.py COLLECTION [TARGET]
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

TARGET = Path(__file__).parents[1] / "src" / "stopsearch" / "sample"

# Two whole years: both clock changes twice, the two editions, the doubled files, the times with microseconds.
FIRST, LAST = "2019-01", "2020-12"

# Every file that the collection has of these, from the first month to the last.
WHOLE_FORCES = (
    "avon-and-somerset",
    "cambridgeshire",
    "city-of-london",
    "cleveland",
    "cumbria",
    "durham",
    "dyfed-powys",
    "greater-manchester",
    "gwent",
    "leicestershire",
    "suffolk",
    "wiltshire",
)

# Single files of larger forces, each for one oddity.
SINGLE_FILES = (
    ("btp", "2020-07"),
    ("kent", "2020-11"),
    ("kent", "2020-12"),
    ("south-wales", "2020-03"),
    ("south-yorkshire", "2020-01"),
    ("surrey", "2020-01"),
    ("sussex", "2019-10"),
)

# The earlier edition of these, as published in spring 2020.
EARLIER_FILES = (("durham", "2020-01"), ("durham", "2020-02"), ("south-yorkshire", "2020-01"))

# Named as the publisher names its archives, for the newest month that each of the two downloads had.
EARLIER_EDITION, LATER_EDITION = "2020-02", "2021-11"

API_ANSWERS = ("stops-force_leicestershire_2023-07.json", "stops-force_metropolitan_2024-12.json.gz")
AVAILABILITY = "crimes-street-dates_2023-04_to_2023-06.json"

COLUMNS = ("file", "edition", "force", "month", "member", "rows", "bytes", "newline", "sha256", "found_in")


@dataclass(frozen=True, kw_only=True)
class Picked:
    """
    One published CSV file of the sample.
    """

    line: dict[str, str]  # of the collection's manifest
    body: bytes


def pick(collection: Path, manifest: list[dict[str, str]], where: str, wanted: set[tuple[str, str]]) -> list[Picked]:
    """
    Read the wanted files of one part of the collection, by month and then force, each held against its digest.
    """
    picked = []
    for line in manifest:
        if line["set"] == where and (line["force"], line["month"]) in wanted:
            with zipfile.ZipFile(collection / where / f"{line['month']}.zip") as archive:
                body = archive.read(line["member"])
            if hashlib.sha256(body).hexdigest() != line["sha256"]:
                raise SystemExit(f"{line['member']} is not what the manifest says it is")
            picked.append(Picked(line=line, body=body))
    missing = wanted - {(one.line["force"], one.line["month"]) for one in picked}
    if missing:
        raise SystemExit(f"the collection lacks {sorted(missing)} in {where}")
    return sorted(picked, key=lambda one: (one.line["month"], one.line["force"]))


def write_zip(path: Path, picked: list[Picked]) -> None:
    """
    Write an archive in the publisher's layout, with no time in it but the zip format's first.
    """
    with zipfile.ZipFile(path, "w") as archive:
        for one in picked:
            entry = zipfile.ZipInfo(one.line["member"], date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, one.body, compresslevel=9)


def write_answers(collection: Path, folder: Path) -> list[dict[str, str]]:
    """
    Write the recorded API answers, packed, and give their manifest lines.
    """
    folder.mkdir(exist_ok=True)
    lines = []
    for name in API_ANSWERS:
        body = (collection / "api" / name).read_bytes()
        if name.endswith(".gz"):
            body = gzip.decompress(body)
        packed_name = name.removesuffix(".gz") + ".gz"
        packed = io.BytesIO()
        with gzip.GzipFile(filename="", fileobj=packed, mode="wb", compresslevel=9, mtime=0) as file:
            file.write(body)
        (folder / packed_name).write_bytes(packed.getvalue())
        _, force, month = name.split(".")[0].split("_")
        lines.append(
            {
                "file": f"api/{packed_name}",
                "edition": "api",
                "force": force,
                "month": month,
                "rows": str(len(json.loads(body))),
                "bytes": str(len(body)),
                "sha256": hashlib.sha256(body).hexdigest(),
                "found_in": "angrybat/PoliceStopAndSearch"
                if force == "leicestershire"
                else "timothybroome/london-stop-search",
            }
        )
    (folder / AVAILABILITY).write_bytes((collection / "api" / AVAILABILITY).read_bytes())
    return lines


def main(collection: Path, target: Path) -> None:
    """
    Build the sample's data files, and its manifest.
    """
    with (collection / "manifest.csv").open(newline="") as file:
        manifest = list(csv.DictReader(file))
    later = {
        (line["force"], line["month"])
        for line in manifest
        if line["force"] in WHOLE_FORCES and FIRST <= line["month"] <= LAST
    } | set(SINGLE_FILES)
    lines: list[dict[str, str]] = []
    for edition, where, wanted in (
        (EARLIER_EDITION, "archive-earlier", set(EARLIER_FILES)),
        (LATER_EDITION, "archive", later),
    ):
        picked = pick(collection, manifest, where, wanted)
        write_zip(target / f"{edition}.zip", picked)
        for one in picked:
            line = {key: one.line[key] for key in ("force", "month", "member", "rows", "bytes", "newline", "sha256")}
            line |= {
                "file": f"{edition}.zip",
                "edition": edition,
                "found_in": one.line["public_repository"],
            }
            lines.append(line)
    lines += write_answers(collection, target / "api")
    with (target / "MANIFEST.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else TARGET)
