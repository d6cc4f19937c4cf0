"""
Instants and dates as people write them.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from stopsearch.domain.errors import RequestError
from stopsearch.domain.instants import read_instant, read_local

pytestmark = pytest.mark.unit

NOW = datetime(2026, 3, 31, 15, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-03-31T12:00:00Z", datetime(2026, 3, 31, 12, tzinfo=UTC)),
        ("2026-03-31T12:00:00+01:00", datetime(2026, 3, 31, 11, tzinfo=UTC)),
        # An unescaped plus of a query arrives as a space.
        ("2026-03-31T12:00:00 01:00", datetime(2026, 3, 31, 11, tzinfo=UTC)),
        ("2026-03-31T12:00:00.000001+00:00", datetime(2026, 3, 31, 12, 0, 0, 1, tzinfo=UTC)),
    ],
)
def test_an_instant_is_read_in_utc(text: str, instant: datetime) -> None:
    assert read_instant(text, name="as_of", now=NOW) == read_local(text, name="as_of") == instant


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-03-30", datetime(2026, 3, 30, 23, 59, 59, 999999, tzinfo=UTC)),
        ("2026-03-31", NOW),  # today is not over: now is what can be told of it
        ("2026-04-01", datetime(2026, 4, 1, tzinfo=UTC)),  # the future, which is refused elsewhere
    ],
)
def test_of_a_date_the_end_counts(text: str, instant: datetime) -> None:
    assert read_instant(text, name="as_of", now=NOW) == instant


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2020-02-01", datetime(2020, 2, 1, tzinfo=UTC)),
        ("2020-07-01", datetime(2020, 6, 30, 23, tzinfo=UTC)),  # summer time
        ("2020-03-29", datetime(2020, 3, 29, tzinfo=UTC)),  # the clock goes forward in it
        ("2020-03-30", datetime(2020, 3, 29, 23, tzinfo=UTC)),
    ],
)
def test_a_local_date_begins_at_its_local_midnight(text: str, instant: datetime) -> None:
    assert read_local(text, name="datetime_from") == instant


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2026-13-01", "2026-02-30", "20260331", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"],
)
def test_what_is_neither_is_refused_by_name(text: str) -> None:
    with pytest.raises(RequestError, match="datetime_from"):
        read_local(text, name="datetime_from")


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(RequestError, match="no time zone"):
        read_local("2026-03-31T12:00:00", name="datetime_from")
