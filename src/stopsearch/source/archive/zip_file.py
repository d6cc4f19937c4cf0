"""
The members of a zip, unpacked within bounds and checked against what the zip declares of them.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable

from stopsearch.source.archive.byte_ranges import ByteRanges
from stopsearch.source.archive.editions import Member
from stopsearch.source.archive.refusals import RefusedMember
from stopsearch.source.archive.zip_directory import LOCAL_HEADER_BYTES, Entry

# Signature; version, flags, method, time, date; CRC and two sizes; lengths of the name and of the extra field.
_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_SIGNATURE = b"PK\x03\x04"

# The local header's extra field may be longer than the directory's, which is the one that is known beforehand.
_EXTRA_ALLOWANCE = 256

_FETCH_AGAIN = "Download the archive again; if it stays so, the publisher's copy is damaged."


class ZipContents:
    """
    Reads members of one zip by their entries in its directory.
    """

    def __init__(self, source: ByteRanges, *, archive: str, entries: dict[str, Entry]) -> None:
        self._source = source
        self._archive = archive
        self._entries = entries

    def plan(self, members: Iterable[Member]) -> None:
        """
        Tell the source which members will be read, so that near ones can be had together.
        """
        spans = []
        for member in members:
            entry = self._entries[member.name]
            longest = LOCAL_HEADER_BYTES + len(entry.name) + _EXTRA_ALLOWANCE + entry.packed_bytes
            spans.append((entry.header_offset, min(entry.end_offset, entry.header_offset + longest)))
        self._source.plan(spans)

    def read(self, member: Member) -> bytes:
        """
        Give a member's bytes, unpacked and checked.

        What is declared of size and checksum is never trusted: unpacking stops at the declared size, and what does
        not end exactly there, with the declared checksum, is refused.

        Raises:
            RefusedMember: It is damaged, or is not what its entry declares.
        """
        entry = self._entries[member.name]
        packed = self._read_packed(entry)
        body = self._inflate(entry, packed) if entry.is_deflated else packed
        if len(body) != entry.size_bytes:
            raise self._refused(entry, f"holds {len(body):,} bytes where {entry.size_bytes:,} are declared")
        if zlib.crc32(body) != entry.crc:
            raise self._refused(entry, "is damaged: its checksum is wrong", _FETCH_AGAIN)
        return body

    def close(self) -> None:
        """
        Let go of the zip's file or connection.
        """
        self._source.close()

    def _read_packed(self, entry: Entry) -> bytes:
        header = self._source.read_at(entry.header_offset, LOCAL_HEADER_BYTES)
        if len(header) < LOCAL_HEADER_BYTES or not header.startswith(_SIGNATURE):
            raise self._refused(entry, "is damaged: its bytes don't start where the directory says", _FETCH_AGAIN)
        *_, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(header)
        start = entry.header_offset + LOCAL_HEADER_BYTES + name_bytes + extra_bytes
        if start + entry.packed_bytes > entry.end_offset:
            raise self._refused(entry, "is damaged: it reaches into the next member", _FETCH_AGAIN)
        name = self._source.read_at(entry.header_offset + LOCAL_HEADER_BYTES, name_bytes)
        if name != entry.name.encode():
            raise self._refused(entry, "goes by another name in the zip's directory than in its own header")
        packed = self._source.read_at(start, entry.packed_bytes)
        if len(packed) != entry.packed_bytes:
            raise self._refused(entry, "is cut off", _FETCH_AGAIN)
        return packed

    def _inflate(self, entry: Entry, packed: bytes) -> bytes:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            # One byte more than is declared tells whether it would have gone on.
            body = inflater.decompress(packed, entry.size_bytes + 1)
        except zlib.error as error:
            raise self._refused(entry, f"is damaged: it can't be unpacked ({error})", _FETCH_AGAIN) from error
        if len(body) > entry.size_bytes:
            raise self._refused(entry, f"unpacks to more than the {entry.size_bytes:,} bytes that it declares")
        if not inflater.eof or inflater.unused_data:
            raise self._refused(entry, "is damaged: its packed bytes don't end where it does", _FETCH_AGAIN)
        return body

    def _refused(self, entry: Entry, reason: str, remedy: str = "") -> RefusedMember:
        return RefusedMember(self._archive, entry.name, reason, remedy=remedy)
