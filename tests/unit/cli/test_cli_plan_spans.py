"""
Months are told as spans.
"""

from __future__ import annotations

import pytest

from stopsearch.cli.commands.plan import spans
from stopsearch.domain.months import Month

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("months", "told"),
    [
        (["2024-01"], "2024-01"),
        (["2024-02", "2023-12", "2024-01"], "2023-12 to 2024-02"),
        (["2024-01", "2024-01", "2024-03"], "2024-01, 2024-03"),
        ([f"2024-{number:02}" for number in range(1, 13, 2)], "2024-01, 2024-03, 2024-05, 2024-07, and 2 more"),
    ],
)
def test_spans(months: list[str], told: str) -> None:
    assert spans(Month.parse(month) for month in months) == told
