"""
What is found under the paths that the stand-in is given.
"""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path

import pytest

from builders.standin import make_api_record, make_csv
from stopsearch.domain.errors import BadPath
from stopsearch.domain.months import Month
from stopsearch.standin.catalogue import Catalogue

pytestmark = pytest.mark.unit

JULY = Month(2023, 7)


def write_zip(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, body in members.items():
            archive.writestr(name, body)


def genders(catalogue: Catalogue, force: str, month: Month = JULY) -> list[str]:
    return [record["gender"] for record in json.loads(catalogue.read(force, month))]


def test_finds_archives_files_and_answers_in_a_folder(tmp_path: Path) -> None:
    write_zip(
        tmp_path / "2023-07.zip",
        {
            "2023-07/2023-07-devon-and-cornwall-stop-and-search.csv": make_csv([make_api_record()]),
            "2023-06/2023-06-btp-stop-and-search.csv": make_csv([make_api_record()]),
            "2023-07/2023-07-devon-and-cornwall-street.csv": b"Crime ID\n",
            "2023-07/2023-07-kent-outcomes.csv": b"Crime ID\n",
        },
    )
    (tmp_path / "loose").mkdir()
    (tmp_path / "loose/2023-07-gwent-stop-and-search.csv").write_bytes(make_csv([make_api_record()]))
    (tmp_path / "stops-force_kent_2023-07.json").write_bytes(b"[]")
    (tmp_path / "stops-force_surrey_2023-07.json.gz").write_bytes(gzip.compress(b"[]"))
    (tmp_path / "README.md").write_text("no stops")
    catalogue = Catalogue.open([tmp_path])
    assert catalogue.keys == {
        ("devon-and-cornwall", JULY),
        ("btp", Month(2023, 6)),
        ("gwent", JULY),
        ("kent", JULY),
        ("surrey", JULY),
    }
    assert genders(catalogue, "devon-and-cornwall") == genders(catalogue, "gwent") == ["Male"]
    assert catalogue.read("kent", JULY) == catalogue.read("surrey", JULY) == b"[]"
    catalogue.close()


def test_the_later_path_is_served_and_zips_count_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    member = "2023-07/2023-07-gwent-stop-and-search.csv"
    first, second = tmp_path / "2023-08.zip", tmp_path / "2023-09.zip"
    write_zip(first, {member: make_csv([make_api_record(gender="Male")])})
    write_zip(second, {member: make_csv([make_api_record(gender="Female")])})
    assert genders(Catalogue.open([first, second]), "gwent") == ["Female"]
    assert genders(Catalogue.open([second, first]), "gwent") == ["Male"]
    # Whatever order the file system gives.
    monkeypatch.setattr(Path, "rglob", lambda *_: iter([second, first]))
    assert genders(Catalogue.open([tmp_path]), "gwent") == ["Female"]


def test_what_is_not_there_or_holds_nothing_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BadPath, match=r"nowhere\.zip is not there"):
        Catalogue.open([tmp_path / "nowhere.zip"])
    with pytest.raises(BadPath, match="No stops were found"):
        Catalogue.open([tmp_path])
    (tmp_path / "2023-07.zip").write_bytes(b"not a zip")
    with pytest.raises(BadPath, match=r"2023-07\.zip cannot be read as a zip"):
        Catalogue.open([tmp_path])


def test_opening_reads_no_member(tmp_path: Path) -> None:
    """
    An archive of 1.7 GB must not be read to be listed: a member whose bytes are damaged is listed all the same.
    """
    path = tmp_path / "2023-07.zip"
    body = make_csv([make_api_record()])
    write_zip(path, {"2023-07/2023-07-gwent-stop-and-search.csv": body})
    path.write_bytes(path.read_bytes().replace(body[:40], b"?" * 40))
    catalogue = Catalogue.open([path])
    assert catalogue.keys == {("gwent", JULY)}
    with pytest.raises(zipfile.BadZipFile):
        catalogue.read("gwent", JULY)
