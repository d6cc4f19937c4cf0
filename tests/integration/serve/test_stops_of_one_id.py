"""
One stop by its id: whoever cites an id finds what it meant, and what became of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from starlette.testclient import TestClient

from builders.ingests import bring_in, edition
from builders.plain_stops import read_plain_stops
from builders.standin import make_api_record
from stopsearch.store.database import Database

pytestmark = pytest.mark.integration

MakeApi = Callable[..., TestClient]

_KEPT = make_api_record(datetime="2023-07-10T10:00:00+00:00")
_LOST = make_api_record(datetime="2023-07-11T10:00:00+00:00", location=None)
_LATE = make_api_record(datetime="2023-07-13T10:00:00+00:00")
_NEW = make_api_record(datetime="2023-07-12T10:00:00+00:00")


@pytest.fixture
def revised(database: Database) -> Database:
    """
    A month of three revisions: one stop stays, one goes and comes back, one comes and goes.
    """
    for records in ([_KEPT, _LOST], [_NEW, _KEPT], [_LOST, _KEPT, _LATE]):
        bring_in(database, edition(records))
    return database


def _ids(database: Database) -> dict[int, str]:
    return {row["datetime"].day: str(row["id"]) for row in read_plain_stops(database).rows}


def _get(api: TestClient, stop_id: str, **query: str) -> dict[str, Any]:
    answer = api.get(f"/v1/stops/{stop_id}", params=query)
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


def test_a_stop_that_stayed_has_one_interval(revised: Database, make_api: MakeApi) -> None:
    api = make_api(revised)
    found = _get(api, _ids(revised)[10])
    [page_stop] = [stop for stop in api.get("/v1/stops").json()["data"] if stop["id"] == _ids(revised)[10]]
    assert found["stop"] == page_stop
    assert found["is_served"] is True
    assert found["force_month"] == {
        "force": "durham",
        "month": "2023-07",
        "revision": 3,
        "is_restated": True,
        "is_doubled": False,
        "is_date_only": False,
    }
    [interval] = found["history"]
    assert (interval["first_revision"], interval["withdrawn_revision"], interval["record_number"]) == (1, None, 1)
    assert (interval["cause"], interval["withdrawn_cause"], interval["is_served"]) == ("upstream", None, True)
    assert (interval["served_until"], interval["differs"]) == (None, {})
    assert found["street"] == {"id": 1737432, "name": "On or near Crescent Street", "is_outside_snapshot": True}


def test_a_stop_that_came_back_has_two_intervals(revised: Database, make_api: MakeApi) -> None:
    found = _get(make_api(revised), _ids(revised)[11])
    first, second = found["history"]
    assert (first["first_revision"], first["withdrawn_revision"], first["is_served"]) == (1, 2, False)
    assert (second["first_revision"], second["withdrawn_revision"], second["is_served"]) == (3, None, True)
    assert first["served_from"] < first["served_until"] < second["served_from"]
    assert first["withdrawn_cause"] == "upstream"
    assert (first["record_number"], second["record_number"]) == (2, 1)
    assert (found["is_served"], found["street"]) == (True, None)


def test_a_stop_that_went_is_found_still(revised: Database, make_api: MakeApi) -> None:
    api = make_api(revised)
    found = _get(api, _ids(revised)[12])
    [interval] = found["history"]
    assert (found["is_served"], interval["is_served"]) == (False, False)
    assert (interval["first_revision"], interval["withdrawn_revision"]) == (2, 3)
    assert found["stop"]["datetime"] == "2023-07-12T10:00:00+00:00"
    assert _ids(revised)[12] not in [stop["id"] for stop in api.get("/v1/stops").json()["data"]]


def test_a_snapshot_tells_nothing_of_what_came_later(database: Database, make_api: MakeApi) -> None:
    api = make_api(database)
    bring_in(database, edition([_KEPT, _LOST]))
    first = api.get("/v1/stops").json()["meta"]["snapshot"]["id"]
    lost, kept = _ids(database)[11], _ids(database)[10]
    told = {stop_id: api.get(f"/v1/stops/{stop_id}?snapshot={first}").content for stop_id in (lost, kept)}
    bring_in(database, edition([_NEW, _KEPT]))
    second = api.get("/v1/stops").json()["meta"]["snapshot"]["id"]
    bring_in(database, edition([_LOST, _KEPT, _NEW]))
    for stop_id, content in told.items():
        assert api.get(f"/v1/stops/{stop_id}?snapshot={first}").content == content
    of_second = _get(api, lost, snapshot=second)
    assert (len(of_second["history"]), of_second["is_served"]) == (1, False)
    assert of_second["history"][0]["withdrawn_revision"] == 2
    assert len(_get(api, lost)["history"]) == 2
    unborn = api.get(f"/v1/stops/{_ids(database)[12]}", params={"snapshot": first})
    assert (unborn.status_code, unborn.json()["type"]) == (404, "/problems/unknown_stop")
    instant = unborn.json()["remedy"].removeprefix("Ask with as_of=").removesuffix(".")
    assert _get(api, _ids(database)[12], as_of=instant)["is_served"] is True


def test_values_that_were_others_are_told(revised: Database, make_api: MakeApi) -> None:
    """
    Other rules may tell the same record otherwise: the row before keeps its values.
    """
    with revised.connect(autocommit=True) as connection:
        connection.execute(
            "UPDATE stop SET outcome_code = NULL WHERE id = %s AND first_revision = 1", [UUID(_ids(revised)[11])]
        )
    found = _get(make_api(revised), _ids(revised)[11])
    assert found["stop"]["outcome"] == "A no further action disposal"
    assert [each["differs"] for each in found["history"]] == [{"outcome": None, "outcome_group": None}, {}]


def test_a_street_that_becomes_known_changes_the_tag(database: Database, make_api: MakeApi) -> None:
    place = {**_KEPT["location"], "street": None}
    bring_in(database, edition([{**_KEPT, "location": place}]))
    api, stop_id = make_api(database), _ids(database)[10]
    before = api.get(f"/v1/stops/{stop_id}")
    assert before.json()["data"]["street"] is None
    tag = {"If-None-Match": before.headers["etag"]}
    assert api.get(f"/v1/stops/{stop_id}", headers=tag).status_code == 304
    assert "immutable" not in before.headers["cache-control"]
    bring_in(database, edition([_KEPT], force="kent"))
    snapshot = before.json()["meta"]["snapshot"]["id"]
    after = api.get(f"/v1/stops/{stop_id}", params={"snapshot": snapshot}, headers=tag)
    assert after.status_code == 200
    assert after.json()["data"]["street"]["name"] == "On or near Crescent Street"


def test_ids_that_are_none_and_ids_of_nothing(api: TestClient) -> None:
    for malformed in (
        "1",
        "x" * 36,
        "5ea43a210b228e5bb366a242e0c4c6d5",
        "%00",
        "{5ea43a21-0b22-8e5b-b366-a242e0c4c6d5}",
    ):
        answer = api.get(f"/v1/stops/{malformed}")
        assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (422, "stop_id"), malformed
    unknown = api.get("/v1/stops/00000000-0000-8000-8000-000000000000")
    assert (unknown.status_code, unknown.json()["type"]) == (404, "/problems/unknown_stop")
    assert unknown.json()["remedy"]


def test_an_id_may_be_written_in_capitals(api: TestClient) -> None:
    stop_id = api.get("/v1/stops", params={"limit": "1"}).json()["data"][0]["id"]
    assert _get(api, stop_id.upper())["stop"]["id"] == stop_id
