"""
Archives of the publisher's layout, and the force-months of the bundled sample.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from stopsearch.sample import sample_archives

ForceMonth = tuple[str, str]  # the force's id, and the month as YYYY-MM


def member_name(force: str, month: str) -> str:
    """
    Give the name that the publisher gives a force-month's file.
    """
    return f"{month}/{month}-{force}-stop-and-search.csv"


def write_archive(path: Path, members: Mapping[ForceMonth, bytes]) -> Path:
    """
    Write a zip of force-months; the file's name (YYYY-MM.zip) tells when it was published.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for (force, month), body in members.items():
            archive.writestr(member_name(force, month), body)
    return path


@cache
def sample_members(edition: str) -> dict[ForceMonth, bytes]:
    """
    Give every force-month of one of the sample's two editions, `2020-02` or `2021-11`, as published.
    """
    [path] = [path for path in sample_archives() if path.stem == edition]
    members: dict[ForceMonth, bytes] = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith("-stop-and-search.csv"):
                stem = name.rpartition("/")[2].removesuffix("-stop-and-search.csv")
                members[stem[8:], stem[:7]] = archive.read(name)
    return members


def sample_month(force: str, month: str, *, edition: str = "2021-11") -> bytes:
    """
    Give one force-month of the sample as published.
    """
    return sample_members(edition)[force, month]


def csv_rows(body: bytes) -> list[dict[str, str]]:
    """
    Read a published file with the standard library alone.
    """
    return list(csv.DictReader(io.StringIO(body.decode(), newline="")))


def csv_of(rows: list[dict[str, str]], *, newline: str = "\n") -> bytes:
    """
    Write rows as the publisher would: one header, and no quotes.
    """
    lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
    return "".join(line + newline for line in lines).encode()
