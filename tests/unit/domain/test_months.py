"""
Months are values: written YYYY-MM, ordered, counted.
"""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from stopsearch.domain.errors import BadMonth, MonthOutOfRange
from stopsearch.domain.months import Month, month_range

pytestmark = pytest.mark.unit


def test_reads_and_writes_itself() -> None:
    month = Month.parse("2024-03")
    assert (month, str(month), month.first_day) == (Month(2024, 3), "2024-03", date(2024, 3, 1))


@pytest.mark.parametrize(
    "text", ["2024-13", "2024-00", "2024-3", "24-03", "2024/03", "", "2024-03-01", "٢٠٢٤-٠٣", " 2024-03"]
)
def test_refuses_what_is_no_month(text: str) -> None:
    with pytest.raises(BadMonth, match="YYYY-MM"):
        Month.parse(text)


def test_counts_over_years() -> None:
    assert Month(2023, 12).plus(1) == Month(2024, 1)
    assert Month(2024, 1).plus(-1) == Month(2023, 12)
    assert Month(2024, 1).ordinal - Month(2020, 1).ordinal == 48


def test_an_archive_named_for_a_month_was_published_by_its_end() -> None:
    assert Month(2024, 2).end == datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC)


def test_a_range_holds_both_its_ends() -> None:
    assert [str(month) for month in month_range(Month(2023, 11), Month(2024, 1))] == ["2023-11", "2023-12", "2024-01"]
    with pytest.raises(MonthOutOfRange, match="starts after it ends"):
        month_range(Month(2024, 1), Month(2023, 12))
