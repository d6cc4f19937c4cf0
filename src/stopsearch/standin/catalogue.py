"""
What the stand-in holds: force-months in archives, CSV files and stored answers, read only when asked for.
"""

from __future__ import annotations

import re
import threading
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from stopsearch.domain.errors import BadPath
from stopsearch.domain.months import Month
from stopsearch.standin.records import read_csv_records, read_json

_MEMBER = re.compile(r"(?:.*/)?(\d{4}-\d{2})-([a-z-]+)-stop-and-search\.csv", re.ASCII)
_ANSWER = re.compile(r"stops-force_([a-z-]+)_(\d{4}-\d{2})\.json(?:\.gz)?", re.ASCII)
_ARCHIVE = re.compile(r"(\d{4}-\d{2})\.zip", re.ASCII)

Key = tuple[str, Month]


@dataclass(frozen=True, kw_only=True)
class Holding:
    """
    Where one force-month lies: a stored answer or a CSV file at a path, a member of a zip, or bytes in memory.
    """

    path: Path | None = None
    member: str = ""
    body: bytes = b""
    is_csv: bool


class Catalogue:
    """
    The force-months that the stand-in can serve, by force and month.

    Opening one lists names only; a force-month is read and converted when it is asked for. Where several paths
    hold the same force-month, the later path is served; zips in a folder count in the order of their names. The
    files are trusted: this is a tool for development, not a reader of what strangers send.
    """

    def __init__(self, holdings: Mapping[Key, Holding], archives: Mapping[Month, Path] | None = None) -> None:
        self._holdings = dict(holdings)
        self._zips: dict[Path, zipfile.ZipFile] = {}
        self._lock = threading.Lock()
        self.archives = dict(archives or {})

    @classmethod
    def open(cls, paths: Sequence[Path]) -> Catalogue:
        """
        List what the paths hold: zips, folders, CSV files, and answers stored as
        `stops-force_<force>_<YYYY-MM>.json` or `.json.gz`.

        Raises:
            BadPath: A path is not there or cannot be read as what its name says, or none holds a force-month.
        """
        holdings: dict[Key, Holding] = {}
        archives: dict[Month, Path] = {}
        for path in _files(paths):
            if path.suffix == ".zip":
                holdings |= _zip_holdings(path)
                if name := _ARCHIVE.fullmatch(path.name):
                    archives[Month.parse(name[1])] = path
            elif member := _MEMBER.fullmatch(path.name):
                holdings[member[2], Month.parse(member[1])] = Holding(path=path, is_csv=True)
            elif answer := _ANSWER.fullmatch(path.name):
                holdings[answer[1], Month.parse(answer[2])] = Holding(path=path, is_csv=False)
        if not holdings:
            raise BadPath(
                f"No stops were found in {', '.join(str(path) for path in paths) or 'no path at all'}.",
                remedy="Give monthly archives (zip), files named YYYY-MM-<force>-stop-and-search.csv, answers "
                "named stops-force_<force>_<YYYY-MM>.json, or folders of these.",
            )
        return cls(holdings, archives)

    @classmethod
    def of(cls, months: Mapping[tuple[str, str], bytes | Sequence[object]]) -> Catalogue:
        """
        Hold force-months given as bytes (a CSV file or a JSON array) or as records, by force and YYYY-MM.
        """
        holdings: dict[Key, Holding] = {}
        for (force, month), content in months.items():
            body = content if isinstance(content, bytes) else msgspec.json.encode(content)
            is_csv = not body.lstrip().startswith(b"[")
            holdings[force, Month.parse(month)] = Holding(body=body, is_csv=is_csv)
        return cls(holdings)

    @property
    def keys(self) -> frozenset[Key]:
        """
        Give every force and month that is held.
        """
        return frozenset(self._holdings)

    def read(self, force: str, month: Month, *, order: str = "") -> bytes:
        """
        Give the JSON array that answers for one force-month.

        A stored answer is given as it is stored; a CSV file's rows are given as records in an order that looks
        like none, decided by force, month and `order`.

        Raises:
            KeyError: The force-month is not held.
        """
        holding = self._holdings[force, month]
        body = self._bytes(holding)
        if not holding.is_csv:
            return body
        return msgspec.json.encode(read_csv_records(body, order=f"{force} {month} {order}"))

    def close(self) -> None:
        """
        Close the zips that were opened.
        """
        with self._lock:
            while self._zips:
                self._zips.popitem()[1].close()

    def _bytes(self, holding: Holding) -> bytes:
        if holding.path is None:
            return holding.body
        if not holding.member:
            return read_json(holding.path)
        with self._lock:
            archive = self._zips.get(holding.path)
            if archive is None:
                archive = self._zips[holding.path] = zipfile.ZipFile(holding.path)
            return archive.read(holding.member)


def _files(paths: Iterable[Path]) -> Iterable[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(found for found in path.rglob("*") if found.is_file())
        elif path.is_file():
            yield path
        else:
            raise BadPath(f"{path} is not there.", remedy="Give an existing zip, CSV or JSON file, or a folder.")


def _zip_holdings(path: Path) -> dict[Key, Holding]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError) as error:
        raise BadPath(f"{path} cannot be read as a zip: {error}.", remedy="Fetch it again.") from error
    return {
        (found[2], Month.parse(found[1])): Holding(path=path, member=name, is_csv=True)
        for name in names
        if (found := _MEMBER.fullmatch(name))
    }
