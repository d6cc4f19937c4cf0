"""
A column has its type by its name, also where no row has a value in it.
"""

from __future__ import annotations

from typing import Any

import polars
import pytest

from stopsearch.client.frames import pandas_frame, polars_frame

pytestmark = pytest.mark.unit

GROUP = {"group": "Mixed", "stops": 3, "residents": None, "rate": None, "ratio": None}
RATES: dict[str, Any] = {"force": "btp", "months_asked": 1, "months_held": 1, "stops": 9, "groups": [GROUP]}


def test_what_is_refused_is_a_number_that_is_missing() -> None:
    frame = polars_frame([RATES])
    assert frame.schema == {
        "force": polars.String(),
        "months_asked": polars.Int64(),
        "months_held": polars.Int64(),
        "group": polars.String(),
        "stops": polars.Int64(),
        "residents": polars.Int64(),
        "rate": polars.Float64(),
        "ratio": polars.Float64(),
        "ratio_low": polars.Float64(),
        "ratio_high": polars.Float64(),
    }
    assert frame["stops"].to_list() == [3], "those of the group"
    other = pandas_frame([RATES])
    assert {str(other.dtypes[name]) for name in ("rate", "ratio", "ratio_low", "ratio_high")} == {"float64"}


def test_what_is_known_by_no_name_has_the_type_of_its_values() -> None:
    frame = polars_frame([{"a": 1, "b": 1.5, "c": True, "d": "x", "e": {"f": 1}}, {"a": None, "b": 2}])
    assert frame.schema == {
        "a": polars.Int64(),
        "b": polars.Float64(),
        "c": polars.Boolean(),
        "d": polars.String(),
        "e": polars.Struct({"f": polars.Int64()}),
    }
    assert frame.row(1) == (None, 2.0, None, None, None)


def test_a_known_name_with_other_values_is_taken_as_it_is() -> None:
    frame = polars_frame([{"residents": {"2011": 5}, "revision": "x"}])
    assert frame.to_dicts() == [{"residents": {"2011": 5}, "revision": "x"}]
