"""
Folders, loose files, and the order in which snapshots come.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from stopsearch.domain.errors import ArchiveRefused, BadPath, MemberRefused
from stopsearch.domain.months import Month
from stopsearch.sample import sample_archives, sample_folder
from stopsearch.source.archive.editions import Archive, Archives
from stopsearch.source.archive.refusals import RefusedMember

pytestmark = pytest.mark.unit

DURHAM = "2020-01-durham-stop-and-search.csv"
ESSEX = "2020-02-essex-stop-and-search.csv"

Opened = Callable[..., Archives]
OpenOne = Callable[..., Archive]


def put(folder: Path, name: str, body: bytes = b"x\n") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    return path


def test_loose_files_of_a_folder_are_one_snapshot(tmp_path: Path, opened_one: OpenOne) -> None:
    put(tmp_path, f"loose/2020-01/{DURHAM}", b"a\r\n")
    put(tmp_path, f"loose/{ESSEX}", b"b\n")
    put(tmp_path, "loose/2020-03/2020-03-essex-street.csv")
    put(tmp_path, "loose/notes.txt")
    archive = opened_one(tmp_path / "loose")

    assert archive.name == "loose"
    assert archive.published_at == Month(2020, 3).end
    assert archive.refusals == ()
    assert [archive.read(member).body for member in archive.members] == [b"a\r\n", b"b\n"]
    assert archive.read(archive.members[0]).origin == f"loose!2020-01/{DURHAM}"


def test_files_given_one_by_one_are_the_same_snapshot_as_their_folder(tmp_path: Path, opened_one: OpenOne) -> None:
    first = put(tmp_path, f"loose/2020-01/{DURHAM}")
    second = put(tmp_path, f"loose/2020-02/{ESSEX}")
    whole = opened_one(tmp_path / "loose")
    listed = opened_one(first, second, first)

    assert (listed.name, listed.published_at, listed.members) == (whole.name, whole.published_at, whole.members)


def test_a_folder_of_zips_is_several_snapshots_in_order_of_publication(tmp_path: Path, opened: Opened) -> None:
    for name in ("b.zip", "2020-05.zip", "sub/2020-02.zip"):
        put(tmp_path, name)
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr(f"2020-01/{DURHAM}", b"x")
    archives = opened(tmp_path)

    assert [archive.name for archive in archives] == ["b.zip", "2020-02.zip", "2020-05.zip"]


def test_the_sample_is_two_editions_the_earlier_first(opened: Opened) -> None:
    archives = opened(*reversed(sample_archives()))

    assert [archive.name for archive in archives] == ["2020-02.zip", "2021-11.zip"]
    earlier, later = archives
    assert (len(earlier.members), len(later.members)) == (3, 220)
    restated = {(member.force, member.month) for member in earlier.members}
    assert restated <= {(member.force, member.month) for member in later.members}
    assert archives.refused == earlier.refusals == later.refusals == ()


def test_published_overrides_every_name(opened: Opened) -> None:
    at = datetime(2022, 1, 2, 3, 4, 5, tzinfo=UTC)
    archives = opened(sample_folder(), published=at)

    assert {archive.published_at for archive in archives} == {at}


def test_keeps_the_forces_and_months_asked_for(opened: Opened) -> None:
    archives = opened(sample_archives()[1], forces=["durham", "cumbria"], months=(Month(2019, 3), Month(2019, 4)))
    (archive,) = archives

    assert [(str(member.month), member.force) for member in archive.members] == [
        ("2019-03", "cumbria"),
        ("2019-03", "durham"),
        ("2019-04", "cumbria"),
        ("2019-04", "durham"),
    ]


def test_the_rank_does_not_depend_on_what_is_asked_for(tmp_path: Path, opened_one: OpenOne) -> None:
    put(tmp_path, f"loose/{DURHAM}")
    put(tmp_path, f"loose/{ESSEX}")
    archive = opened_one(tmp_path / "loose", forces=["durham"])

    assert [member.force for member in archive.members] == ["durham"]
    assert archive.published_at == Month(2020, 2).end


def test_one_bad_zip_harms_only_itself(tmp_path: Path, opened: Opened) -> None:
    put(tmp_path, "bad.zip", b"no zip")
    with zipfile.ZipFile(tmp_path / "good.zip", "w") as archive:
        archive.writestr(f"2020-01/{DURHAM}", b"x")
    archives = opened(tmp_path)

    assert [archive.name for archive in archives] == ["good.zip"]
    (refusal,) = archives.refused
    assert isinstance(refusal, ArchiveRefused)
    assert "bad.zip" in refusal.message


def test_refuses_wrong_and_empty_and_large_files_by_name(tmp_path: Path, opened_one: OpenOne) -> None:
    put(tmp_path, f"loose/{DURHAM}")
    put(tmp_path, "loose/table.csv")
    put(tmp_path, f"loose/{ESSEX}", b"")
    put(tmp_path, "loose/2020-01/2020-02-kent-stop-and-search.csv")
    put(tmp_path, "loose/2020-02-kent-stop-and-search.csv", b"x" * 101)
    archive = opened_one(tmp_path / "loose", member_max_bytes=100)

    assert [member.force for member in archive.members] == ["durham"]
    assert {refusal.member: refusal.reason.split()[0] for refusal in _members(archive.refusals)} == {
        "table.csv": "is",
        ESSEX: "is",
        "2020-01/2020-02-kent-stop-and-search.csv": "is",
        "2020-02-kent-stop-and-search.csv": "has",
    }


def test_refuses_two_files_of_one_force_month(tmp_path: Path, opened_one: OpenOne) -> None:
    put(tmp_path, f"loose/a/{DURHAM}")
    put(tmp_path, f"loose/b/{DURHAM}")
    put(tmp_path, f"loose/{ESSEX}")
    archive = opened_one(tmp_path / "loose")

    assert [member.force for member in archive.members] == ["essex"]
    assert {refusal.member for refusal in _members(archive.refusals)} == {f"a/{DURHAM}", f"b/{DURHAM}"}


def test_refuses_links_that_lead_out_and_follows_those_that_stay(tmp_path: Path, opened: Opened) -> None:
    outside = put(tmp_path, f"outside/2020-01/{DURHAM}")
    inside = put(tmp_path, "loose/kept/essex.bin")
    (tmp_path / "loose" / DURHAM).symlink_to(outside)
    (tmp_path / "loose" / "folder").symlink_to(outside.parent)
    (tmp_path / "loose" / ESSEX).symlink_to(inside)
    archives = opened(tmp_path / "loose")
    (archive,) = archives

    assert [member.force for member in archive.members] == ["essex"]
    assert {refusal.member for refusal in _members(archives.refused)} == {DURHAM, "folder"}


def test_refuses_a_pipe_without_waiting_for_it(tmp_path: Path, opened_one: OpenOne) -> None:
    put(tmp_path, f"loose/{ESSEX}")
    os.mkfifo(tmp_path / "loose" / DURHAM)
    archive = opened_one(tmp_path / "loose")

    assert [refusal.reason for refusal in _members(archive.refusals)] == ["is no regular file"]


def test_refuses_a_file_that_went_away_or_changed(tmp_path: Path, opened_one: OpenOne) -> None:
    gone = put(tmp_path, f"loose/{DURHAM}")
    changed = put(tmp_path, f"loose/{ESSEX}")
    archive = opened_one(tmp_path / "loose")
    gone.unlink()
    changed.write_bytes(b"longer than before")

    for member in archive.members:
        with pytest.raises(MemberRefused, match=member.name):
            archive.read(member)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_refuses_a_file_that_may_not_be_read(tmp_path: Path, opened_one: OpenOne) -> None:
    put(tmp_path, f"loose/{DURHAM}").chmod(0)
    archive = opened_one(tmp_path / "loose")

    with pytest.raises(MemberRefused, match="can't be read"):
        archive.read(archive.members[0])


@pytest.mark.parametrize("given", ["nowhere.zip", "", "ftp://example.org/a.zip", "a\0b", "x" * 5000])
def test_refuses_a_path_that_leads_nowhere(opened: Opened, given: str) -> None:
    with pytest.raises(BadPath):
        opened(sample_archives()[0], given)


def test_refuses_no_path_and_an_empty_folder_and_a_device(tmp_path: Path, opened: Opened) -> None:
    with pytest.raises(BadPath, match="No archive"):
        opened()
    with pytest.raises(BadPath, match="neither zips nor CSV"):
        opened(tmp_path)
    with pytest.raises(BadPath, match="neither a file nor a folder"):
        opened("/dev/null")


def test_every_real_archive_reads_whole(shared_data: Path, opened: Opened) -> None:
    archives = opened(shared_data / "archive")

    assert archives.refused == ()
    assert len(archives) > 60
    assert sum(len(archive.members) + len(archive.refusals) for archive in archives) == 1222
    for archive in list(archives)[::8]:
        with archive:
            for member in archive.members:
                assert len(archive.read(member).body) == member.size_bytes


def _members(refusals: Any) -> list[RefusedMember]:
    assert all(isinstance(refusal, RefusedMember) for refusal in refusals)
    return list(refusals)
