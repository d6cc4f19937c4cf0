"""
A zip's directory: which members are stop-and-search files, and which can't be trusted by their entry alone.
"""

from __future__ import annotations

import stat
import struct
import zipfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from stopsearch.domain.errors import ArchiveRefused
from stopsearch.domain.months import Month
from stopsearch.source.archive.byte_ranges import AsFile, ByteRanges
from stopsearch.source.archive.editions import Member
from stopsearch.source.archive.names import MemberName, check_path, read_member_name
from stopsearch.source.archive.refusals import RefusedMember, refused_archive

# The publisher's largest archive has some 10,000 members.
MAX_MEMBERS = 200_000

# Real members unpack to 8 to 29 times their packed size (1,225 files measured); a bomb to about 1,000 times.
MAX_RATIO = 300
_RATIO_MATTERS_FROM_BYTES = 4 * 1024 * 1024

LOCAL_HEADER_BYTES = 30
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_FETCH_AGAIN = "Download it again from https://data.police.uk/data/archive/."


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """
    What the directory says of one member's bytes.
    """

    name: str
    header_offset: int
    end_offset: int  # by which its bytes end at the latest
    packed_bytes: int
    size_bytes: int
    crc: int
    is_deflated: bool


@dataclass(frozen=True, kw_only=True)
class Directory:
    """
    The stop-and-search members of a zip, and what was refused of it.
    """

    members: tuple[Member, ...]
    entries: dict[str, Entry]  # by the member's name
    refusals: tuple[RefusedMember, ...]
    newest: Month | None  # of all the publisher's files in it, those without stops included


def read_directory(source: ByteRanges, archive: str, *, newest: Month, member_max_bytes: int) -> Directory:
    """
    Read a zip's directory, and nothing else of it.

    Args:
        source: The zip.
        archive: Its name, for the refusals.
        newest: The month that it now is.
        member_max_bytes: Unpacked size above which a member is refused.

    Raises:
        ArchiveRefused: It is no zip, is cut off, or has more members than any archive.
    """
    infos, start_of_directory = _list_entries(source, archive)
    repeated = {name for name, count in Counter(info.orig_filename for info in infos).items() if count > 1}
    ends = _ends_by_offset(infos, start_of_directory)
    refusals: list[RefusedMember] = []
    found: dict[tuple[str, Month], list[tuple[Member, Entry]]] = {}
    seen_months: set[Month] = set()
    refused_names: set[str] = set()
    for info in infos:
        name = info.orig_filename
        try:
            told = _read_name(archive, info, newest)
            if told is None:
                continue
            seen_months.add(told.month)
            if told.holds_stops:
                if name in repeated:
                    raise RefusedMember(archive, name, "occurs more than once, so which one is meant can't be told")
                entry = _check_entry(archive, info, ends, member_max_bytes)
                member = Member(force=told.force, month=told.month, name=name, size_bytes=entry.size_bytes)
                found.setdefault((told.force, told.month), []).append((member, entry))
        except RefusedMember as refusal:
            if name not in refused_names:
                refused_names.add(name)
                refusals.append(refusal)
    members, ambiguous = part_ambiguous(archive, (pair[0] for pairs in found.values() for pair in pairs))
    entries = {entry.name: entry for pairs in found.values() for _, entry in pairs}
    return Directory(
        members=members,
        entries={member.name: entries[member.name] for member in members},
        refusals=(*refusals, *ambiguous),
        newest=max(seen_months, default=None),
    )


def part_ambiguous(archive: str, members: Iterable[Member]) -> tuple[tuple[Member, ...], list[RefusedMember]]:
    """
    Part the members that are alone in giving their force-month from those that are not: a snapshot has one edition.
    """
    by_force_month: dict[tuple[str, Month], list[Member]] = {}
    for member in members:
        by_force_month.setdefault((member.force, member.month), []).append(member)
    refusals = [
        RefusedMember(archive, member.name, f"gives {member.force} {member.month}, as another member does too")
        for rivals in by_force_month.values()
        if len(rivals) > 1
        for member in rivals
    ]
    return tuple(rivals[0] for rivals in by_force_month.values() if len(rivals) == 1), refusals


def _list_entries(source: ByteRanges, archive: str) -> tuple[list[zipfile.ZipInfo], int]:
    try:
        with zipfile.ZipFile(AsFile(source, name=archive)) as opened:
            infos, start_of_directory = opened.infolist(), opened.start_dir
    except ArchiveRefused:
        raise
    # zipfile answers a damaged directory with any of these, depending on where the damage lies.
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        UnicodeDecodeError,
        ValueError,
        OverflowError,
        EOFError,
        OSError,
        struct.error,
    ) as error:
        if source.read_at(0, 4) == b"PK\x03\x04":
            reason = f"is cut off or damaged: its directory can't be read ({error})"
        else:
            reason = "is no zip file"
        raise refused_archive(archive, reason, remedy=_FETCH_AGAIN) from error
    if len(infos) > MAX_MEMBERS:
        raise refused_archive(
            archive, f"has {len(infos)} members, more than any archive of the publisher", remedy=_FETCH_AGAIN
        )
    return infos, start_of_directory


def _read_name(archive: str, info: zipfile.ZipInfo, newest: Month) -> MemberName | None:
    name = info.orig_filename
    check_path(archive, name)
    kind = stat.S_IFMT(info.external_attr >> 16)
    if stat.S_ISLNK(kind):
        raise RefusedMember(archive, name, "is a symbolic link")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise RefusedMember(archive, name, "is neither a file nor a folder")
    if name.endswith("/"):
        return None
    return read_member_name(archive, name, newest=newest)


def _check_entry(archive: str, info: zipfile.ZipInfo, ends: dict[int, int], member_max_bytes: int) -> Entry:
    name = info.orig_filename
    if info.flag_bits & _ENCRYPTED:
        raise RefusedMember(archive, name, "is encrypted", remedy="Give an archive without a password.")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise RefusedMember(
            archive,
            name,
            f"is packed by method {info.compress_type}, which the publisher never uses",
            remedy="Pack it again with DEFLATE, as every zip program does unless told otherwise.",
        )
    if info.file_size == 0:
        raise RefusedMember(archive, name, "is empty (0 bytes), where the publisher writes at least the header")
    if max(info.file_size, info.compress_size) > member_max_bytes:
        raise RefusedMember(
            archive,
            name,
            f"declares {max(info.file_size, info.compress_size):,} bytes; at most {member_max_bytes:,} are unpacked",
            remedy="If it is honest, raise STOPSEARCH_ARCHIVE_MEMBER_MAX_MB.",
        )
    if info.file_size > max(_RATIO_MATTERS_FROM_BYTES, info.compress_size * MAX_RATIO):
        raise RefusedMember(
            archive,
            name,
            f"would unpack {info.compress_size:,} bytes to {info.file_size:,}, which no real file does: a zip bomb",
        )
    end = ends.get(info.header_offset, -1)
    if info.header_offset < 0 or info.header_offset + _least_extent(info) > end:
        raise RefusedMember(archive, name, "overlaps another member, or reaches into the directory")
    return Entry(
        name=name,
        header_offset=info.header_offset,
        end_offset=end,
        packed_bytes=info.compress_size,
        size_bytes=info.file_size,
        crc=info.CRC,
        is_deflated=info.compress_type == zipfile.ZIP_DEFLATED,
    )


def _ends_by_offset(infos: list[zipfile.ZipInfo], start_of_directory: int) -> dict[int, int]:
    """
    Give, by where each member starts, where the next thing starts. Two that start together are given no end.
    """
    starts = Counter(info.header_offset for info in infos)
    ends = dict(pairwise([*sorted(starts), start_of_directory]))
    return {start: end for start, end in ends.items() if starts[start] == 1}


def _least_extent(info: zipfile.ZipInfo) -> int:
    # A name is at least as many bytes long as it has characters.
    return LOCAL_HEADER_BYTES + len(info.orig_filename) + info.compress_size
