"""
`/v1/forces`, `/v1/vocabulary` and `/v1/quality`: against the files, read with the standard library alone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from starlette.testclient import TestClient

from builders.archives import csv_rows, sample_month
from builders.ingests import bring_in, edition
from builders.source_bodies import csv_body
from stopsearch.domain.stops import ARCHIVE_COLUMNS
from stopsearch.domain.vocabulary import VOCABULARY
from stopsearch.store.database import Database

pytestmark = pytest.mark.integration

MakeApi = Callable[..., TestClient]
LONDON = ZoneInfo("Europe/London")


def data(api: TestClient, url: str) -> list[dict[str, Any]]:
    answer = api.get(url)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


def walk(api: TestClient, url: str | None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while url:
        page = api.get(url).json()
        found += page["data"]
        url = page["next"]
    return found


def test_forces_add_up_to_the_coverage(api: TestClient) -> None:
    cells = data(api, "/v1/coverage")
    months = {cell["month"] for cell in cells}
    for force in data(api, "/v1/forces"):
        own = [cell for cell in cells if cell["force"] == force["id"]]
        held = [cell for cell in own if cell["state"] == "held"]
        assert force["held"] == len(held)
        assert force["missing"] == len(own) - len(held) == len(months) - len(held)
        missing = Counter(cell["state"] for cell in own if cell["state"] != "held")
        assert force["missing_by_state"] == dict(missing)
        assert force["stops"] == sum(cell["stored"] for cell in held)
        assert (force["first_held"], force["last_held"]) == (held[0]["month"], held[-1]["month"])


def test_forces_say_whether_there_are_residents_and_why_not(api: TestClient) -> None:
    forces = {force["id"]: force for force in data(api, "/v1/forces")}
    assert forces["btp"]["residents"] is None
    assert "railways" in forces["btp"]["no_residents_because"]
    durham = forces["durham"]
    assert durham["name"] == "Durham Constabulary"
    assert set(durham["residents"]) == {"2011", "2021"}
    assert durham["no_residents_because"] is None


def test_force_of_which_nothing_is_held_has_no_stops_to_tell(database: Database, make_api: MakeApi) -> None:
    with database.connect() as connection:
        connection.execute("INSERT INTO force (code, id) VALUES (900, 'nowhere')")
        connection.execute("INSERT INTO month_release (force_code, month, state) VALUES (900, '2023-07-01', 'empty')")
    bring_in(database, edition(csv_body({})))
    [durham, nowhere] = data(make_api(database), "/v1/forces")
    assert (durham["stops"], durham["held"]) == (1, 1)
    assert (nowhere["stops"], nowhere["held"], nowhere["missing_by_state"]) == (None, 0, {"empty": 1})
    assert nowhere["name"] is None


def test_vocabulary_has_every_label_that_filters_take(api: TestClient) -> None:
    fields = {entry["field"]: entry for entry in data(api, "/v1/vocabulary")}
    assert set(VOCABULARY) < set(fields)
    for name, labels in VOCABULARY.items():
        assert [(label["label"], label["group"]) for label in fields[name]["labels"]] == [
            (label.text, label.group) for label in labels
        ]
        answer = api.get("/v1/stops", params={name: [label.text for label in labels] + ["none"], "limit": 1})
        assert answer.status_code == 200
    ethnicity = fields["self_defined_ethnicity"]
    assert ethnicity["labels"][-1] == {"label": "Other ethnic group - Not stated", "group": None}
    assert ethnicity["groups"] == ["White", "Mixed", "Asian", "Black", "Other"]
    assert ethnicity["group_field"] == "self_defined_ethnic_group"


@pytest.mark.parametrize(("force", "month"), [("durham", "2020-02"), ("south-yorkshire", "2020-01")])
def test_quality_agrees_with_the_file(api: TestClient, force: str, month: str) -> None:
    rows = csv_rows(sample_month(force, month))
    [told] = data(api, f"/v1/quality?force={force}&from={month}&to={month}")

    assert told["received"] == told["stored"] == len(rows)
    for column, name in ARCHIVE_COLUMNS.items():
        empty = sum(not row[column] for row in rows)
        assert told["not_given"][name] == {"count": empty, "of": len(rows), "share": round(empty / len(rows), 6)}
    repeats = sum(count - 1 for count in Counter(tuple(row.values()) for row in rows).values())
    assert told["repeats"]["count"] == repeats
    times = [datetime.fromisoformat(row["Date"]).astimezone(UTC) for row in rows]
    local = [time.astimezone(LONDON) for time in times]
    assert told["at_local_midnight"]["count"] == sum((at.hour, at.minute, at.second) == (0, 0, 0) for at in local)
    assert told["dated_outside_month"]["count"] == sum(f"{at:%Y-%m}" != month for at in local)
    assert told["far_from_force"]["of"] == sum(bool(row["Latitude"]) for row in rows)
    assert told["flags"] == ["restated"]


def test_quality_compares_the_volume_with_the_other_months(api: TestClient) -> None:
    months = data(api, "/v1/quality?force=durham&limit=500")
    for month in months:
        others = [each["stored"] for each in months if each is not month]
        assert month["volume"]["median_of_others"] == median(others)
        assert month["volume"]["other_months"] == len(others)
        assert month["volume"]["ratio"] == round(month["stored"] / median(others), 4)
    # It is the snapshot's other months that count, not those that were asked for.
    [alone] = data(api, "/v1/quality?force=durham&from=2020-02&to=2020-02")
    assert alone == next(month for month in months if month["month"] == "2020-02")


def test_quality_has_no_single_score(api: TestClient) -> None:
    [month] = data(api, "/v1/quality?limit=1")
    assert not [name for name in month if re.search("score|grade|rating", name)]


def test_quality_counts_what_was_rejected_and_mended_by_rule(database: Database, make_api: MakeApi) -> None:
    stops = [{}, {"gender": "Unknown"}, {"gender": "Unknown", "age_range": "old"}, {"latitude": "0", "longitude": "0"}]
    bring_in(database, edition(csv_body(*stops)))
    [told] = data(make_api(database), "/v1/quality")
    assert (told["received"], told["stored"]) == (4, 2)
    assert told["rejected"] == {"count": 2, "of": 4, "share": 0.5}
    assert told["rejected_by_rule"] == {"age_range_is_known": 1, "gender_is_known": 2}
    assert sum(told["mended_by_rule"].values()) == 1
    assert told["volume"] == {"stops": 2, "other_months": 0, "median_of_others": None, "ratio": None}


def test_quality_pages_give_every_held_month_once(api: TestClient) -> None:
    held = [(c["force"], c["month"]) for c in data(api, "/v1/coverage") if c["state"] == "held"]
    assert [(each["force"], each["month"]) for each in walk(api, "/v1/quality?limit=37")] == held


def test_answers_of_a_snapshot_stay_as_they_are(own_stocked: Database, make_api: MakeApi) -> None:
    api = make_api(own_stocked)
    snapshot = api.get("/v1/forces").json()["meta"]["snapshot"]["id"]
    urls = [f"/v1/{name}?snapshot={snapshot}" for name in ("forces", "quality", "vocabulary", "coverage", "revisions")]
    before = [api.get(url).content for url in urls]
    bring_in(own_stocked, edition(csv_body({}), month="2020-02", published="2024-01"))
    with own_stocked.connect() as connection:
        connection.execute("UPDATE force SET name = 'Another name'")
        connection.execute("UPDATE month_release SET doubtful_since = now(), last_checked_at = now()")
        connection.execute("UPDATE revision SET confirmed_at = now()")
        connection.execute("DELETE FROM population")
    assert [api.get(url).content for url in urls] == before
    assert [make_api(own_stocked).get(url).content for url in urls] == before
