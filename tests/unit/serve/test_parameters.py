"""
The table of query parameters: what is read, what is refused, and one spelling for one question.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest
from starlette.requests import Request

from stopsearch.domain.errors import BadQuery
from stopsearch.domain.filters import Box, Circle, RevisionState, StopFilter
from stopsearch.domain.months import Month
from stopsearch.domain.vocabulary import VOCABULARY
from stopsearch.serve.parameters import CURSOR, FILTERS, MOMENT, Asked, limit, openapi_parameters, read_query

pytestmark = pytest.mark.unit

ALLOWED = (*FILTERS, *MOMENT, CURSOR, limit())


def ask(query: str | list[tuple[str, str]], *, known_forces: tuple[str, ...] = ()) -> Asked:
    text = query if isinstance(query, str) else urlencode(query)
    scope = {"type": "http", "method": "GET", "path": "/v1/stops", "query_string": text.encode(), "headers": []}
    return read_query(Request(scope), ALLOWED, known_forces=known_forces)


def faults_of(query: str | list[tuple[str, str]]) -> list[tuple[str, str, str]]:
    with pytest.raises(BadQuery) as caught:
        ask(query)
    return list(caught.value.faults)


def test_nothing_asked_for_is_everything() -> None:
    assert ask("") == Asked(path="/v1/stops", filter=StopFilter())


@pytest.mark.parametrize(
    ("query", "part"),
    [
        ([("force", "kent"), ("force", "essex,kent")], {"forces": ("kent", "essex")}),
        ([("from", "2020-01"), ("to", "2020-01")], {"first": Month(2020, 1), "last": Month(2020, 1)}),
        (
            [("gender", "Male"), ("gender", "none"), ("outcome_group", "Arrest")],
            {"labels": {"gender": ("Male", "none"), "outcome_group": ("Arrest",)}},
        ),
        ([("operation", "none")], {"flags": {"operation": None}}),
        ([("removal_of_more_than_outer_clothing", "true")], {"flags": {"removal_of_more_than_outer_clothing": True}}),
        ([("bbox", "-1.5,52,-1,52.5")], {"box": Box(west=-1.5, south=52, east=-1, north=52.5)}),
        (
            [("near", "52.5,-1.1"), ("radius_m", "250")],
            {"circle": Circle(latitude=52.5, longitude=-1.1, radius_m=250)},
        ),
        ([("located", "false"), ("date_only", "true")], {"located": False, "date_only": True}),
        ([("revision_state", "withdrawn")], {"revision_state": RevisionState.WITHDRAWN}),
        ([("operation_name", "Op Ünïcode")], {"operation_name": "Op Ünïcode"}),
    ],
)
def test_a_filter_is_read(query: list[tuple[str, str]], part: dict[str, Any]) -> None:
    assert ask(query).filter == StopFilter(**part)


@pytest.mark.parametrize("field", VOCABULARY)
def test_every_label_of_the_vocabulary_can_be_asked_for(field: str) -> None:
    words = [label.text for label in VOCABULARY[field]]
    assert ask([(field, word) for word in words]).filter.labels == {field: tuple(words)}


@pytest.mark.parametrize(
    ("query", "name", "says"),
    [
        ("gendr=Male", "gendr", "did you mean gender"),
        ("offset=3", "offset", "no such parameter"),
        ("force=metropolitn", "force", "did you mean metropolitan"),
        ("force=", "force", "no police force"),
        ("gender=male", "gender", "did you mean Male"),
        ("from=2020-13", "from", "is not a month"),
        ("from=2020-02&to=2020-01", "from", "starts after it ends"),
        ("datetime_from=2020-02-02&datetime_before=2020-02-02", "datetime_before", "holds nothing"),
        ("datetime_from=2020-02-02T10:00:00", "datetime_from", "no time zone"),
        ("located=yes", "located", "true or false"),
        ("bbox=1,2,3", "bbox", "west,south,east,north"),
        ("bbox=2,50,1,51", "bbox", "west before east"),
        ("bbox=nan,50,1,51", "bbox", "decimal"),
        ("near=52,-1", "radius_m", "near needs it"),
        ("radius_m=5", "near", "radius_m needs it"),
        ("near=52,-1&radius_m=1e9", "radius_m", "decimal"),
        ("near=52,-1&radius_m=0", "radius_m", "over 0"),
        ("near=152,-1&radius_m=5", "near", "latitude,longitude"),
        ("from=2999-01", "from", "in the future"),
        ("to=2010-11", "to", "before 2010-12"),
        ("limit=-1", "limit", "from 1 to 1000"),
        ("limit=1001", "limit", "from 1 to 1000"),
        ("limit=99999999999999999999", "limit", "from 1 to 1000"),
        ("limit=10&limit=20", "limit", "once only"),
        ("snapshot=DROP", "snapshot", "hexadecimal"),
        ("snapshot=" + "a" * 64 + "&as_of=2020-01-01", "as_of", "both"),
        ("operation_name=a%00b", "operation_name", "control characters"),
        ("operation_name=" + "x" * 201, "operation_name", "200"),
    ],
)
def test_what_can_not_be_meant_is_refused_by_name(query: str, name: str, says: str) -> None:
    assert any(fault[0] == name and says in fault[2] for fault in faults_of(query))


def test_every_fault_is_told_at_once() -> None:
    assert {fault[0] for fault in faults_of("gendr=x&limit=0&force=nowhere")} == {"gendr", "limit", "force"}


def test_a_hostile_value_is_not_repeated_whole() -> None:
    [(_, shown, _)] = faults_of([("gender", "\x00\x1b[2J" + "x" * 5000)])
    assert len(shown) <= 81
    assert "\x1b" not in shown


def test_a_query_of_thousands_of_parameters_is_refused() -> None:
    with pytest.raises(BadQuery, match="more than 200"):
        ask("&".join(["force=kent"] * 500))


def test_a_force_that_only_the_database_knows_can_be_asked_for() -> None:
    assert ask("force=new-force", known_forces=("new-force",)).filter.forces == ("new-force",)


def test_one_question_has_one_spelling_without_cursor_and_moment() -> None:
    one = ask("to=2020-02&force=kent&force=essex&cursor=abc&snapshot=" + "a" * 64)
    other = ask("force=essex,kent&to=2020-02")
    assert one.canonical == other.canonical == "force=essex&force=kent&to=2020-02"
    assert ask("force=essex&to=2020-02").canonical != other.canonical


def test_every_parameter_is_documented_with_a_schema() -> None:
    listed = openapi_parameters(ALLOWED)
    assert [each["name"] for each in listed] == [parameter.name for parameter in ALLOWED]
    assert all(each["description"].endswith(".") and each["schema"] for each in listed)
