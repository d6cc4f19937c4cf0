"""
`/v1/coverage`: the kinds of missing told apart, never as zero stops, the same for ever; and what stands now.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from builders.ingests import bring_in, edition
from builders.source_bodies import csv_body
from stopsearch.domain.states import MonthState
from stopsearch.flows.coverage import coverage
from stopsearch.flows.snapshot_coverage import STATE_LETTERS
from stopsearch.store.database import Database
from stopsearch.store.forces import force_code

pytestmark = pytest.mark.integration

# One force-month in each state that is not "held", as the ledger keeps it.
MISSING = {
    "2023-01": "due",
    "2023-02": "empty",
    "2023-03": "failed",
    "2023-04": "refused",
    "2023-05": "not_listed",
    "2023-06": "out_of_window",
}


def get(api: TestClient, query: str) -> dict[str, Any]:
    answer = api.get(f"/v1/coverage?{query}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def set_state(database: Database, month: str, state: str) -> None:
    with database.connect() as connection:
        connection.execute(
            """
            INSERT INTO month_release (force_code, month, state) VALUES (%(code)s, %(month)s::date, %(state)s)
            ON CONFLICT (force_code, month) DO UPDATE SET state = excluded.state
            """,
            {"code": force_code(connection, "durham"), "month": f"{month}-01", "state": state},
        )


def test_kinds_of_missing_are_told_apart_and_none_is_zero(
    database: Database, make_api: Callable[..., TestClient]
) -> None:
    for month, state in MISSING.items():
        set_state(database, month, state)
    bring_in(database, edition(csv_body({}, {"gender": "Female"})))
    api = make_api(database)

    found = get(api, "force=durham")

    by_month = {cell["month"]: cell for cell in found["data"]}
    assert {month: by_month[month]["state"] for month in MISSING} == MISSING
    assert all(
        by_month[month][count] is None for month in MISSING for count in ("revision", "received", "stored", "rejected")
    )
    held = by_month["2023-07"]
    assert (held["state"], held["revision"], held["received"], held["stored"], held["rejected"]) == ("held", 1, 2, 2, 0)
    assert found["meta"]["totals"] == dict.fromkeys(map(str, MonthState), 1)
    coverage_meta = found["meta"]["coverage"]
    assert (coverage_meta["expected"], coverage_meta["held"], coverage_meta["missing"]) == (7, 1, 6)


def test_snapshot_is_told_as_it_was_and_live_as_it_is(database: Database, make_api: Callable[..., TestClient]) -> None:
    set_state(database, "2023-06", "due")
    bring_in(database, edition(csv_body({})))
    api = make_api(database)
    first = api.get("/v1/coverage")
    assert [cell["state"] for cell in first.json()["data"]] == ["due", "held"]

    # Nothing of it makes a new revision, so that the snapshot stays the same.
    set_state(database, "2023-06", "failed")
    set_state(database, "2023-05", "empty")
    with database.connect() as connection:
        connection.execute("UPDATE month_release SET doubtful_since = now() WHERE state = 'held'")

    again = api.get("/v1/coverage")
    assert again.content == first.content
    assert again.headers["etag"] == first.headers["etag"]
    # Neither does a server that knows nothing of it yet tell it otherwise.
    assert make_api(database).get("/v1/coverage").content == first.content
    live = api.get("/v1/coverage?live=true")
    assert [cell["state"] for cell in live.json()["data"]] == ["empty", "failed", "held"]
    assert live.json()["data"][-1]["flags"] == ["doubtful"]
    assert live.headers["cache-control"] == "no-store"
    assert live.json()["meta"]["live"] is True
    assert {"citation", "snapshot"}.isdisjoint(live.json()["meta"])
    assert "etag" not in live.headers
    refused = api.get("/v1/coverage?live=true&as_of=2023-01-01")
    assert (refused.status_code, refused.json()["errors"][0]["parameter"]) == (422, "as_of")


def test_past_has_the_revision_that_was_served_then(database: Database, make_api: Callable[..., TestClient]) -> None:
    bring_in(database, edition(csv_body({}), published="2023-10"))
    api = make_api(database)
    first = api.get("/v1/coverage")
    bring_in(database, edition(csv_body({}, {"gender": "Female"}), published="2023-11"))

    [cell] = get(api, "")["data"]
    assert (cell["revision"], cell["stored"], cell["flags"]) == (2, 2, ["restated"])
    snapshot = first.json()["meta"]["snapshot"]
    pinned = api.get(f"/v1/coverage?snapshot={snapshot['id']}")
    assert pinned.content == first.content
    assert get(api, f"as_of={snapshot['served_from'].replace('+', '%2B')}")["data"] == first.json()["data"]


def test_agrees_with_what_the_ledger_says_now(api: TestClient, stocked: Database) -> None:
    expected = [cell.as_json() for cell in coverage(stocked).cells]
    assert get(api, "")["data"] == expected
    assert get(api, "live=true")["data"] == expected


def test_flags_are_those_of_the_real_files(api: TestClient) -> None:
    cells = {(cell["force"], cell["month"]): cell for cell in get(api, "")["data"]}
    restated = {key for key, cell in cells.items() if "restated" in cell["flags"]}
    assert restated == {("durham", "2020-01"), ("durham", "2020-02"), ("south-yorkshire", "2020-01")}
    told = get(api, "")["meta"]["coverage"]
    flags = Counter(flag for cell in cells.values() for flag in cell["flags"])
    assert (flags["doubled"], flags["date-only"], flags["doubtful"]) == (told["doubled"], told["date_only"], 0)
    assert flags["doubled"]
    assert flags["date-only"]


def test_filters_and_matrix_say_the_same(api: TestClient) -> None:
    query = "force=durham,kent&from=2020-01&to=2020-12"
    cells = get(api, query)["data"]
    assert {(cell["force"], cell["month"]) for cell in cells} == {
        (force, f"2020-{month:02}") for force in ("durham", "kent") for month in range(1, 13)
    }
    matrix = get(api, f"{query}&form=matrix")["data"]
    assert matrix["letters"] == {letter: str(state) for state, letter in STATE_LETTERS.items()}
    unfolded = [
        (row["force"], month, matrix["letters"][letter], stops)
        for row in matrix["forces"]
        for month, letter, stops in zip(matrix["months"], row["states"], row["stops"], strict=True)
    ]
    assert unfolded == [(cell["force"], cell["month"], cell["state"], cell["stored"]) for cell in cells]


def test_force_that_nothing_is_known_of_is_not_listed_and_not_zero(api: TestClient) -> None:
    cells = get(api, "force=essex&from=2020-01&to=2020-02")["data"]
    assert [(cell["month"], cell["state"], cell["stored"]) for cell in cells] == [
        ("2020-01", "not_listed", None),
        ("2020-02", "not_listed", None),
    ]
    outside = get(api, "force=durham&from=2011-01&to=2011-02")
    assert [(cell["month"], cell["state"], cell["stored"]) for cell in outside["data"]] == [
        ("2011-01", "not_listed", None),
        ("2011-02", "not_listed", None),
    ]
    assert outside["meta"]["coverage"]["missing"] == outside["meta"]["totals"]["not_listed"] == 2
