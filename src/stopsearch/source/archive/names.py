"""
What the names of archives and of their members tell: force, month, and when a snapshot was published.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote, urlsplit

from stopsearch.domain.errors import BadMonth, BadPath, UnknownForce
from stopsearch.domain.forces import parse_force_id
from stopsearch.domain.months import Month
from stopsearch.source.archive.refusals import RefusedMember, refused_archive

STOPS = "stop-and-search"

# Both the force (devon-and-cornwall) and the type (stop-and-search) hold hyphens: the type is matched at the end.
_FILE = re.compile(rf"([0-9]{{4}}-[0-9]{{2}})-(.+)-({STOPS}|street|outcomes)\.csv", re.DOTALL)
_MONTH_FOLDER = re.compile(r"[0-9]{4}-[0-9]{2}")
_MONTH_ZIP = re.compile(r"([0-9]{4}-[0-9]{2})\.zip", re.IGNORECASE)
_DRIVE = re.compile(r"[A-Za-z]:")

# What macOS adds to every zip and folder that it makes.
_LITTER = ("__MACOSX", ".DS_Store")

_LAYOUT_REMEDY = "Members are named YYYY-MM/YYYY-MM-<force>-stop-and-search.csv, as the publisher names them."


@dataclass(frozen=True, kw_only=True, slots=True)
class MemberName:
    """
    What a member's name says: whose file it is, of which month, and whether it holds stops.
    """

    force: str
    month: Month
    holds_stops: bool


def check_path(archive: str, name: str) -> None:
    """
    Check that a member's name is a plain path below the archive's root.

    Nothing is ever unpacked to disk, so such a name could do no harm here; but no archive of the publisher holds one.

    Raises:
        RefusedMember: It is absolute, climbs, or is written for another system.
    """
    if not name or any(ord(c) < 32 or ord(c) == 127 for c in name):
        raise RefusedMember(archive, name, "has no name that can be trusted (empty, or with control characters)")
    if name.startswith("/") or _DRIVE.match(name):
        raise RefusedMember(archive, name, "has an absolute path")
    if "\\" in name:
        raise RefusedMember(archive, name, "has a backslash in its path", remedy=_LAYOUT_REMEDY)
    if ".." in name.split("/"):
        raise RefusedMember(archive, name, "has a path that climbs out of the archive")


def read_member_name(archive: str, name: str, *, newest: Month, is_deep: bool = False) -> MemberName | None:
    """
    Read force and month from a member's name.

    Args:
        archive: The archive's name, for the refusal.
        name: The member's path, with forward slashes, below the archive's root.
        newest: The month that it now is: a file of a later month can't have been published.
        is_deep: Whether the file may lie in any folder, as loose files do. In a zip it lies in its month's folder,
            or flat.

    Returns:
        What the name says, or None for what an operating system leaves behind.

    Raises:
        RefusedMember: The name is not one that the publisher gives.
    """
    *folders, file = name.split("/")
    if file in _LITTER or file.startswith("._") or _LITTER[0] in folders:
        return None
    match = _FILE.fullmatch(file)
    if match is None:
        raise RefusedMember(archive, name, "is not named as a file of the publisher", remedy=_LAYOUT_REMEDY)
    try:
        month, force = Month.parse(match[1]), parse_force_id(match[2])
    except (BadMonth, UnknownForce) as error:
        raise RefusedMember(archive, name, f"has a wrong name: {error.message.rstrip('.')}") from error
    if month > newest:
        raise RefusedMember(archive, name, f"is of {month}, which lies in the future")
    folder = folders[-1] if folders else match[1]
    if folder != match[1] and (not is_deep or _MONTH_FOLDER.fullmatch(folder)):
        raise RefusedMember(archive, name, f"is of {month} but lies in the folder '{folder}'", remedy=_LAYOUT_REMEDY)
    if len(folders) > 1 and not is_deep:
        raise RefusedMember(archive, name, "lies deeper than the publisher's files do", remedy=_LAYOUT_REMEDY)
    return MemberName(force=force, month=month, holds_stops=match[3] == STOPS)


def published_at(archive: str, *, newest_member: Month, now: datetime) -> datetime:
    """
    Give the instant as which a snapshot ranks among the editions of its force-months, in UTC.

    The publisher's own archives are named for their newest month, `YYYY-MM.zip`, and rank as that month's end. Any
    other name (`latest.zip`, a custom download, a folder) tells nothing: such a snapshot ranks as the end of the
    newest month among its members, which is the same instant for an archive that was only renamed.

    Raises:
        ArchiveRefused: The name is of a month that lies in the future.
    """
    match = _MONTH_ZIP.fullmatch(archive)
    if match is None:
        return newest_member.end
    try:
        named = Month.parse(match[1])
    except BadMonth:
        return newest_member.end
    if named > Month.of(now.date()):
        raise refused_archive(
            archive,
            f"is named for {named}, which lies in the future, so it would outrank all that is published later",
            remedy="Rename it, or say with --published when it was published.",
        )
    return named.end


def is_month_folder(name: str) -> bool:
    """
    Tell whether a folder's name is a month's, so that the root of the files is one folder up.
    """
    return _MONTH_FOLDER.fullmatch(name) is not None


def is_address(path: str) -> bool:
    """
    Tell whether a path is an address that can be fetched.
    """
    return path.lower().startswith(("https://", "http://"))


def name_of_address(url: str) -> str:
    """
    Give the name of the file at an address: the last part of its path, never its query, which may hold a key.

    Raises:
        BadPath: The address names no server or no file.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        parts, host = urlsplit(""), None
    name = unquote(parts.path).rsplit("/", 1)[-1]
    if not host or not name.isprintable() or not name:
        raise BadPath(
            "An address was given that names no file.",
            remedy="Write it like https://data.police.uk/data/archive/2024-03.zip.",
        )
    return name
