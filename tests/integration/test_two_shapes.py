"""
One force-month in the two shapes that the publisher gives: the same content, whichever comes first.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from builders.archives import ForceMonth, sample_month, write_archive
from builders.ingests import bring_one_in, edition, ingest_api, ingest_archives
from builders.standin import make_csv, running_standin
from builders.store_state import breaches_of, count_rows, row_places
from stopsearch.domain.states import RunStatus
from stopsearch.flows.batches import BatchReport
from stopsearch.flows.plan import Wanted
from stopsearch.sample import sample_answers
from stopsearch.store.database import Database

pytestmark = pytest.mark.integration

# Real records, each with something that one shape writes unlike the other: microseconds, no location, repeats,
# dates without times, booleans not given, CRLF.
BOTH_WAYS: list[ForceMonth] = [
    ("cumbria", "2020-07"),
    ("south-yorkshire", "2020-01"),
    ("cambridgeshire", "2019-01"),
    ("dyfed-powys", "2020-07"),
    ("gwent", "2020-12"),
    ("city-of-london", "2020-11"),
    ("btp", "2020-07"),
]


def recorded(force: str) -> bytes:
    [path] = [path for path in sample_answers() if f"_{force}_" in path.name]
    return gzip.decompress(path.read_bytes())


@pytest.mark.parametrize(("force", "month"), [("leicestershire", "2023-07"), ("metropolitan", "2024-12")])
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("first", ["archive", "api"])
def test_an_answer_and_the_file_of_the_same_records_are_one_content(
    database: Database, force: str, month: str, newline: str, first: str
) -> None:
    answer = recorded(force)
    records: list[dict[str, Any]] = json.loads(answer)
    as_answer = edition(answer, force=force, month=month)
    as_file = edition(make_csv(records, newline=newline), force=force, month=month, published="2025-06")
    before, after = (as_file, as_answer) if first == "archive" else (as_answer, as_file)

    loaded = bring_one_in(database, before)
    places = row_places(database), row_places(database, "stop_count")
    again = bring_one_in(database, after)

    assert (loaded.status, loaded.stored, loaded.rejected) == ("revised", len(records), 0)
    assert (again.status, again.revision) == (RunStatus.UNCHANGED, 1)
    assert (row_places(database), row_places(database, "stop_count")) == places
    assert count_rows(database, "revision") == 1
    assert breaches_of(database) == {}


def test_streets_become_known_though_nothing_is_revised(database: Database) -> None:
    answer = recorded("leicestershire")
    records: list[dict[str, Any]] = json.loads(answer)
    points = {record["location"]["street"]["id"]: record["location"] for record in records if record["location"]}
    bring_one_in(database, edition(make_csv(records), force="leicestershire", published="2023-09"))
    assert count_rows(database, "street") == count_rows(database, "stop_street") == 0

    again = bring_one_in(database, edition(answer, force="leicestershire"))

    assert again.status is RunStatus.UNCHANGED
    with database.connect() as connection:
        streets = connection.execute("SELECT id, name, latitude, longitude FROM street").fetchall()
        named = connection.execute(
            """
            SELECT stop.latitude, stop.longitude, street_name FROM stop_street
            JOIN stop ON stop.id = stop_street.id AND stop.first_revision = stop_street.first_revision
            """
        ).fetchall()
    assert {row[0]: row[1:] for row in streets} == {
        number: (point["street"]["name"], float(point["latitude"]), float(point["longitude"]))
        for number, point in points.items()
    }
    names = {(float(at["latitude"]), float(at["longitude"])): at["street"]["name"] for at in points.values()}
    assert len(named) == sum(record["location"] is not None for record in records) == 478
    assert all(names[latitude, longitude] == name for latitude, longitude, name in named)


def test_real_months_are_the_same_from_the_archive_and_from_the_api(database: Database, tmp_path: Path) -> None:
    members = {key: sample_month(*key) for key in BOTH_WAYS}
    ingest_archives(database, write_archive(tmp_path / "2021-11.zip", members))
    places = row_places(database)

    with running_standin(members) as standin:
        report = ingest_api(database, standin.url, Wanted(recheck=True))

    assert statuses(report) == dict.fromkeys(BOTH_WAYS, RunStatus.UNCHANGED)
    assert row_places(database) == places
    assert count_rows(database, "street") > 1000


def test_real_months_are_the_same_from_the_api_and_from_the_archive(database: Database, tmp_path: Path) -> None:
    members = {key: sample_month(*key) for key in BOTH_WAYS}
    with running_standin(members) as standin:
        fetched = ingest_api(database, standin.url)
    assert statuses(fetched) == dict.fromkeys(BOTH_WAYS, RunStatus.REVISED)
    places = row_places(database)

    report = ingest_archives(database, write_archive(tmp_path / "2021-11.zip", members))

    assert statuses(report) == dict.fromkeys(BOTH_WAYS, RunStatus.UNCHANGED)
    assert row_places(database) == places
    assert breaches_of(database) == {}


def statuses(report: BatchReport) -> dict[ForceMonth, RunStatus]:
    return {(run.force, str(run.month)): run.outcome.status for run in report.runs}
