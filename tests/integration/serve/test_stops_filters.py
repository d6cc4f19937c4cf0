"""
Every filter of /v1/stops against a count in plain Python over the same real rows: the same ids, in the same order.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from builders.ingests import bring_in, edition
from builders.plain_stops import PlainStops, Query, read_plain_stops
from builders.standin import make_api_record
from builders.walks import walk
from stopsearch.domain.dimensions import GROUPED_FIELDS
from stopsearch.domain.stops import BOOLEAN_FIELDS
from stopsearch.domain.vocabulary import VOCABULARY
from stopsearch.store.database import Database

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def plain(stocked: Database) -> PlainStops:
    return read_plain_stops(stocked)


def _check(api: TestClient, plain: PlainStops, query: Query, *, may_be_empty: bool = False) -> None:
    expected = plain.ids(query)
    assert expected or may_be_empty, f"{query} finds nothing, and so tests nothing"
    assert walk(api, query) == expected, query


@pytest.mark.parametrize("field", VOCABULARY)
def test_every_label_and_none_is_found(api: TestClient, plain: PlainStops, field: str) -> None:
    expected: dict[str, list[str]] = defaultdict(list)
    for row in plain.find({}):
        expected[row[field] or "none"].append(str(row["id"]))
    assert len(expected) > 1
    for value in [*(label.text for label in VOCABULARY[field]), "none"]:
        assert walk(api, {field: value}) == expected[value], value


@pytest.mark.parametrize("name", GROUPED_FIELDS)
def test_every_group_and_none_is_found(api: TestClient, plain: PlainStops, name: str) -> None:
    groups = {label.group for label in VOCABULARY[GROUPED_FIELDS[name]] if label.group} | {"none"}
    found = [walk(api, {name: group}) for group in sorted(groups)]
    assert found == [plain.ids({name: group}) for group in sorted(groups)]
    # Every stop is of one group, or of none.
    assert sum(map(len, found)) == len(plain.ids({}))


def test_none_of_a_group_covers_not_stated(api: TestClient, plain: PlainStops) -> None:
    not_stated = plain.ids({"self_defined_ethnicity": "Other ethnic group - Not stated"})
    assert not_stated
    assert set(not_stated) < set(walk(api, {"self_defined_ethnic_group": "none"}))


@pytest.mark.parametrize("field", BOOLEAN_FIELDS)
@pytest.mark.parametrize("value", ["true", "false", "none"])
def test_three_valued_fields(api: TestClient, plain: PlainStops, field: str, value: str) -> None:
    _check(api, plain, {field: value}, may_be_empty=True)


_COMBINATIONS: list[dict[str, Any]] = [
    # Forces: one, a few (read one by one and merged), many (read together), and all.
    {"force": "leicestershire"},
    {"force": ["leicestershire", "city-of-london"]},
    {"force": "wiltshire,durham,metropolitan"},
    {"force": ["leicestershire", "northern-ireland"]},
    # Months: both ends included, one end, one month, the last of them.
    {"from": "2019-03", "to": "2019-05"},
    {"to": "2019-01"},
    {"from": "2023-07"},
    {"from": "2020-02", "to": "2020-02", "force": "south-yorkshire,durham"},
    {"force": "dyfed-powys", "from": "2019-06", "to": "2019-06"},
    # Times: half-open, with the zone rule for dates; in summer a day begins at 23:00 UTC.
    {"datetime_from": "2019-06-01", "datetime_before": "2019-06-02"},
    {"datetime_from": "2019-03-31", "datetime_before": "2019-04-01"},
    {"datetime_from": "2019-12-01", "datetime_before": "2019-12-02"},
    {"datetime_from": "2019-06-01T00:00:00Z", "datetime_before": "2019-06-01T12:00:00+01:00"},
    {"datetime_before": "2019-01-03", "force": "kent,durham"},
    {"from": "2019-05", "to": "2019-06", "datetime_from": "2019-05-31", "force": "dyfed-powys"},
    # Labels: several of one field, with none, and of several fields.
    {"gender": ["Female", "Other"]},
    {"outcome": ["Arrest", "none"], "force": "durham"},
    {"self_defined_ethnic_group": ["Black", "none"], "officer_defined_ethnicity": "White"},
    {"self_defined_ethnicity": "Other ethnic group - Not stated", "self_defined_ethnic_group": "none"},
    {"self_defined_ethnicity": "Other ethnic group - Not stated", "gender": "none"},
    {"outcome_group": ["Arrest", "Summons or charge"], "object_of_search": "Stolen goods", "age_range": "10-17"},
    {"type": "Vehicle search", "legislation": "Misuse of Drugs Act 1971 (section 23)"},
    {"outcome_linked_to_object_of_search": "true", "removal_of_more_than_outer_clothing": "false"},
    # Places.
    {"located": "true", "force": "leicestershire"},
    {"located": "false", "force": "leicestershire,dyfed-powys"},
    {"bbox": "-1.2,52.55,-1.05,52.7"},
    {"near": "52.6369,-1.1398", "radius_m": "500"},
    {"near": "51.5,0.0", "radius_m": "100000", "gender": "Female"},
    {"near": "52.6369,-1.1398", "radius_m": "2500", "bbox": "-1.15,52.6,-1.0,52.7", "from": "2019-06"},
    {"far_from_force": "true"},
    {"far_from_force": "false", "force": "kent"},
    # What is told of whole force-months.
    {"date_only": "true"},
    {"date_only": "false", "to": "2019-02"},
    {"doubled": "true"},
    {"doubled": "false", "date_only": "true", "force": "wiltshire"},
    {"doubled": "true", "force": "city-of-london,cambridgeshire", "gender": "Male"},
    # Revisions: the earlier editions of five force-months are in the sample.
    {"revision_state": "restated"},
    {"revision_state": "withdrawn"},
    {"revision_state": "withdrawn", "force": "durham", "from": "2020-02"},
    {"revision_state": "restated", "outcome_group": "No further action", "to": "2020-01"},
    {"revision_state": "served", "force": "south-yorkshire", "from": "2020-01"},
    {"revision_state": "withdrawn", "datetime_from": "2020-01-15", "gender": "Female"},
]


@pytest.mark.parametrize("query", _COMBINATIONS, ids=lambda query: "&".join(f"{name}={query[name]}" for name in query))
def test_filters_find_what_a_plain_count_finds(api: TestClient, plain: PlainStops, query: Query) -> None:
    _check(api, plain, query)


def test_both_times_are_half_open(api: TestClient, plain: PlainStops) -> None:
    """
    The stop at the very instant belongs to the range that begins with it, and not to the one that ends there.
    """
    times = Counter(row["datetime"] for row in plain.rows if row["withdrawn_revision"] is None)
    instant = max(times, key=lambda at: times[at]).isoformat().replace("+00:00", "Z")
    before, after = {"datetime_before": instant}, {"datetime_from": instant}
    _check(api, plain, {**before, "force": "leicestershire,kent,south-yorkshire"})
    assert sorted(walk(api, before) + walk(api, after)) == sorted(plain.ids({}))


def test_the_edges_of_a_box_are_included(api: TestClient, plain: PlainStops) -> None:
    row = next(row for row in plain.rows if row["latitude"] is not None and row["withdrawn_revision"] is None)
    latitude, longitude = f"{row['latitude']:.6f}", f"{row['longitude']:.6f}"
    inside = f"{longitude},{latitude},{longitude},{latitude}"
    assert str(row["id"]) in walk(api, {"bbox": inside})
    _check(api, plain, {"bbox": inside})
    beside = f"{row['longitude'] + 0.000001:.6f},{latitude},{row['longitude'] + 1:.6f},{latitude}"
    assert str(row["id"]) not in walk(api, {"bbox": beside})


def test_forces_and_months_that_hold_nothing_are_empty(api: TestClient) -> None:
    for query in ({"force": "northern-ireland"}, {"from": "2025-06"}, {"force": "durham", "to": "2016-12"}):
        assert walk(api, query) == []


def test_operation_names(database: Database, make_api: Callable[..., TestClient]) -> None:
    """
    No published record has one; the field is there, and its names may hold anything.
    """
    names = ["Sceptre", '=cmd|"/c calc"!A0', None]
    records = [make_api_record(operation=name is not None, operation_name=name) for name in names]
    bring_in(database, edition(records))
    api, plain = make_api(database), read_plain_stops(database)
    for name in names[:2]:
        _check(api, plain, {"operation_name": str(name)})
    assert walk(api, {"operation_name": "sceptre"}) == []
    told = {stop["operation_name"] for stop in api.get("/v1/stops").json()["data"]}
    assert told == set(names)
    assert "'=cmd" in api.get("/v1/stops.csv").text
