"""
Where an export goes: a file, a stream or standard output, and what is told when it can't be written.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from stopsearch.domain.errors import BadPath


class CountedSink(io.RawIOBase):
    """
    Passes bytes on, and counts and digests them on their way.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.count = 0
        self.digest = hashlib.sha256()
        self.failure: OSError | None = None

    def writable(self) -> bool:
        """
        Say yes.
        """
        return True

    def write(self, block: bytes | bytearray | memoryview, /) -> int:  # type: ignore[override]  # we need no more
        """
        Pass a block on, whole; what a failed write raises is kept as `failure`.
        """
        try:
            self._stream.write(block)
        except OSError as error:
            self.failure = error
            raise
        self.digest.update(block)
        self.count += len(block)
        return len(block)


@contextmanager
def opened_destination(destination: str | Path | BinaryIO) -> Iterator[BinaryIO]:
    """
    Give what an export is written to: a file, which appears whole or not at all, "-" for standard output, or a stream.

    Raises:
        BadPath: It can't be written, from the start or to its end.
        BrokenPipeError: Whoever read it stopped reading.
    """
    try:
        if isinstance(destination, str) and destination == "-":
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        elif isinstance(destination, str | Path):
            with _whole_file(Path(destination)) as file:
                yield file
        else:
            yield destination
            destination.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise BadPath(
            f"The export could not be written to its end: {error.strerror or error}.",
            remedy="Make room, or write it elsewhere. A file that was there before is as it was.",
        ) from error


def write_beside(path: Path, content: bytes) -> None:
    """
    Write a small file, which appears whole or not at all.

    Raises:
        BadPath: It can't be written.
    """
    with opened_destination(path) as file:
        file.write(content)


@contextmanager
def _whole_file(path: Path) -> Iterator[BinaryIO]:
    """
    Write beside the file, then put it in its place: it is there whole, or as it was before.
    """
    try:
        mode = path.stat().st_mode if path.exists() else stat.S_IFREG
        if stat.S_ISDIR(mode):
            raise BadPath(f"{path} is a folder.", remedy="Name the file to write, say stops.csv in it.")
        # A pipe or a device is written to as it is: there is nothing to put in its place.
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial") if stat.S_ISREG(mode) else None
        file = (partial or path).open("wb")
    except OSError as error:
        raise BadPath(
            f"{path} can't be written: {error.strerror or error}.", remedy="Name a file in a folder that you can write."
        ) from error
    if partial is None:
        with file:
            yield file
        return
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:  # whatever ended it, Ctrl-C included: half an export is none
        partial.unlink(missing_ok=True)
        raise
