"""
Finished exports, kept in a folder of the data folder: what was written once is served as a file from then on.

A file is known by its snapshot, format, query and the software that wrote it, all of which its name is made from. It is
written beside and renamed when it is whole, so that two who build the same at once both end well, and a partial file is
never found. Manifests outlast their files, for they are small and took as long to make.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

from stopsearch.domain.errors import ConfigError
from stopsearch.flows.asked_export import AskedExport
from stopsearch.flows.export_destination import CountedSink
from stopsearch.flows.export_manifest import MANIFEST_SUFFIX, encode_manifest, manifest_of, software_of
from stopsearch.flows.write_export import Read, WrittenExport, write_export

FOLDER = "exports"

_PARTIAL_SUFFIX = ".partial"

# A file that was just asked for is about to be opened, by this process or another one.
_SPARED_S = 60.0
# A partial file that nobody has written to for so long is what a killed process left.
_ABANDONED_S = 3600.0
_MOST_MANIFESTS = 2000
# However small they are: each is looked at by whoever makes room or lists them.
_MOST_FILES = 1000


@dataclass(frozen=True, kw_only=True)
class ReadyExport:
    """
    One finished export: its file, and what its manifest says.
    """

    path: Path
    manifest: dict[str, Any] = field(repr=False)


class ReadyExports:
    """
    The finished exports of a data folder. Several threads and processes may share it.
    """

    def __init__(self, data_dir: Path, *, cache_mb: int) -> None:
        self._folder = data_dir / FOLDER
        self._most_bytes = cache_mb * 1024 * 1024

    def find(self, asked: AskedExport) -> ReadyExport | None:
        """
        Give the file of an export that was finished before, and count this as its last use.
        """
        path = self._place(asked)
        manifest = self.find_manifest(asked)
        if manifest is None:
            return None
        try:
            os.utime(path)
        except OSError:
            return None
        return ReadyExport(path=path, manifest=manifest)

    def find_manifest(self, asked: AskedExport) -> dict[str, Any] | None:
        """
        Give the manifest of an export that was finished before, whether its file is still there or not.
        """
        return _read_manifest(_manifest_of(self._place(asked)))

    def build(self, asked: AskedExport, read: Read) -> ReadyExport:
        """
        Write an export into the folder, and give it; what was used longest ago makes room for it.

        Args:
            read: Reads a chunk, as `ExportReader` does with a connection.

        Raises:
            ConfigError: The folder can't be written.
            StoreError: The rows of a force-month are not as many as its revision says.
        """
        path = self._place(asked)
        self._make_folder()
        self.make_room()
        with self._whole_file(path) as file:
            written = write_export(asked, read=read, sink=CountedSink(file))
            # First the manifest: a file is never there without it.
            manifest = self.keep_manifest(asked, written)
        self.make_room()
        return ReadyExport(path=path, manifest=manifest)

    def keep_manifest(self, asked: AskedExport, written: WrittenExport) -> dict[str, Any]:
        """
        Keep and give the manifest of an export that was written whole, into the folder or elsewhere.
        """
        manifest = manifest_of(asked, written)
        self._make_folder()
        with self._whole_file(_manifest_of(self._place(asked))) as file:
            file.write(encode_manifest(manifest))
        self._drop_manifests()
        return manifest

    def list_ready(self) -> list[ReadyExport]:
        """
        List the finished exports whose files are there, the last used first.
        """
        found = []
        for path, _, used_at in self._files():
            manifest = _read_manifest(_manifest_of(path))
            if manifest is not None:
                found.append((used_at, ReadyExport(path=path, manifest=manifest)))
        return [ready for _, ready in sorted(found, key=lambda each: (-each[0], each[1].path.name))]

    def make_room(self) -> None:
        """
        Remove the files that were used longest ago until the rest takes no more than it may, and what was left behind.

        A file of the last minute is spared; whoever is reading a file that is removed reads it to its end.
        """
        now = time.time()
        files = sorted(self._files(), key=lambda each: each[2])
        taken = sum(size for _, size, _ in files)
        left = len(files)
        for path, size, used_at in files:
            if taken <= self._most_bytes and left <= _MOST_FILES:
                break
            if now - used_at >= _SPARED_S:
                path.unlink(missing_ok=True)
                taken -= size
                left -= 1
        for path in self._folder.glob(f"*{_PARTIAL_SUFFIX}"):
            with suppress(OSError):
                if now - path.stat().st_mtime >= _ABANDONED_S:
                    path.unlink()
        self._drop_manifests()

    def _drop_manifests(self) -> None:
        """
        Remove the oldest manifests of files that are not there: an export that was streamed leaves one, too.
        """
        manifests = sorted(self._folder.glob(f"*{MANIFEST_SUFFIX}"), key=_mtime)
        for path in manifests[:-_MOST_MANIFESTS]:
            if not path.with_name(path.name.removesuffix(MANIFEST_SUFFIX)).exists():
                path.unlink(missing_ok=True)

    def _place(self, asked: AskedExport) -> Path:
        # What is told beside the rows is kept with the snapshot: another database may have kept it at another instant.
        served_from = asked.snapshot.served_from.isoformat()
        known_by = [asked.snapshot.id, served_from, asked.format, asked.query, asked.columns, software_of(asked.format)]
        digest = hashlib.sha256(json.dumps(known_by).encode()).hexdigest()
        stem, _, ending = asked.file_name.rpartition(".")
        return self._folder / f"{stem}-{digest[:32]}.{ending}"

    def _files(self) -> Iterator[tuple[Path, int, float]]:
        """
        Give each finished file with its size and when it was last used.
        """
        for path in self._folder.glob("stops-*"):
            if path.name.endswith((MANIFEST_SUFFIX, _PARTIAL_SUFFIX)):
                continue
            with suppress(OSError):  # another process may have removed it since
                found = path.stat()
                yield path, found.st_size, found.st_mtime

    def _make_folder(self) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(self._folder, error) from error

    @contextmanager
    def _whole_file(self, path: Path) -> Iterator[BinaryIO]:
        """
        Write a private file beside, then put it in its place: it is there whole, or not at all.
        """
        partial = path.with_name(f"{path.name}.{uuid4().hex}{_PARTIAL_SUFFIX}")
        try:
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise _unwritable(self._folder, error) from error
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise _unwritable(self._folder, error) from error
        except BaseException:  # whatever ended it: half an export is none
            partial.unlink(missing_ok=True)
            raise


def _manifest_of(path: Path) -> Path:
    return path.with_name(path.name + MANIFEST_SUFFIX)


def _read_manifest(path: Path) -> dict[str, Any] | None:
    try:
        manifest = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) else None


def _mtime(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _unwritable(folder: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"No export can be kept in {folder}: {error.strerror or error}.",
        remedy="Make room there, or set STOPSEARCH_DATA_DIR to a folder that can be written.",
    )
