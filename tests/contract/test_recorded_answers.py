"""
The stand-in gives what the publisher gave: its answers, made from CSV files, against recorded real ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx2
import msgspec
import pytest
from recordings import ANSWERS, RECORDED, read_answer, read_recorded

from builders.standin import RunningStandin, make_csv, running_standin

pytestmark = pytest.mark.contract

KEYS = frozenset(ANSWERS)


@pytest.fixture(scope="module")
def from_csv() -> Iterator[RunningStandin]:
    """
    A stand-in that holds the recorded answers as the CSV files that the publisher would have given.
    """
    with running_standin({key: make_csv(read_answer(*key)) for key in KEYS}) as standin:
        yield standin


def ask(standin: RunningStandin, path: str, **query: str) -> httpx2.Response:
    """
    Ask the API.
    """
    return httpx2.get(f"{standin.url}/{path}", params=query, timeout=20)


def shape(value: Any) -> Any:
    """
    Give the type of a value, and of what is in it.
    """
    if isinstance(value, dict):
        return tuple((key, shape(inner)) for key, inner in value.items())
    return type(value).__name__


def shapes(records: list[dict[str, Any]]) -> set[tuple[str, Any]]:
    return {(key, shape(value)) for record in records for key, value in record.items()}


def without_street(record: dict[str, Any]) -> bytes:
    """
    Give a record as comparable text without its street, which a CSV file does not have.
    """
    place = record["location"]
    if place is not None:
        place = {key: value for key, value in place.items() if key != "street"}
    return msgspec.json.encode(record | {"location": place}, order="deterministic")


@pytest.mark.parametrize("key", sorted(KEYS))
def test_gives_every_record_as_recorded_but_for_street_and_order(
    from_csv: RunningStandin, key: tuple[str, str]
) -> None:
    recorded = read_answer(*key)
    served = ask(from_csv, "stops-force", force=key[0], date=key[1]).json()
    assert len(recorded) == ANSWERS[key]
    assert Counter(map(without_street, served)) == Counter(map(without_street, recorded))


@pytest.mark.parametrize("key", sorted(KEYS))
def test_gives_the_recorded_keys_in_their_order_and_types(from_csv: RunningStandin, key: tuple[str, str]) -> None:
    recorded = read_answer(*key)
    served = ask(from_csv, "stops-force", force=key[0], date=key[1]).json()
    assert {tuple(record) for record in served} == {tuple(record) for record in recorded}
    assert shapes(served) == shapes(recorded)


@pytest.mark.parametrize("key", sorted(KEYS))
def test_gives_streets_that_look_like_real_ones_and_belong_to_the_point(
    from_csv: RunningStandin, key: tuple[str, str]
) -> None:
    served = ask(from_csv, "stops-force", force=key[0], date=key[1]).json()
    places = [record["location"] for record in served if record["location"]]
    assert all(place["street"]["name"].startswith("On or near ") for place in places)
    assert all(0 < place["street"]["id"] < 2**31 for place in places)
    streets: dict[tuple[str, str], set[int]] = {}
    for place in places:
        streets.setdefault((place["latitude"], place["longitude"]), set()).add(place["street"]["id"])
    assert {len(ids) for ids in streets.values()} == {1}


@pytest.mark.parametrize("key", sorted(KEYS))
def test_gives_records_in_no_order_and_always_the_same(from_csv: RunningStandin, key: tuple[str, str]) -> None:
    first, second = (ask(from_csv, "stops-force", force=key[0], date=key[1]).json() for _ in range(2))
    times = [record["datetime"] for record in first]
    assert times not in (sorted(times), sorted(times, reverse=True))
    assert first == second


def test_stops_without_location_are_those_of_stops_force_in_its_order(from_csv: RunningStandin) -> None:
    query = {"force": "leicestershire", "date": "2023-07"}
    recorded = read_recorded("stops-no-location_leicestershire_2023-07.json.gz")
    served = ask(from_csv, "stops-no-location", **query).json()
    assert Counter(map(without_street, served)) == Counter(map(without_street, recorded))
    whole = ask(from_csv, "stops-force", **query).json()
    assert served == [record for record in whole if record["location"] is None]


def test_a_stored_answer_is_served_as_it_is() -> None:
    with running_standin([RECORDED]) as standin:
        for force, month in KEYS:
            served = ask(standin, "stops-force", force=force, date=month)
            assert served.json() == read_answer(force, month)
        without = ask(standin, "stops-no-location", force="leicestershire", date="2023-07").json()
        assert without == read_recorded("stops-no-location_leicestershire_2023-07.json.gz")


def test_availability_lists_what_the_recorded_one_lists_in_its_shape() -> None:
    recorded = read_recorded("crimes-street-dates_2023-04_to_2023-06.json")
    held = {(force, entry["date"]): b"[]" for entry in recorded for force in entry["stop-and-search"]}
    with running_standin(held) as standin:
        assert ask(standin, "crimes-street-dates").text == msgspec.json.encode(recorded).decode()


def test_forces_are_the_recorded_ones_without_the_one_that_was_added() -> None:
    recorded = [force for force in read_recorded("forces_with-btp-added.json") if force["id"] != "btp"]
    with running_standin({("btp", "2023-07"): b"[]"}) as standin:
        assert ask(standin, "forces").json() == recorded
        assert len(recorded) == 44


@pytest.mark.parametrize(
    "path",
    ["stops-force?force=leicestershire&date=2023-07", "crimes-street-dates", "crime-last-updated", "forces"],
)
def test_headers_are_the_recorded_ones_and_no_others(from_csv: RunningStandin, path: str) -> None:
    recording = read_recorded("stops-street_poly_2018-11_nock-recording.json.gz")[0]
    pairs = iter(recording["rawHeaders"])
    recorded = {name.lower(): value for name, value in zip(pairs, pairs, strict=True)}
    response = httpx2.get(f"{from_csv.url}/{path}", headers={"Accept-Encoding": "identity", "Connection": "close"})
    assert response.status_code == recording["status"]
    assert set(response.headers) == set(recorded)
    changing = {"date", "content-length", "connection"}
    assert {name: response.headers[name] for name in set(recorded) - changing} == {
        name: value for name, value in recorded.items() if name not in changing
    }


def test_bodies_are_gzipped_when_asked_and_the_same_then(from_csv: RunningStandin) -> None:
    address = f"{from_csv.url}/stops-force?force=leicestershire&date=2023-07"
    plain = httpx2.get(address, headers={"Accept-Encoding": "identity"})
    zipped = httpx2.get(address, headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert zipped.headers["content-encoding"] == "gzip"
    assert plain.content == zipped.content
    assert int(zipped.headers["content-length"]) < len(plain.content) / 5


def test_a_polygon_gives_the_recorded_stops_that_lie_in_it() -> None:
    recording = read_recorded("stops-street_poly_2018-11_nock-recording.json.gz")[0]
    records = recording["response"]
    with running_standin({("suffolk", "2018-11"): records}) as standin:
        served = httpx2.get(standin.root + recording["path"]).json()
    assert served == records
    assert len(served) == 16
