"""
What an export is asked to hold has one spelling, whoever asks and however.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl

import pytest
from starlette.requests import Request

from stopsearch.domain.filters import Box, Circle, RevisionState, StopFilter
from stopsearch.domain.months import Month
from stopsearch.flows.asked_export import query_of
from stopsearch.serve.parameters import FILTERS, read_query

pytestmark = pytest.mark.unit

EVERYTHING_ASKED = StopFilter(
    forces=("durham", "cumbria"),
    first=Month(2020, 1),
    last=Month(2021, 2),
    datetime_from=datetime(2020, 1, 1, 12, 30, tzinfo=UTC),
    datetime_before=datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=9, microseconds=1),
    labels={"gender": ("Male", "none"), "outcome_group": ("Arrest",)},
    flags={"operation": None, "removal_of_more_than_outer_clothing": True},
    operation_name="Op & more, ü",
    located=True,
    box=Box(west=-1.5, south=50.0, east=0.0, north=52.25),
    circle=Circle(latitude=51.0, longitude=-0.000001, radius_m=0.5),
    date_only=False,
    doubled=True,
    far_from_force=False,
    revision_state=RevisionState.RESTATED,
)


def asked_over_http(query: str) -> StopFilter:
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": query.encode(), "headers": []}
    return read_query(Request(scope), FILTERS).filter


def test_query_says_every_part_of_the_filter() -> None:
    query = query_of(EVERYTHING_ASKED)
    asked = asked_over_http(query)
    assert set(asked.forces) == set(EVERYTHING_ASKED.forces)
    assert {name: set(labels) for name, labels in asked.labels.items()} == {
        name: set(labels) for name, labels in EVERYTHING_ASKED.labels.items()
    }
    for name in StopFilter.__dataclass_fields__.keys() - {"forces", "labels"}:
        assert getattr(asked, name) == getattr(EVERYTHING_ASKED, name), name
    assert query_of(asked) == query


def test_query_of_everything_is_empty() -> None:
    assert query_of(StopFilter()) == ""


def test_equal_questions_have_one_query() -> None:
    one = asked_over_http("force=durham&force=cumbria&from=2020-01&gender=Male&gender=Female&datetime_from=2020-07-01")
    other = asked_over_http(
        "datetime_from=2020-06-30T23:00:00Z&gender=Female&gender=Male&gender=Male&force=cumbria,durham&from=2020-01"
    )
    assert query_of(one) == query_of(other)
    assert parse_qsl(query_of(one))[0] == ("datetime_from", "2020-06-30T23:00:00+00:00")


def test_each_part_of_a_filter_has_a_query_of_its_own() -> None:
    queries = [
        query_of(StopFilter(**{name: getattr(EVERYTHING_ASKED, name)})) for name in StopFilter.__dataclass_fields__
    ]
    assert "" not in queries
    assert len(set(queries)) == len(queries)
