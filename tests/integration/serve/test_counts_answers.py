"""
What the totals' answers carry: their rows in each format, what they were counted from, every gap, and nothing stale.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from builders.command_line import command_line_of
from builders.sample_rows import sample_rows
from stopsearch.serve.total_examples import COUNTS_AS_CSV, COUNTS_AS_NDJSON, COUNTS_EXAMPLE, COUNTS_QUERY
from stopsearch.store.database import Database

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("stocked")]


def expected(by: Sequence[str], wanted: Callable[[dict[str, Any]], bool]) -> Counter[tuple[Any, ...]]:
    return Counter(tuple(stop[group] for group in by) for stop in sample_rows().stops if wanted(stop))


def test_the_answer_carries_rows_and_what_they_were_counted_from(api: TestClient) -> None:
    answer = api.get("/v1/counts?by=force,month,self_defined_ethnic_group&force=suffolk,durham&from=2020-01&to=2020-03")

    by = ("force", "month", "self_defined_ethnic_group")
    wanted = expected(
        by, lambda stop: stop["force"] in ("suffolk", "durham") and "2020-01" <= stop["month"] <= "2020-03"
    )
    body = answer.json()
    assert answer.status_code == 200
    assert {tuple(row[group] for group in by): row["stops"] for row in body["data"]} == wanted
    assert [list(row) for row in body["data"]] == [[*by, "stops"]] * len(wanted)
    assert body["next"] is None
    assert body["meta"]["by"] == list(by)
    assert body["meta"]["counted_from"] == "stop_total"
    assert 0 < body["meta"]["unknown_ethnicity"]["self_defined_ethnicity"] < 1


def test_a_missing_month_is_a_gap_and_never_zero(api: TestClient) -> None:
    held = sample_rows().held
    body = api.get("/v1/counts?by=force,month&from=2020-01&to=2020-12").json()
    counted = {(row["force"], row["month"]): row["stops"] for row in body["data"]}
    gaps = {
        (gap["force"], f"2020-{number:02d}")
        for gap in body["meta"]["coverage"]["gaps"]
        for number in range(int(gap["from"][5:]), int(gap["to"][5:]) + 1)
    }
    asked = {(force, f"2020-{number:02d}") for force in {force for force, _ in held} for number in range(1, 13)}

    assert counted.keys() == {key for key in held if key[1].startswith("2020")}
    assert gaps == asked - held
    assert gaps
    assert 0 not in counted.values()
    assert body["meta"]["coverage"]["missing"] == len(gaps)


def test_without_groups_there_is_one_row(api: TestClient) -> None:
    everything = api.get("/v1/counts").json()
    none_of_them = api.get("/v1/counts?force=btp&from=2020-07&to=2020-07&operation_name=Nobody").json()

    assert everything["data"] == [{"stops": len(sample_rows().stops)}]
    assert everything["meta"]["counted_from"] == "revisions"
    assert none_of_them["data"] == [{"stops": 0}]


@pytest.mark.parametrize("query", ["to=2010-12", "force=essex", "force=metropolitan&from=2025-01&to=2025-03"])
def test_a_total_over_nothing_held_is_not_zero(api: TestClient, query: str) -> None:
    body = api.get(f"/v1/counts?{query}").json()
    assert body["data"] == []
    covers = body["meta"]["coverage"]
    assert covers["held"] == 0
    assert covers["expected"] == covers["missing"] > 0
    assert covers["gaps"]
    assert api.get(f"/v1/counts.csv?{query}").text == "stops\n"


def test_csv_and_ndjson_say_what_json_says(api: TestClient) -> None:
    query = "by=outcome,hour,year&force=durham,metropolitan,suffolk"
    rows = api.get(f"/v1/counts?{query}").json()["data"]

    lines = api.get(f"/v1/counts.ndjson?{query}")
    table = api.get(f"/v1/counts?{query}", headers={"Accept": "text/csv"})
    assert [json.loads(line) for line in lines.text.splitlines()] == rows
    assert lines.headers["content-type"] == "application/x-ndjson"
    assert table.headers["content-type"].startswith("text/csv")
    read = list(csv.DictReader(io.StringIO(table.text)))
    assert read == [{name: "" if value is None else str(value) for name, value in row.items()} for row in rows]
    assert any(row["hour"] is None for row in rows)
    assert 'rel="describedby"' in table.headers["link"]
    # The link leads to the same answer, with its meta.
    address = table.headers["link"].partition(">")[0].lstrip("<")
    assert api.get(address).json()["data"] == rows


def test_the_same_snapshot_gives_the_same_bytes(api: TestClient) -> None:
    query = "/v1/counts?by=force,quarter,outcome&gender=none&gender=Female"
    first = api.get(query)
    pinned = api.get(f"{query}&snapshot={first.json()['meta']['snapshot']['id']}")
    held = api.get(query, headers={"If-None-Match": first.headers["etag"]})

    assert pinned.content == first.content
    assert (held.status_code, held.content) == (304, b"")


@pytest.mark.parametrize(
    ("query", "status", "parameter"),
    [
        ("by=force,month,year,hour", 422, "by"),
        ("by=district", 422, "by"),
        ("by=", 422, "by"),
        ("gender=male", 422, "gender"),
        ("groups=force", 422, "groups"),
    ],
)
def test_what_cannot_be_meant_is_named(api: TestClient, query: str, status: int, parameter: str) -> None:
    answer = api.get(f"/v1/counts?{query}")

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"][0]["parameter"] == parameter


def test_a_format_that_there_is_not_is_refused(api: TestClient) -> None:
    assert api.get("/v1/counts", headers={"Accept": "image/png"}).status_code == 406


def test_the_command_says_the_same(api: TestClient, stocked: Database, tmp_path: Path) -> None:
    stopsearch = command_line_of(stocked, tmp_path)
    query = "by=force,quarter&force=suffolk,durham&from=2020-01&to=2020-12&gender=none&gender=Female"
    body = api.get(f"/v1/counts?{query}").json()

    options = ("--from", "2020-01", "--to", "2020-12", "--where", "gender=none", "--where", "gender=Female")
    said = stopsearch.look("counts", "--by", "force,quarter", "--force", "suffolk,durham", *options, "--json")
    [answer] = said.objects
    assert answer["data"] == body["data"] != []
    for name in ("coverage", "by", "counted_from"):
        assert answer["meta"][name] == body["meta"][name]
    assert answer["meta"]["snapshot"]["id"] == body["meta"]["snapshot"]["id"]

    shown = stopsearch.look("counts", "--by", "outcome_group", "--force", "suffolk", "--from", "2020-01")
    arrests = sum(
        stop["force"] == "suffolk" and stop["month"] >= "2020-01" and stop["outcome"] == "Arrest"
        for stop in sample_rows().stops
    )
    assert f"Arrest {arrests:,}" in " ".join(shown.out.split())
    assert "unknown, not zero" in shown.err
    assert "Did you mean force?" in stopsearch.look("counts", "--by", "forces", expect=2).err


def test_the_documents_examples_are_real(api: TestClient) -> None:
    body = api.get(f"/v1/counts?{COUNTS_QUERY}").json()

    assert body["data"] == COUNTS_EXAMPLE["data"]
    for name in ("coverage", "by", "counted_from", "unknown_ethnicity"):
        assert body["meta"][name] == COUNTS_EXAMPLE["meta"][name]
    assert body["meta"]["snapshot"]["id"] == COUNTS_EXAMPLE["meta"]["snapshot"]["id"]
    assert api.get(f"/v1/counts.csv?{COUNTS_QUERY}").text == COUNTS_AS_CSV
    assert api.get(f"/v1/counts.ndjson?{COUNTS_QUERY}").text == COUNTS_AS_NDJSON
