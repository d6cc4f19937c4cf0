"""
From the paths and addresses that were given to the snapshots behind them, in the order of publication.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from stopsearch.domain.errors import ArchiveRefused, BadPath, MemberRefused
from stopsearch.domain.months import Month
from stopsearch.source.archive.byte_ranges import ByteRanges, LocalFile
from stopsearch.source.archive.editions import Archive, Archives, Contents, Member, choose_members
from stopsearch.source.archive.folder import LooseContents, list_loose_files, walk_folder
from stopsearch.source.archive.names import is_address, is_month_folder, name_of_address, published_at
from stopsearch.source.archive.refusals import refused_archive
from stopsearch.source.archive.remote import RemoteFile
from stopsearch.source.archive.zip_directory import read_directory
from stopsearch.source.archive.zip_file import ZipContents
from stopsearch.source.retry import RetryPolicy

_RETRY = RetryPolicy(attempts=6, time_s=300.0)

_WANTED = (
    "Give an archive or a custom download of data.police.uk with stop and search in it: a zip, a folder of zips, a "
    "folder of its CSV files, or the address of a zip."
)


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """
    What holds for every snapshot of one call.
    """

    published: datetime | None
    now: datetime
    member_max_bytes: int
    forces: Collection[str] | None
    months: tuple[Month, Month] | None

    @property
    def newest(self) -> Month:
        return Month.of(self.now.astimezone(UTC).date())


@dataclass(kw_only=True)
class _Located:
    """
    The files behind the given paths, by what they are.
    """

    zips: dict[str, tuple[str, Callable[[], ByteRanges]]] = field(default_factory=dict)  # by address: name, opener
    loose: dict[Path, dict[Path, None]] = field(default_factory=dict)  # by the folder that they belong to
    refused: list[ArchiveRefused | MemberRefused] = field(default_factory=list)


def open_archives(
    paths: Sequence[str],
    *,
    now: datetime,
    member_max_bytes: int,
    published: datetime | None = None,
    forces: Collection[str] | None = None,
    months: tuple[Month, Month] | None = None,
    contact: str = "",
    retry: RetryPolicy = _RETRY,
) -> Archives:
    """
    Open every snapshot behind some paths and addresses: read their directories, and no member yet.

    A zip is one snapshot, so a folder of zips is several; the CSV files that lie loose in a folder are one, whether
    the folder is given or its files one by one. What is refused harms only itself, unless nothing is left.

    Args:
        paths: Zips, folders of zips or of CSV files, CSV files, http(s) addresses of zips.
        now: This instant, with its zone.
        member_max_bytes: Unpacked size above which a member is refused.
        published: When all of them were published, with its zone, in place of what their names tell.
        forces: The ids of the forces wanted, or None for all.
        months: The first and the last month wanted, both included, or None for all.
        contact: How the operator of a server can reach whoever runs this.
        retry: Bounds on the tries of each request.

    Returns:
        The snapshots, those published first coming first (ties as given), and what could not be opened.

    Raises:
        BadPath: A path leads nowhere, or to nothing that can be an archive. Nothing has been opened then.
        ArchiveRefused: There is nothing that could be opened; this is what was wrong with the first.
        MemberRefused: Likewise, where it is a loose file.
        SourceUnavailable: A server that has an archive does not answer.
    """
    asked = _Asked(published=published, now=now, member_max_bytes=member_max_bytes, forces=forces, months=months)
    located = _locate(paths, contact=contact, retry=retry)
    archives: list[Archive] = []
    refused = located.refused
    for name, opener in located.zips.values():
        try:
            archives.append(_open_zip(name, opener, asked, refused))
        except ArchiveRefused as refusal:
            refused.append(refusal)
    for root, files in located.loose.items():
        try:
            archives.append(_open_loose(root, files, asked, refused))
        except ArchiveRefused as refusal:
            refused.append(refusal)
    if not archives:
        raise next((refusal for refusal in refused if isinstance(refusal, ArchiveRefused)), refused[0])
    archives.sort(key=lambda archive: archive.published_at)
    return Archives(archives=tuple(archives), refused=tuple(refused))


def _locate(paths: Sequence[str], *, contact: str, retry: RetryPolicy) -> _Located:
    if not paths:
        raise BadPath("No archive was given.", remedy=_WANTED)
    located = _Located()
    for given in paths:
        if is_address(given):
            name = name_of_address(given)
            located.zips[given] = name, RemoteFile(given, name=name, contact=contact, policy=retry).open
            continue
        path = _existing(given)
        if path.is_dir():
            _locate_in_folder(path.resolve(), given, located)
        elif not path.is_file():
            raise BadPath(f"'{given}' is neither a file nor a folder.", remedy=_WANTED)
        elif path.suffix.lower() == ".csv":
            parent = path.parent.resolve()
            root = parent.parent if is_month_folder(parent.name) else parent
            located.loose.setdefault(root, {})[parent / path.name] = None
        else:
            located.zips[str(path.resolve())] = path.name, _local(path)
    return located


def _existing(given: str) -> Path:
    try:
        path = Path(given).expanduser()
        is_there = path.exists()
    # A NUL, a name that is too long, a folder that may not be entered, a user that is not known.
    except (ValueError, OSError, RuntimeError) as error:
        raise BadPath(f"'{given}' can't be looked at: {error}.", remedy=_WANTED) from error
    if not given or not is_there:
        raise BadPath(f"'{given}' is not there.", remedy=_WANTED)
    return path


def _locate_in_folder(folder: Path, given: str, located: _Located) -> None:
    found = walk_folder(folder)
    if not (found.zips or found.files or found.refusals):
        raise BadPath(f"The folder '{given}' holds neither zips nor CSV files.", remedy=_WANTED)
    located.refused.extend(found.refusals)
    for path in found.zips:
        located.zips[str(path.resolve())] = path.name, _local(path)
    if found.files:
        located.loose.setdefault(folder, {}).update(dict.fromkeys(found.files))


def _local(path: Path) -> Callable[[], ByteRanges]:
    return lambda: LocalFile(path, name=path.name)


def _open_zip(
    name: str,
    opener: Callable[[], ByteRanges],
    asked: _Asked,
    refused: list[ArchiveRefused | MemberRefused],
) -> Archive:
    source = opener()
    try:
        directory = read_directory(source, name, newest=asked.newest, member_max_bytes=asked.member_max_bytes)
    finally:
        # A folder may hold more zips than files may be open.
        source.close()
    contents = ZipContents(source, archive=name, entries=directory.entries)
    archive = _archive(
        name,
        asked,
        refused,
        members=directory.members,
        newest=directory.newest,
        refusals=directory.refusals,
        contents=contents,
    )
    contents.plan(archive.members)
    return archive


def _open_loose(
    root: Path, files: Iterable[Path], asked: _Asked, refused: list[ArchiveRefused | MemberRefused]
) -> Archive:
    name = root.name or str(root)
    listed = list_loose_files(root, files, name, newest=asked.newest, member_max_bytes=asked.member_max_bytes)
    contents = LooseContents(listed.paths, archive=name, member_max_bytes=asked.member_max_bytes)
    return _archive(
        name,
        asked,
        refused,
        members=listed.members,
        newest=listed.newest,
        refusals=listed.refusals,
        contents=contents,
    )


def _archive(
    name: str,
    asked: _Asked,
    refused: list[ArchiveRefused | MemberRefused],
    *,
    members: tuple[Member, ...],
    newest: Month | None,
    refusals: tuple[MemberRefused, ...],
    contents: Contents,
) -> Archive:
    if newest is None or not (members or refusals):
        # There is nothing to rank it by, or nothing in it that is ours.
        refused.extend(refusals)
        raise refused_archive(name, "holds no stop-and-search file that can be read", remedy=_WANTED)
    rank = asked.published or published_at(name, newest_member=newest, now=asked.now)
    return Archive(
        name=name,
        published_at=rank.astimezone(UTC),
        fetched_at=asked.now,
        members=choose_members(members, forces=asked.forces, months=asked.months),
        refusals=refusals,
        contents=contents,
    )
