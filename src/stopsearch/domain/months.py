"""
The published month, YYYY-MM, as a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from stopsearch.domain.errors import BadMonth, MonthOutOfRange

_PATTERN = re.compile(r"(\d{4})-(\d{2})", re.ASCII)
FIRST_PUBLISHED = "2010-12"


@dataclass(frozen=True, order=True, slots=True)
class Month:
    """
    A published month: the month of the publisher's file, which a few stops in it are not dated in.
    """

    year: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Month:
        """
        Read a month written YYYY-MM.

        Raises:
            BadMonth: The text is no month.
        """
        match = _PATTERN.fullmatch(text)
        if match is None or not 1 <= int(match[2]) <= 12 or not 2000 <= int(match[1]) <= 2999:
            raise BadMonth(f"'{text}' is not a month.", remedy="Write months as YYYY-MM, for example 2024-03.")
        return cls(int(match[1]), int(match[2]))

    @classmethod
    def of(cls, day: date) -> Month:
        """
        Give the month that a date lies in.
        """
        return cls(day.year, day.month)

    @property
    def first_day(self) -> date:
        """
        Give the month's first day, as which a month is kept in the database.
        """
        return date(self.year, self.number, 1)

    @property
    def ordinal(self) -> int:
        """
        Count the months since year 0, so that months can be told apart and subtracted in two bytes.
        """
        return self.year * 12 + self.number - 1

    @property
    def end(self) -> datetime:
        """
        Give the last whole second of the month, in UTC: as which an archive named for it was published.
        """
        following = self.plus(1)
        return datetime(following.year, following.number, 1, tzinfo=UTC) - timedelta(seconds=1)

    def plus(self, months: int) -> Month:
        """
        Give the month that many months later, or earlier where negative.
        """
        years, number = divmod(self.ordinal + months, 12)
        return Month(years, number + 1)

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.number:02d}"


def month_range(first: Month, last: Month) -> Iterator[Month]:
    """
    Give every month from the first to the last, both included.

    Raises:
        MonthOutOfRange: The range starts after it ends.
    """
    if first > last:
        raise MonthOutOfRange(
            f"The range {first} to {last} starts after it ends.", remedy=f"Ask for {last} to {first} instead."
        )
    return (first.plus(n) for n in range(last.ordinal - first.ordinal + 1))
