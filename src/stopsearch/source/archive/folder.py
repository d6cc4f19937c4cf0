"""
Loose CSV files that belong together: a folder of them, or those that were named one by one.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from stopsearch.domain.months import Month
from stopsearch.source.archive.editions import Member
from stopsearch.source.archive.names import read_member_name
from stopsearch.source.archive.refusals import RefusedMember
from stopsearch.source.archive.zip_directory import part_ambiguous


@dataclass(frozen=True, kw_only=True)
class Found:
    """
    What lies in a folder, at any depth, in the order of the names.
    """

    zips: tuple[Path, ...]
    files: tuple[Path, ...]  # CSV files
    refusals: tuple[RefusedMember, ...]


@dataclass(frozen=True, kw_only=True)
class LooseFiles:
    """
    The stop-and-search files among loose ones, and what was refused of them.
    """

    members: tuple[Member, ...]
    paths: dict[str, Path]  # by the member's name
    refusals: tuple[RefusedMember, ...]
    newest: Month | None  # of all the publisher's files, those without stops included


def walk_folder(folder: Path) -> Found:
    """
    Find the zips and CSV files in a folder, at any depth. Other files are none of our business.

    A symbolic link to a place outside the folder is refused by name, and so is a folder that can't be listed.
    """
    root = folder.resolve()
    zips: list[Path] = []
    files: list[Path] = []
    refusals: list[RefusedMember] = []

    def refuse_folder(error: OSError) -> None:
        where = Path(error.filename).relative_to(folder).as_posix()
        refusals.append(RefusedMember(folder.name, where, f"can't be listed ({error.strerror})"))

    for at, folders, names in os.walk(folder, onerror=refuse_folder):
        folders.sort()
        # Linked folders are not walked; those inside are met at their own place.
        for name in [*folders, *sorted(names)]:
            path = Path(at, name)
            is_wanted = path.suffix.lower() in (".zip", ".csv") or (path.is_symlink() and path.is_dir())
            if not is_wanted:
                continue
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                shown = path.relative_to(folder).as_posix()
                refusals.append(RefusedMember(folder.name, shown, "is a symbolic link to a place outside the folder"))
            elif not path.is_dir():
                (zips if path.suffix.lower() == ".zip" else files).append(path)
    return Found(zips=tuple(zips), files=tuple(files), refusals=tuple(refusals))


def list_loose_files(
    root: Path, paths: Iterable[Path], archive: str, *, newest: Month, member_max_bytes: int
) -> LooseFiles:
    """
    Tell which of some CSV files are stop-and-search files, by their names, without reading them.

    Args:
        root: The folder that they belong to; their names are told from it.
        paths: The files.
        archive: The name that they go by together, for the refusals.
        newest: The month that it now is.
        member_max_bytes: Size above which a file is refused.
    """
    members: list[Member] = []
    by_name: dict[str, Path] = {}
    refusals: list[RefusedMember] = []
    seen_months: set[Month] = set()
    for path in paths:
        name = path.relative_to(root).as_posix()
        try:
            told = read_member_name(archive, name, newest=newest, is_deep=True)
            if told is None:
                continue
            seen_months.add(told.month)
            if told.holds_stops:
                size_bytes = _check_file(archive, name, path, member_max_bytes)
                members.append(Member(force=told.force, month=told.month, name=name, size_bytes=size_bytes))
                by_name[name] = path
        except RefusedMember as refusal:
            refusals.append(refusal)
    alone, ambiguous = part_ambiguous(archive, members)
    return LooseFiles(
        members=alone,
        paths={member.name: by_name[member.name] for member in alone},
        refusals=(*refusals, *ambiguous),
        newest=max(seen_months, default=None),
    )


class LooseContents:
    """
    Reads loose files.
    """

    def __init__(self, paths: dict[str, Path], *, archive: str, member_max_bytes: int) -> None:
        self._paths = paths
        self._archive = archive
        self._member_max_bytes = member_max_bytes

    def read(self, member: Member) -> bytes:
        """
        Give a file's bytes.

        Raises:
            RefusedMember: It can't be read, or is not what it was when the folder was listed.
        """
        _check_file(self._archive, member.name, self._paths[member.name], self._member_max_bytes)
        try:
            with self._paths[member.name].open("rb") as file:
                body = file.read(self._member_max_bytes + 1)
        except OSError as error:
            raise RefusedMember(
                self._archive,
                member.name,
                f"can't be read ({error.strerror})",
                remedy="Look at its permissions.",
            ) from error
        if len(body) != member.size_bytes:
            raise RefusedMember(
                self._archive,
                member.name,
                "changed while the folder was being read",
                remedy="Run the command again.",
            )
        return body

    def close(self) -> None:
        """
        Do nothing: no file is kept open.
        """


def _check_file(archive: str, name: str, path: Path, member_max_bytes: int) -> int:
    try:
        status = path.stat()
    except OSError as error:
        raise RefusedMember(archive, name, f"can't be read ({error.strerror})") from error
    # A pipe or a device would be waited on for ever.
    if not stat.S_ISREG(status.st_mode):
        raise RefusedMember(archive, name, "is no regular file")
    if status.st_size == 0:
        raise RefusedMember(archive, name, "is empty (0 bytes), where the publisher writes at least the header")
    if status.st_size > member_max_bytes:
        raise RefusedMember(
            archive,
            name,
            f"has {status.st_size:,} bytes; at most {member_max_bytes:,} are read",
            remedy="If it is honest, raise STOPSEARCH_ARCHIVE_MEMBER_MAX_MB.",
        )
    return status.st_size
