"""
The formats of a page of stops: each can be read back, and says the same as the rows of the database in words.
"""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime
from typing import Any

import pytest
from starlette.testclient import TestClient

from builders.plain_stops import PlainStops, Row, read_plain_stops
from builders.walks import pages_of
from stopsearch.store.database import Database
from stopsearch.store.export_rows import BOOLEAN_COLUMNS, COLUMNS

pytestmark = pytest.mark.integration

_DERIVED = {"is_month_doubled": "is_doubled", "is_month_date_only": "is_date_only"}


@pytest.fixture(scope="module")
def plain(stocked: Database) -> PlainStops:
    return read_plain_stops(stocked)


def _told(row: Row, plain: PlainStops) -> dict[str, Any]:
    """
    Give a row of the view as the API tells it.
    """
    revision = plain.served[row["force"], row["month"]]
    at: datetime = row["datetime"]
    return {
        **{name: revision[_DERIVED[name]] if name in _DERIVED else row[name] for name in COLUMNS},
        "id": str(row["id"]),
        "datetime": at.isoformat(),
        "local_date": row["local_date"].isoformat(),
    }


def test_json_tells_every_field_of_every_stop(api: TestClient, plain: PlainStops) -> None:
    rows = iter(plain.find({}))
    for page in pages_of(api, {"limit": "1000"}):
        for stop in page["data"]:
            expected = _told(next(rows), plain)
            assert stop == expected
            assert list(stop) == list(COLUMNS)
    assert next(rows, None) is None


def test_fractions_of_seconds_have_six_digits(api: TestClient, plain: PlainStops) -> None:
    """
    Cumbria publishes microseconds; whole seconds have none.
    """
    rows = [row for row in plain.find({"force": "cumbria"}) if row["datetime"].microsecond]
    assert rows
    told = [
        stop["datetime"]
        for page in pages_of(api, {"force": "cumbria", "limit": "1000"})
        for stop in page["data"]
        if "." in stop["datetime"]
    ]
    assert told == [row["datetime"].isoformat() for row in rows]
    assert all(len(text) == len("2020-01-01T00:00:00.000000+00:00") for text in told)


def test_csv_says_the_same_as_json(api: TestClient) -> None:
    query = {"limit": "1000", "force": "leicestershire,dyfed-powys"}
    stops = api.get("/v1/stops", params=query).json()["data"]
    answer = api.get("/v1/stops.csv", params=query)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    header, *lines = csv.reader(io.StringIO(answer.text))
    assert tuple(header) == COLUMNS
    assert len(lines) == len(stops) == 1000
    for line, stop in zip(lines, stops, strict=True):
        assert line == [_cell(name, stop[name]) for name in COLUMNS]


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name in BOOLEAN_COLUMNS:
        return "true" if value else "false"
    return f"{value:.6f}" if name in ("latitude", "longitude") else str(value)


def test_ndjson_says_the_same_as_json(api: TestClient) -> None:
    stops = api.get("/v1/stops", params={"limit": "500"}).json()["data"]
    answer = api.get("/v1/stops.ndjson", params={"limit": "500"})
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.text.endswith("}\n")
    assert [json.loads(line) for line in answer.text.splitlines()] == stops


def test_geojson_says_the_same_as_json(api: TestClient) -> None:
    query = {"limit": "1000", "force": "leicestershire,dyfed-powys"}
    told = api.get("/v1/stops", params=query).json()
    answer = api.get("/v1/stops.geojson", params=query)
    assert answer.headers["content-type"] == "application/geo+json"
    collection = answer.json()
    assert collection["type"] == "FeatureCollection"
    assert collection["meta"]["coverage"] == told["meta"]["coverage"]
    assert [feature["properties"] for feature in collection["features"]] == told["data"]
    assert {feature["geometry"] is None for feature in collection["features"]} == {True, False}
    for feature, stop in zip(collection["features"], told["data"], strict=True):
        assert (feature["type"], feature["id"]) == ("Feature", stop["id"])
        place = {"type": "Point", "coordinates": [stop["longitude"], stop["latitude"]]}
        assert feature["geometry"] == (place if stop["latitude"] is not None else None)
    following = api.get(collection["next"]).json()
    assert following["type"] == "FeatureCollection"
    assert following["features"][0]["id"] == api.get(told["next"]).json()["data"][0]["id"]


@pytest.mark.parametrize("suffix", ["csv", "ndjson"])
def test_lines_are_followed_by_a_link(api: TestClient, suffix: str) -> None:
    answer = api.get(f"/v1/stops.{suffix}", params={"force": "durham", "limit": "1000", "fields": "id"})
    pages = [answer]
    while "next" in answer.links:
        answer = api.get(answer.links["next"]["url"])
        pages.append(answer)
    lines = [line for page in pages for line in page.text.splitlines() if line != "id"]
    ids = [json.loads(line)["id"] if suffix == "ndjson" else line for line in lines]
    expected = [stop["id"] for page in pages_of(api, {"force": "durham", "limit": "1000"}) for stop in page["data"]]
    assert ids == expected
    assert len(pages) > 1
    assert "link" not in pages[-1].headers


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/csv", "text/csv; charset=utf-8"),
        ("application/x-ndjson", "application/x-ndjson"),
        ("application/geo+json, */*;q=0.1", "application/geo+json"),
        ("text/html, */*;q=0.5", "application/json"),
        ("application/json;q=0.2, text/csv;q=0.9", "text/csv; charset=utf-8"),
        ("text/*", "text/csv; charset=utf-8"),
        ("application/*", "application/json"),
    ],
)
def test_the_accept_header_chooses(api: TestClient, accept: str, content_type: str) -> None:
    answer = api.get("/v1/stops", params={"limit": "1"}, headers={"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (200, content_type)
    assert "Accept" in answer.headers["vary"]
    # A suffix is stronger.
    suffixed = api.get("/v1/stops.json", params={"limit": "1"}, headers={"Accept": accept})
    assert suffixed.headers["content-type"] == "application/json"


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", "image/*", "text/csv;q=0, application/xml"])
def test_what_can_not_be_given_is_refused(api: TestClient, accept: str) -> None:
    answer = api.get("/v1/stops", params={"limit": "1"}, headers={"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (406, "application/problem+json")
    assert "text/csv" in answer.json()["remedy"]


def test_formats_have_tags_of_their_own(api: TestClient) -> None:
    tags = {
        api.get("/v1/stops", params={"limit": "1"}, headers={"Accept": accept}).headers["etag"]
        for accept in ("application/json", "text/csv", "application/x-ndjson", "application/geo+json")
    }
    assert len(tags) == 4


@pytest.mark.parametrize(
    "fields",
    [
        ("id",),
        ("outcome", "id", "force"),
        ("is_month_doubled", "month"),
        ("longitude", "latitude"),
        (
            "officer_defined_ethnic_group",
            "self_defined_ethnicity",
            "gender",
            "datetime",
            "local_date",
            "operation_name",
        ),
        tuple(reversed(COLUMNS)),
        *((name,) for name in COLUMNS),
    ],
)
def test_fields_are_given_in_the_order_asked_for(api: TestClient, fields: tuple[str, ...]) -> None:
    query = {"limit": "200", "force": "leicestershire"}
    whole = api.get("/v1/stops", params=query).json()["data"]
    asked = {**query, "fields": ",".join(fields)}
    stops = api.get("/v1/stops", params=asked).json()["data"]
    assert [list(stop.items()) for stop in stops] == [[(name, stop[name]) for name in fields] for stop in whole]
    header, *lines = csv.reader(io.StringIO(api.get("/v1/stops.csv", params=asked).text))
    assert tuple(header) == fields
    assert lines == [[_cell(name, stop[name]) for name in fields] for stop in whole]
    feature = api.get("/v1/stops.geojson", params=asked).json()["features"][0]
    assert tuple(feature["properties"]) == fields


def test_unknown_fields_are_refused(api: TestClient) -> None:
    answer = api.get("/v1/stops", params={"fields": "id,outcom"})
    assert answer.status_code == 422
    assert "did you mean outcome" in answer.json()["errors"][0]["reason"]
