"""
Bytes that can be read from any place: a file on disk, or one on a server.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Protocol

from stopsearch.source.archive.refusals import refused_archive

_CHANGED_REMEDY = "Leave it alone while it is being read, and run the same command again."

# A directory of 4,485 members, the publisher's usual, takes half a megabyte.
MAX_DIRECTORY_BYTES = 24 * 1024 * 1024


class ByteRanges(Protocol):
    """
    A file of known size that is read piece by piece.
    """

    @property
    def size_bytes(self) -> int:
        """
        Give the size of the whole file.
        """

    def read_at(self, offset: int, length: int) -> bytes:
        """
        Give the bytes from an offset on; fewer than asked for only where the file ends.
        """

    def plan(self, spans: Sequence[tuple[int, int]]) -> None:
        """
        Tell which pieces, from and up to an offset, will be asked for, so that near ones can be had together.
        """

    def close(self) -> None:
        """
        Let go of the file or connection. A later read opens it again.
        """


class LocalFile:
    """
    A file on disk, opened when it is read, and told apart from another that took its place.
    """

    def __init__(self, path: Path, *, name: str) -> None:
        self._path = path
        self._name = name
        self._file: IO[bytes] | None = None
        self._seen: os.stat_result | None = None

    @property
    def size_bytes(self) -> int:
        """
        Give the size of the whole file.
        """
        return os.fstat(self._open().fileno()).st_size

    def read_at(self, offset: int, length: int) -> bytes:
        """
        Give the bytes from an offset on; fewer than asked for only where the file ends.
        """
        file = self._open()
        file.seek(offset)
        return file.read(length)

    def plan(self, spans: Sequence[tuple[int, int]]) -> None:
        """
        Do nothing: the operating system reads ahead by itself.
        """

    def close(self) -> None:
        """
        Close the file. A later read opens it again.
        """
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> IO[bytes]:
        if self._file is None:
            try:
                self._file = self._path.open("rb")
            except OSError as error:
                raise refused_archive(
                    self._name,
                    f"can't be opened ({error.strerror})",
                    remedy="Look at its path and permissions.",
                ) from error
            seen = os.fstat(self._file.fileno())
            if self._seen is not None and _stamp(seen) != _stamp(self._seen):
                self.close()
                raise refused_archive(self._name, "changed while it was being read", remedy=_CHANGED_REMEDY)
            self._seen = seen
        return self._file


class DownloadedFile:
    """
    A file that came whole from a server, in a temporary file without a name.
    """

    def __init__(self, file: IO[bytes], *, size_bytes: int) -> None:
        self._file = file
        self._size_bytes = size_bytes

    @property
    def size_bytes(self) -> int:
        """
        Give the size of the whole file.
        """
        return self._size_bytes

    def read_at(self, offset: int, length: int) -> bytes:
        """
        Give the bytes from an offset on; fewer than asked for only where the file ends.
        """
        self._file.seek(offset)
        return self._file.read(length)

    def plan(self, spans: Sequence[tuple[int, int]]) -> None:
        """
        Do nothing: it is all here.
        """

    def close(self) -> None:
        """
        Do nothing: a later read could not open it again. Its space is freed with the last reference to it.
        """


class AsFile(io.RawIOBase):
    """
    Byte ranges as the file that the standard library's `zipfile` wants, for reading a zip's directory and no more.
    """

    def __init__(self, source: ByteRanges, *, name: str) -> None:
        super().__init__()
        self._source = source
        self._name = name
        self._at = 0

    def seekable(self) -> bool:
        """
        Say yes.
        """
        return True

    def readable(self) -> bool:
        """
        Say yes.
        """
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """
        Go to an offset.
        """
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._source.size_bytes}[whence]
        if base + offset < 0:
            raise OSError("seek before the start")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        """
        Give the offset.
        """
        return self._at

    def read(self, length: int | None = -1) -> bytes:
        """
        Give the bytes from here on.

        Raises:
            ArchiveRefused: More is wanted than any directory needs: its end record lies about it.
        """
        left = max(0, self._source.size_bytes - self._at)
        wanted = left if length is None or length < 0 else min(length, left)
        if wanted > MAX_DIRECTORY_BYTES:
            raise refused_archive(
                self._name,
                f"has a directory of {wanted} bytes, far more than the publisher's archives have",
                remedy="Download it again from https://data.police.uk/data/archive/.",
            )
        piece = self._source.read_at(self._at, wanted)
        self._at += len(piece)
        return piece


def join_spans(spans: Sequence[tuple[int, int]], *, gap_bytes: int, group_bytes: int) -> list[tuple[int, int]]:
    """
    Join spans that lie near one another.

    Args:
        spans: From and up to an offset; in any order.
        gap_bytes: The widest gap that is joined over.
        group_bytes: The size that no join may exceed. A span that is larger by itself stays.
    """
    groups: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if groups and start - groups[-1][1] <= gap_bytes and end - groups[-1][0] <= group_bytes:
            groups[-1] = (groups[-1][0], max(end, groups[-1][1]))
        else:
            groups.append((start, end))
    return groups


def _stamp(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
