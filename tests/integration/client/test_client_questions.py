"""
Each question of the client is answered, by both clients alike, and problems are told in full.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Any

import polars
import pytest

from builders.archives import sample_month, write_archive
from builders.ingests import bring_one_in, edition
from builders.running_server import TOKEN, running_server
from builders.sample_rows import sample_rows
from builders.standin import make_api_record
from stopsearch.client import Answer, AsyncClient, Client, ProblemError
from stopsearch.store.database import Database

pytestmark = pytest.mark.integration

QUESTIONS: list[tuple[str, dict[str, Any]]] = [
    ("counts", {}),
    ("counts", {"by": ["force", "month", "self_defined_ethnic_group"], "from_": "2020-01"}),
    ("counts", {"by": "hour", "force": "durham"}),
    ("rates", {"force": "leicestershire", "from_": "2020-01", "to": "2020-01"}),
    ("rates", {"force": "leicestershire", "from_": "2020-01", "measure": "find", "override": ["gap", "few_stops"]}),
    ("coverage", {"force": ["durham", "gwent"], "from_": "2019-06"}),
    ("revisions", {"force": "durham", "only_changes": True}),
    ("snapshots", {}),
    ("forces", {}),
    ("vocabulary", {}),
    ("get", {"path": "/v1/quality", "parameters": {"force": "durham"}}),
]


@pytest.mark.parametrize(("name", "given"), QUESTIONS, ids=[f"{name} {len(given)}" for name, given in QUESTIONS])
def test_both_clients_give_the_same_answer(name: str, given: dict[str, Any], client: Client, url: str) -> None:
    async def ask() -> Answer:
        async with AsyncClient(url) as other:
            answer: Answer = await getattr(other, name)(**given)
            return answer

    answer = getattr(client, name)(**given)
    assert answer.data
    assert asyncio.run(ask()) == answer
    if not answer.meta.get("live"):
        assert answer.snapshot.id[:12] in answer.citation
        assert answer.to_pandas().attrs["snapshot"] == answer.to_polars().snapshot == answer.snapshot.id


def test_counts_are_those_of_the_published_files(client: Client) -> None:
    frame = client.counts(by=("force", "year", "gender")).to_polars().frame
    assert frame.schema == {
        "force": polars.String(),
        "year": polars.Int64(),
        "gender": polars.String(),
        "stops": polars.Int64(),
    }
    found = {row[:3]: row[3] for row in frame.iter_rows()}
    assert found == Counter((stop["force"], stop["year"], stop["gender"]) for stop in sample_rows().stops)


@pytest.mark.parametrize("frame_of", ["polars", "pandas"])
def test_rates_become_a_frame_of_one_row_a_group(client: Client, frame_of: str) -> None:
    def table(**given: Any) -> dict[str, list[Any]]:
        answer = client.rates(force="leicestershire", from_="2020-01", to="2020-01", **given)
        if frame_of == "polars":
            frame = answer.to_polars().frame
            assert {frame.schema[name] for name in numbers if name in frame.schema} == {polars.Float64()}
            return frame.to_dict(as_series=False)
        other = answer.to_pandas()
        assert {str(other.dtypes[name]) for name in numbers if name in other} == {"float64"}
        return {str(name): column.tolist() for name, column in other.items()}

    numbers = ("rate", "rate_per_year", "ratio", "ratio_low", "ratio_high", "find_rate", "find_rate_low")
    told = client.rates(force="leicestershire", from_="2020-01", to="2020-01").data[0]["groups"]
    rates = table()
    assert rates["group"] == [group["group"] for group in told] == ["White", "Mixed", "Asian", "Black", "Other"]
    assert rates["stops"] == [group["stops"] for group in told]
    place = rates["group"].index("Asian")
    assert (rates["ratio"][place], rates["ratio_low"][place]) == (
        told[place]["ratio"]["value"],
        told[place]["ratio"]["low"],
    )
    finds = table(measure="find")
    assert finds["force"] == ["leicestershire"] * 6
    assert "find_rate_high" in finds


def test_an_answer_of_many_pages_is_given_whole(client: Client) -> None:
    listed = client.get("/v1/quality", {"limit": 7})
    assert {(row["force"], row["month"]) for row in listed.data} == sample_rows().held
    assert len(listed.data) == len(sample_rows().held)


def test_one_stop_comes_with_its_history(client: Client) -> None:
    row = next(client.stops(force="durham", from_="2020-02"))
    answer = client.stop(row["id"])
    assert answer.data["stop"] == row
    assert answer.data["history"]
    with pytest.raises(ProblemError) as told:
        client.stop("../counts")
    assert told.value.kind == "not_found", "an id is one part of the path, whatever is in it"


def test_a_problem_is_told_with_everything_that_the_server_says(client: Client) -> None:
    with pytest.raises(ProblemError) as told:
        client.counts(force=["durhan"], gender="male")
    problem = told.value
    assert (problem.status, problem.type, problem.kind) == (422, "/problems/bad_query", "bad_query")
    assert {(fault.parameter, fault.value) for fault in problem.errors} == {("force", "durhan"), ("gender", "male")}
    assert "did you mean durham" in problem.errors[0].reason + problem.errors[1].reason
    assert problem.remedy
    assert problem.remedy in str(problem)
    with pytest.raises(ProblemError) as unknown:
        client.forces(snapshot="0" * 64)
    assert unknown.value.kind == "unknown_snapshot"


def test_changes_lead_from_one_snapshot_to_the_next(own_stocked: Database, tmp_path: Path) -> None:
    with running_server(own_stocked, data_dir=tmp_path) as url, Client(url) as client:
        held = client.stops(force="durham", from_="2020-01")
        copy = {row["id"]: row for row in held}
        assert held.snapshot is not None
        record = make_api_record(datetime="2020-02-15T10:00:00+00:00")
        bring_one_in(own_stocked, edition([record], month="2020-02"))
        changes = list(client.changes(since=held.snapshot.id, page_size=20))
        for change in changes:
            if change["change"] == "withdrawn":
                del copy[change["stop"]["id"]]
        for change in changes:
            if change["change"] == "added":
                copy[change["stop"]["id"]] = change["stop"]
        now = client.stops(force="durham", from_="2020-01")
        assert copy == {row["id"]: row for row in now}
        frame = client.changes(since=held.snapshot.id).to_polars().frame
        assert Counter(frame["change"]) == Counter(change["change"] for change in changes)
        assert frame.columns[:2] == ["change", "id"]
        assert now.snapshot is not None
        nothing = client.changes(since=now.snapshot.id).to_polars().frame
        assert (nothing.height, nothing.schema) == (0, frame.schema)


def test_data_is_brought_in_with_the_token_and_not_without(database: Database, tmp_path: Path) -> None:
    archives = tmp_path / "archives"
    archives.mkdir()
    write_archive(archives / "2024-03.zip", {("durham", "2020-02"): sample_month("durham", "2020-02")})
    with running_server(database, data_dir=tmp_path, api_token=TOKEN, archive_dir=archives) as url:
        with Client(url) as stranger:
            with pytest.raises(ProblemError) as told:
                stranger.ingest(force="durham")
            assert (told.value.status, told.value.kind) == (401, "token_refused")
        with Client(url, token=TOKEN) as client:
            batch = client.ingest(force="durham", from_="2020-02", source="archive", archives=["2024-03.zip"]).data
            deadline = time.monotonic() + 60
            while (state := client.ingestion(batch["id"]).data)["status"] in ("queued", "running"):
                assert time.monotonic() < deadline, state
                time.sleep(0.05)
            assert state["status"] == "finished", state
            assert [run["status"] for run in state["runs"]] == ["revised"]
            assert client.counts().data == [{"stops": state["runs"][0]["stored"]}]
            with pytest.raises(ProblemError) as ended:
                client.cancel_ingestion(batch["id"])
            assert (ended.value.status, ended.value.kind) == (409, "batch_ended")
            assert TOKEN not in repr(client.line)
