"""
Values are written in one way, and what can't be read stays as it came.
"""

from __future__ import annotations

import polars as pl
import pytest

from stopsearch.clean.normal_form import normal_form
from stopsearch.clean.source_records import SOURCE_SCHEMA

pytestmark = pytest.mark.unit


def _normal(column: str, *values: str | None) -> list[str | None]:
    frame = pl.DataFrame({column: values}, schema={column: pl.String}).with_columns(
        pl.lit(None, dtype=dtype).alias(name) for name, dtype in SOURCE_SCHEMA.items() if name != column
    )
    return normal_form(frame)[column].to_list()


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("2020-06-01T00:15:00+00:00", "2020-06-01T00:15:00.000000Z"),
        ("2020-06-01T00:15:00.187000+00:00", "2020-06-01T00:15:00.187000Z"),
        ("2020-06-01T00:15:00.1+00:00", "2020-06-01T00:15:00.100000Z"),
        ("2020-06-01T00:15:00Z", "2020-06-01T00:15:00.000000Z"),
        ("2020-06-01T01:15:00+01:00", "2020-06-01T00:15:00.000000Z"),
        ("2020-06-01T01:15:00+0100", "2020-06-01T00:15:00.000000Z"),
        ("2020-06-01 00:15+00:00", "2020-06-01T00:15:00.000000Z"),
        # No zone: to read it would be a guess.
        ("2020-06-01T00:15:00", "2020-06-01T00:15:00"),
        ("2020-06-01", "2020-06-01"),
        # No such month: the contract rejects it, and its identity is its own all the same.
        ("2020-13-01T00:15:00+00:00", "2020-13-01T00:15:00.000000Z"),
        ("2020-02-30T00:15:00.5+00:00", "2020-02-30T00:15:00.5+00:00"),
        ("01/06/2020 00:15", "01/06/2020 00:15"),
    ],
)
def test_instants(written: str, normal: str) -> None:
    # Beside a plain one, alone, and beside an odd one: the way through the code differs, the result must not.
    plain = "2020-06-01T00:00:00+00:00"
    assert _normal("datetime", written, None) == [normal, None]
    assert _normal("datetime", plain, written) == ["2020-06-01T00:00:00.000000Z", normal]
    assert _normal("datetime", "?", written, written) == ["?", normal, normal]


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("52.645734", "52.645734"),
        ("-1.201507", "-1.201507"),
        ("52.5", "52.500000"),
        ("52", "52.000000"),
        ("+52.5", "52.500000"),
        ("52.6457341", "52.645734"),
        ("1e2", "1e2"),
        ("north", "north"),
        ("NaN", "NaN"),
    ],
)
def test_coordinates(written: str, normal: str) -> None:
    assert _normal("latitude", written, None) == [normal, None]
    assert _normal("longitude", "52.000000", written) == ["52.000000", normal]
