"""
How a refusal of one member, or of a whole archive, is worded.
"""

from __future__ import annotations

from stopsearch.domain.errors import ArchiveRefused, MemberRefused

# A name comes from whoever made the archive: it must not bring control characters or a page of text to a terminal.
_LONGEST_SHOWN = 160


class RefusedMember(MemberRefused):
    """
    One member of an archive can't be trusted, told by the archive's name, the member's name and the reason.
    """

    def __init__(self, archive: str, member: str, reason: str, *, remedy: str = "") -> None:
        self.archive = archive
        self.member = shown(member)
        self.reason = reason
        super().__init__(f"{archive}: member '{self.member}' is refused: it {reason}.", remedy=remedy)


def refused_archive(archive: str, reason: str, *, remedy: str) -> ArchiveRefused:
    """
    Word the refusal of a whole archive.
    """
    return ArchiveRefused(f"{archive} is refused: it {reason}.", remedy=remedy)


def shown(name: str) -> str:
    """
    Give a member's name in a form that is safe to print, cut where it is very long.
    """
    printable = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in name)
    return printable if len(printable) <= _LONGEST_SHOWN else printable[:_LONGEST_SHOWN] + "…"
