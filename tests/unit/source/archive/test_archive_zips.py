"""
Zips: what comes out of an honest one, and that what can't be trusted is refused by name while the rest goes on.
"""

from __future__ import annotations

import random
import stat
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from stopsearch.domain.errors import ArchiveRefused, MemberRefused
from stopsearch.domain.months import Month
from stopsearch.domain.states import Shape, Source
from stopsearch.source.archive import byte_ranges, zip_directory
from stopsearch.source.archive.editions import Archive
from stopsearch.source.archive.refusals import RefusedMember

pytestmark = pytest.mark.unit

DURHAM = "2020-01/2020-01-durham-stop-and-search.csv"
GOOD = "2020-02/2020-02-devon-and-cornwall-stop-and-search.csv"
BODY = b"Type,Date\r\nPerson search,2020-01-01T00:00:00+00:00\r\n" * 40

MakeZip = Callable[..., Path]
OpenOne = Callable[..., Archive]


def reasons(archive: Archive) -> dict[str, str]:
    """
    Give why each member was refused, by its name.
    """
    found = {}
    for refusal in archive.refusals:
        assert isinstance(refusal, RefusedMember)
        found[refusal.member] = refusal.reason
    return found


def assert_only_good_is_left(archive: Archive) -> None:
    assert [member.name for member in archive.members] == [GOOD]
    assert archive.read(archive.members[0]).body == BODY


def refused_on_reading(archive: Archive, name: str = DURHAM) -> str:
    """
    Read the member, and then another: give why the first was refused.
    """
    by_name = {member.name: member for member in archive.members}
    with pytest.raises(MemberRefused) as caught:
        archive.read(by_name[name])
    assert isinstance(caught.value, RefusedMember)
    assert caught.value.member == name
    assert archive.read(by_name[GOOD]).body == BODY
    return caught.value.reason


def patch_entry(path: Path, member: str, **fields: int) -> None:
    """
    Change what a zip says of a member, in the directory and in the member's own header.
    """
    where = {"flags": (8, 6, "<H"), "method": (10, 8, "<H"), "crc": (16, 14, "<L"), "packed": (20, 18, "<L")}
    where["size"] = (24, 22, "<L")
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        local = archive.getinfo(member).header_offset
        start_of_directory = archive.start_dir
    central = data.index(member.encode(), start_of_directory) - 46
    for field, value in fields.items():
        in_central, in_local, form = where[field]
        struct.pack_into(form, data, central + in_central, value)
        struct.pack_into(form, data, local + in_local, value)
    path.write_bytes(data)


def test_gives_stop_members_by_month_and_force_with_their_bytes_untouched(
    make_zip: MakeZip, opened_one: OpenOne
) -> None:
    members = {
        GOOD: b"LF\n",
        "2020-01/2020-01-essex-stop-and-search.csv": b"CRLF\r\n",
        DURHAM: b"a\r\nb\n",
        "2020-01/2020-01-durham-street.csv": b"street",
        "2020-01/2020-01-durham-outcomes.csv": b"outcomes",
        "2020-01/": b"",
        "2020-01/2020-01-northern-ireland-street.csv": b"street",
    }
    with opened_one(make_zip(members)) as archive:
        published = [archive.read(member) for member in archive.members]

    assert archive.refusals == ()
    assert [(one.force, str(one.month)) for one in published] == [
        ("durham", "2020-01"),
        ("essex", "2020-01"),
        ("devon-and-cornwall", "2020-02"),
    ]
    assert [one.body for one in published] == [b"a\r\nb\n", b"CRLF\r\n", b"LF\n"]
    first = published[0]
    assert (first.shape, first.source) == (Shape.CSV, Source.ARCHIVE)
    assert first.origin == f"2020-02.zip!{DURHAM}"
    assert first.fetched_at == datetime(2024, 6, 15, 12, tzinfo=UTC)
    assert first.published_at == datetime(2020, 2, 29, 23, 59, 59, tzinfo=UTC)


def test_reads_stored_members_too(make_zip: MakeZip, opened_one: OpenOne) -> None:
    assert_only_good_is_left(opened_one(make_zip({GOOD: BODY}, method=zipfile.ZIP_STORED)))


def test_reads_again_after_it_was_closed(make_zip: MakeZip, opened_one: OpenOne) -> None:
    archive = opened_one(make_zip({GOOD: BODY}))
    with archive:
        archive.read(archive.members[0])

    assert_only_good_is_left(archive)


def test_opening_reads_no_member(make_zip: MakeZip, opened: Callable[..., Any], monkeypatch: Any) -> None:
    """
    Sixty zips are opened by their directories alone, and none is left open.
    """
    noise = random.Random(1).randbytes(300_000)
    paths = [make_zip({GOOD: noise}, name=f"custom-{n}.zip") for n in range(60)]
    counted = []
    read_at = byte_ranges.LocalFile.read_at

    def counting(self: Any, offset: int, length: int) -> bytes:
        piece = read_at(self, offset, length)
        counted.append(len(piece))
        return piece

    monkeypatch.setattr(byte_ranges.LocalFile, "read_at", counting)
    archives = opened(paths[0].parent)

    assert len(archives) == 60
    # The end record is looked for in the last 64 kB where it is not the very last thing; here it is.
    assert sum(counted) < 60 * 1000


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../2020-01-durham-stop-and-search.csv", "climbs"),
        ("/2020-01/2020-01-durham-stop-and-search.csv", "absolute"),
        ("C:/2020-01/2020-01-durham-stop-and-search.csv", "absolute"),
        ("2020-01\\2020-01-durham-stop-and-search.csv", "backslash"),
        ("2020-02/2020-01-durham-stop-and-search.csv", "lies in the folder"),
        ("2020-01/2020-01-durham-stop-and-search.txt", "not named"),
        ("2099-01/2099-01-durham-stop-and-search.csv", "future"),
    ],
)
def test_refuses_a_wrong_name_and_goes_on(make_zip: MakeZip, opened_one: OpenOne, name: str, reason: str) -> None:
    archive = opened_one(make_zip({name: BODY, GOOD: BODY}, name="custom.zip"))

    assert reason in reasons(archive)[name]
    assert_only_good_is_left(archive)
    assert archive.published_at == Month(2020, 2).end


def test_refuses_an_empty_member(make_zip: MakeZip, opened_one: OpenOne) -> None:
    archive = opened_one(make_zip({DURHAM: b"", GOOD: BODY}))

    assert "empty" in reasons(archive)[DURHAM]
    assert_only_good_is_left(archive)


def test_refuses_a_symbolic_link(tmp_path: Path, opened_one: OpenOne) -> None:
    path = tmp_path / "2020-02.zip"
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo(DURHAM)
        link.create_system = 3
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr(GOOD, BODY)
    opened = opened_one(path)

    assert "symbolic link" in reasons(opened)[DURHAM]
    assert_only_good_is_left(opened)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_refuses_a_name_that_occurs_twice(tmp_path: Path, opened_one: OpenOne) -> None:
    path = tmp_path / "2020-02.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(DURHAM, BODY)
        archive.writestr(GOOD, BODY)
        archive.writestr(DURHAM, BODY + BODY)
    opened = opened_one(path)

    assert "more than once" in reasons(opened)[DURHAM]
    assert len(opened.refusals) == 1
    assert_only_good_is_left(opened)


def test_refuses_two_members_of_one_force_month(make_zip: MakeZip, opened_one: OpenOne) -> None:
    flat = DURHAM.split("/")[1]
    archive = opened_one(make_zip({DURHAM: BODY, flat: BODY, GOOD: BODY}))

    assert set(reasons(archive)) == {DURHAM, flat}
    assert_only_good_is_left(archive)


def test_refuses_an_encrypted_member(make_zip: MakeZip, opened_one: OpenOne) -> None:
    path = make_zip({DURHAM: BODY, GOOD: BODY})
    patch_entry(path, DURHAM, flags=1)
    archive = opened_one(path)

    assert "encrypted" in reasons(archive)[DURHAM]
    assert_only_good_is_left(archive)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, 9, 99])
def test_refuses_another_packing(make_zip: MakeZip, opened_one: OpenOne, method: int) -> None:
    path = make_zip({DURHAM: BODY, GOOD: BODY})
    patch_entry(path, DURHAM, method=method)
    archive = opened_one(path)

    assert f"method {method}" in reasons(archive)[DURHAM]
    assert_only_good_is_left(archive)


def test_refuses_a_size_over_the_limit(make_zip: MakeZip, opened_one: OpenOne) -> None:
    archive = opened_one(make_zip({DURHAM: BODY * 2, GOOD: BODY}), member_max_bytes=len(BODY))

    assert "declares" in reasons(archive)[DURHAM]
    assert_only_good_is_left(archive)


def test_refuses_an_honest_zip_bomb(make_zip: MakeZip, opened_one: OpenOne) -> None:
    archive = opened_one(make_zip({DURHAM: bytes(8_000_000), GOOD: BODY}))

    assert "zip bomb" in reasons(archive)[DURHAM]
    assert_only_good_is_left(archive)


def test_refuses_a_lying_zip_bomb_without_unpacking_it(make_zip: MakeZip, opened_one: OpenOne) -> None:
    """
    Ten megabytes that declare to be a hundred bytes: the checksum of the first hundred is right.
    """
    path = make_zip({DURHAM: bytes(10_000_000), GOOD: BODY})
    patch_entry(path, DURHAM, size=100, crc=zlib.crc32(bytes(100)))
    archive = opened_one(path)
    tracemalloc.start()
    try:
        assert "more than the 100 bytes" in refused_on_reading(archive)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_refuses_a_member_that_is_shorter_than_declared(make_zip: MakeZip, opened_one: OpenOne) -> None:
    path = make_zip({DURHAM: BODY, GOOD: BODY})
    patch_entry(path, DURHAM, size=len(BODY) + 1)

    assert "are declared" in refused_on_reading(opened_one(path))


def test_refuses_a_wrong_checksum(make_zip: MakeZip, opened_one: OpenOne) -> None:
    path = make_zip({DURHAM: BODY, GOOD: BODY}, method=zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[data.index(BODY) + 7] ^= 1
    path.write_bytes(data)

    assert "checksum" in refused_on_reading(opened_one(path))


def test_refuses_packed_bytes_that_are_no_deflate(make_zip: MakeZip, opened_one: OpenOne) -> None:
    path = make_zip({DURHAM: BODY, GOOD: BODY})
    data = bytearray(path.read_bytes())
    start = data.index(DURHAM.encode()) + len(DURHAM)
    data[start : start + 8] = b"\xff" * 8
    path.write_bytes(data)

    assert "damaged" in refused_on_reading(opened_one(path))


def test_refuses_a_member_with_another_name_in_its_own_header(make_zip: MakeZip, opened_one: OpenOne) -> None:
    path = make_zip({DURHAM: BODY, GOOD: BODY})
    path.write_bytes(path.read_bytes().replace(b"2020-01-durham", b"2020-01-dorset", 1))

    assert "another name" in refused_on_reading(opened_one(path))


def test_refuses_members_that_share_their_bytes(make_zip: MakeZip, opened_one: OpenOne) -> None:
    """
    The trick of the most effective bombs: many entries over one packed kernel.
    """
    path = make_zip({DURHAM: BODY, "2020-01/2020-01-dorset-stop-and-search.csv": BODY, GOOD: BODY})
    with zipfile.ZipFile(path) as archive:
        first, second = archive.infolist()[:2]
        start_of_directory = archive.start_dir
    data = bytearray(path.read_bytes())
    struct.pack_into("<L", data, data.index(second.filename.encode(), start_of_directory) - 46 + 42, 0)
    path.write_bytes(data)
    assert first.header_offset == 0
    archive_opened = opened_one(path)

    assert set(reasons(archive_opened)) == {first.filename, second.filename}
    assert_only_good_is_left(archive_opened)


def test_refuses_too_many_members(make_zip: MakeZip, opened_one: OpenOne, monkeypatch: Any) -> None:
    monkeypatch.setattr(zip_directory, "MAX_MEMBERS", 3)
    path = make_zip({f"2020-01/2020-01-{name}-street.csv": b"x" for name in ("a", "b", "c", "d")})

    with pytest.raises(ArchiveRefused, match="4 members"):
        opened_one(path)


def test_refuses_a_directory_of_absurd_size(make_zip: MakeZip, opened_one: OpenOne, monkeypatch: Any) -> None:
    monkeypatch.setattr(byte_ranges, "MAX_DIRECTORY_BYTES", 70_000)
    path = make_zip({f"2020-01/2020-01-{n:0200d}-street.csv": b"x" for n in range(400)})

    with pytest.raises(ArchiveRefused, match="directory of"):
        opened_one(path)


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "no zip"), (b"not a zip at all", "no zip"), (b"<html>Not Found</html>" * 9000, "no zip")],
)
def test_refuses_what_is_no_zip(tmp_path: Path, opened_one: OpenOne, data: bytes, reason: str) -> None:
    path = tmp_path / "2020-02.zip"
    path.write_bytes(data)

    with pytest.raises(ArchiveRefused, match=reason) as caught:
        opened_one(path)
    assert "Download it again" in caught.value.remedy


def test_refuses_a_zip_that_is_cut_off(make_zip: MakeZip, opened_one: OpenOne) -> None:
    path = make_zip({DURHAM: BODY, GOOD: BODY})
    path.write_bytes(path.read_bytes()[:-30])

    with pytest.raises(ArchiveRefused, match="cut off"):
        opened_one(path)


@pytest.mark.parametrize("members", [{}, {"2020-01/2020-01-durham-street.csv": b"x"}, {"photo.jpg": b"x"}])
def test_refuses_a_zip_without_stops(make_zip: MakeZip, opened_one: OpenOne, members: dict[str, bytes]) -> None:
    with pytest.raises(ArchiveRefused, match=r"2020-02\.zip is refused: it holds no stop-and-search file"):
        opened_one(make_zip(members))


def test_refuses_a_zip_that_changed_after_it_was_opened(make_zip: MakeZip, opened_one: OpenOne) -> None:
    archive = opened_one(make_zip({GOOD: BODY}))
    make_zip({GOOD: BODY + BODY})

    with pytest.raises(ArchiveRefused, match="changed"):
        archive.read(archive.members[0])


def test_any_damage_is_refused_or_harmless(make_zip: MakeZip, opened: Callable[..., Any]) -> None:
    """
    Bytes changed anywhere: what is read at all is what was written, under the name that it was written under.
    """
    bodies = {DURHAM: BODY, GOOD: random.Random(2).randbytes(400)}
    whole = make_zip(bodies).read_bytes()
    chance = random.Random(3)
    read = refused = 0
    for turn in range(600):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        if turn % 7 == 0:
            del data[chance.randrange(len(data)) :]
        path = make_zip({}, name="2020-02.zip")
        path.write_bytes(data)
        try:
            (archive,) = opened(path)
            refused += len(archive.refusals)
            for member in archive.members:
                try:
                    assert archive.read(member).body == bodies[member.name]
                    read += 1
                except MemberRefused:
                    refused += 1
        except (ArchiveRefused, MemberRefused):
            refused += 1
    assert read > 100
    assert refused > 100
