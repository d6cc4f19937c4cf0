"""
A snapshot of what the publisher had published at one time, and the members that it holds.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Protocol

from stopsearch.domain.errors import ArchiveRefused, MemberRefused
from stopsearch.domain.months import Month
from stopsearch.domain.published import PublishedMonth
from stopsearch.domain.states import Shape, Source


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """
    One stop-and-search file of a snapshot: one force-month of one edition.
    """

    force: str
    month: Month
    name: str  # its path in the archive
    size_bytes: int  # unpacked, as declared


class Contents(Protocol):
    """
    What a snapshot's bytes are read from.
    """

    def read(self, member: Member) -> bytes:
        """
        Give a member's bytes, unpacked and checked.
        """

    def close(self) -> None:
        """
        Let go of files and connections. A later read opens them again.
        """


@dataclass(frozen=True, kw_only=True)
class Archive:
    """
    One snapshot: a zip, or loose files that belong together. Its members are read one at a time, when asked for.

    As a context manager it lets go of its file or connection at the end.
    """

    name: str
    published_at: datetime  # UTC; what editions of one force-month are ranked by
    fetched_at: datetime
    members: tuple[Member, ...]  # of the forces and months asked for; by month, then force
    refusals: tuple[MemberRefused, ...]  # what was refused by its name or its entry, without reading it
    contents: Contents = field(repr=False)
    _one_at_a_time: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def read(self, member: Member) -> PublishedMonth:
        """
        Give a member's bytes as they came, line ends and all, once they are unpacked and found whole.

        Raises:
            MemberRefused: This member is damaged, or is not what its entry declares. The others may be read.
            ArchiveRefused: The archive changed, or went away, since it was opened.
            SourceUnavailable: The server that has the archive does not answer.
        """
        with self._one_at_a_time:
            body = self.contents.read(member)
        return PublishedMonth(
            force=member.force,
            month=member.month,
            shape=Shape.CSV,
            source=Source.ARCHIVE,
            origin=self.origin_of(member),
            body=body,
            fetched_at=self.fetched_at,
            published_at=self.published_at,
        )

    def origin_of(self, member: Member) -> str:
        """
        Give what the ledger calls a member.
        """
        return f"{self.name}!{member.name}"

    def close(self) -> None:
        """
        Let go of the archive's file or connection.
        """
        self.contents.close()

    def __enter__(self) -> Archive:
        """
        Open nothing yet: what is needed is opened by the first read.
        """
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """
        Let go of the archive's file or connection.
        """
        self.close()


@dataclass(frozen=True, kw_only=True)
class Archives:
    """
    Every snapshot that was asked for, those published first coming first, and what could not be opened.
    """

    archives: tuple[Archive, ...]
    refused: tuple[ArchiveRefused | MemberRefused, ...]  # beside what each snapshot refused of its own

    def __iter__(self) -> Iterator[Archive]:
        """
        Give the snapshots, those published first coming first.
        """
        return iter(self.archives)

    def __len__(self) -> int:
        """
        Count the snapshots that could be opened.
        """
        return len(self.archives)


def choose_members(
    members: Iterable[Member], *, forces: Collection[str] | None, months: tuple[Month, Month] | None
) -> tuple[Member, ...]:
    """
    Keep the members of the given forces and months, by month and then force.

    Args:
        members: What a snapshot holds.
        forces: Ids, or None for all.
        months: The first and the last month, both included, or None for all.
    """
    return tuple(
        sorted(
            (
                member
                for member in members
                if (forces is None or member.force in forces)
                and (months is None or months[0] <= member.month <= months[1])
            ),
            key=lambda member: (member.month, member.force),
        )
    )
