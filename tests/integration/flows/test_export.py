"""
An export holds what was served at an instant, in the publisher's words, and the same snapshot gives the same bytes.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import polars as pl
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from builders.archives import sample_members
from builders.ingests import bring_in, edition, ingest_archives
from builders.source_bodies import api_record, csv_body, json_body
from stopsearch.domain.errors import BadPath, MonthOutOfRange, RequestError, StoreError, UnknownForce
from stopsearch.domain.filters import RevisionState, StopFilter
from stopsearch.domain.months import Month
from stopsearch.domain.stops import ARCHIVE_COLUMNS
from stopsearch.flows.export import ExportFormat, ExportReport, export
from stopsearch.flows.plan import Wanted
from stopsearch.sample import sample_archives
from stopsearch.store.as_of import ServedRevision, snapshot_id, snapshot_of
from stopsearch.store.database import Database, outside_database

pytestmark = pytest.mark.integration

# Microseconds (cumbria), a doubled and a date-only file (cambridgeshire), CRLF (city-of-london), restated (durham).
FORCES = ("cambridgeshire", "city-of-london", "cumbria", "durham")
EARLIER, LATER = sample_archives()
DURHAM = StopFilter(forces=("durham",), first=Month(2020, 1), last=Month(2020, 2))
WANTED_DURHAM = Wanted(forces=DURHAM.forces, first=DURHAM.first, last=DURHAM.last)

FieldsOfStop = tuple[str, ...]


@pytest.fixture(scope="module")
def held(postgres_server: Any, migrated_template: str, database_names: Iterator[str]) -> Iterator[Database]:
    """
    A database that both editions of a few forces were brought into; no test writes to it.
    """
    name = next(database_names)
    database = outside_database(postgres_server.create(name, template=migrated_template))
    ingest_archives(database, EARLIER, LATER, wanted=Wanted(forces=FORCES))
    yield database
    database.close()
    postgres_server.drop(name)


def exported(database: Database, format: ExportFormat = ExportFormat.CSV, **options: Any) -> tuple[bytes, ExportReport]:
    stream = io.BytesIO()
    report = export(database, format=format, destination=stream, **options)
    return stream.getvalue(), report


def rows_of(body: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(body.decode(), newline="")))


def published_counts() -> dict[tuple[str, str], Counter[FieldsOfStop]]:
    """
    Count the records of the files with the standard library alone. None of them has a label of before 2018.
    """
    files = sample_members("2020-02") | sample_members("2021-11")
    return {
        (force, month): Counter(tuple(row[name] for name in ARCHIVE_COLUMNS) for row in rows_of(body))
        for (force, month), body in files.items()
        if force in FORCES
    }


def exported_counts(rows: list[dict[str, str]]) -> dict[tuple[str, str], Counter[FieldsOfStop]]:
    booleans = {"true": "True", "false": "False"}
    counts: dict[tuple[str, str], Counter[FieldsOfStop]] = {}
    for row in rows:
        fields = tuple(booleans.get(row[name], row[name]) for name in ARCHIVE_COLUMNS.values())
        counts.setdefault((row["force"], row["month"]), Counter())[fields] += 1
    return counts


def test_holds_every_published_record_word_for_word(held: Database) -> None:
    body, report = exported(held)
    rows = rows_of(body)
    assert exported_counts(rows) == published_counts()
    assert report.rows == len(rows) == len({row["id"] for row in rows})
    assert report.bytes == len(body)


def test_gives_the_new_words_for_old_ones(database: Database) -> None:
    body = csv_body(
        {
            "self_defined_ethnicity": "Chinese or other ethnic group - Chinese (O1)",
            "outcome": "Local resolution",
            "datetime": "2016-06-30T23:30:00+00:00",
        }
    )
    bring_in(database, edition(body, force="metropolitan", month="2016-06"))
    [row] = rows_of(exported(database)[0])
    assert row["self_defined_ethnicity"] == "Asian/Asian British - Chinese"
    assert row["self_defined_ethnic_group"] == "Asian"
    assert row["outcome"] == "Community resolution"
    assert row["outcome_group"] == "Out-of-court disposal"
    assert (row["datetime"], row["local_date"]) == ("2016-06-30T23:30:00+00:00", "2016-07-01")


def test_is_in_one_order(held: Database) -> None:
    rows = rows_of(exported(held)[0])
    keys = [(row["force"], row["month"], datetime.fromisoformat(row["datetime"]), row["id"]) for row in rows]
    assert keys == sorted(keys)


def test_bytes_depend_on_no_plan_and_no_preference_of_the_server(held: Database) -> None:
    options = "-c enable_indexscan=off -c enable_bitmapscan=off -c DateStyle=SQL,DMY -c extra_float_digits=-9"
    other = Database(conninfo=make_conninfo(held.conninfo, options=options), place=held.place)
    for format in ExportFormat:
        assert exported(other, format, asked=DURHAM)[0] == exported(held, format, asked=DURHAM)[0]


def test_flags_doubled_and_date_only_months(held: Database) -> None:
    rows = rows_of(exported(held, asked=StopFilter(forces=("cambridgeshire",)))[0])
    doubled = {row["month"] for row in rows if row["is_month_doubled"] == "true"}
    assert {"2019-01", "2020-07"} <= doubled
    assert "2020-01" not in doubled
    assert {row["is_far_from_force"] for row in rows} <= {"true", "false", ""}


def test_same_snapshot_gives_same_bytes_on_another_machine(held: Database, database: Database) -> None:
    """
    The other machine met only the later edition, so that its revisions have other numbers.
    """
    ingest_archives(database, LATER, wanted=Wanted(forces=FORCES))
    numbers = [
        {row["revision"] for row in rows_of(exported(where, asked=DURHAM, with_revision=True)[0])}
        for where in (held, database)
    ]
    assert numbers == [{"2"}, {"1"}]
    for format in ExportFormat:
        here, again, there = [exported(where, format) for where in (held, held, database)]
        assert here[0] == again[0] == there[0]
        assert here[1].snapshot == there[1].snapshot
        assert here[1].sha256 == again[1].sha256 == hashlib.sha256(there[0]).hexdigest()


def test_snapshot_id_is_that_of_the_content(held: Database, database: Database, blank_database: Database) -> None:
    ingest_archives(database, EARLIER, wanted=WANTED_DURHAM)
    before = exported(database)[1].snapshot
    ingest_archives(database, LATER, wanted=WANTED_DURHAM)
    _, after = exported(database)
    assert before != after.snapshot
    with database.connect() as connection:
        assert snapshot_id(connection) == after.snapshot
    # The id stands for everything that is served, whatever was asked for.
    assert exported(held, asked=DURHAM)[1].snapshot == exported(held)[1].snapshot != after.snapshot


def test_snapshot_id_is_frozen() -> None:
    """
    Ids are cited: what one is made of may only change with the version that heads it.
    """
    revisions = [
        ServedRevision(
            force=force,
            force_code=code,
            month=Month(2020, 1),
            number=number,
            content_digest=bytes([code]) * 32,
            rules_version=1,
            received=1,
            stored=1,
            rejected=0,
            is_restated=False,
            is_doubled=False,
            is_date_only=False,
            served_from=datetime(2020, 3, 1, tzinfo=UTC),
            first_datetime=None,
            last_datetime=None,
            first_number=1,
        )
        for force, code, number in (("durham", 1, 4), ("btp", 2, 1))
    ]
    text = f"stopsearch snapshot 1\nbtp 2020-01 {'02' * 32} 1\ndurham 2020-01 {'01' * 32} 1\n"
    assert snapshot_of(revisions) == snapshot_of(reversed(revisions)) == hashlib.sha256(text.encode()).hexdigest()


def test_as_of_gives_what_was_served_then(database: Database) -> None:
    ingest_archives(database, EARLIER, wanted=WANTED_DURHAM)
    earlier, said = exported(database)
    ingest_archives(database, LATER, wanted=WANTED_DURHAM)
    later, _ = exported(database)
    assert earlier != later
    then, report = exported(database, as_of=said.served_from)
    assert then == earlier
    assert (report.snapshot, report.served_from) == (said.snapshot, said.served_from)
    nothing, report = exported(database, as_of=datetime(2020, 1, 1, tzinfo=UTC))
    assert (report.rows, rows_of(nothing)) == (0, [])


def test_stop_that_came_back_is_not_withdrawn(database: Database) -> None:
    """
    It has two rows with one id, the first of which was closed.
    """
    stays, goes = api_record(), api_record(gender="Female", datetime="2023-07-02T10:00:00+00:00")
    new = api_record(gender="Other", datetime="2023-07-03T10:00:00+00:00")
    snapshots = []
    for month, records in enumerate(([stays, goes], [stays], [stays, goes, new]), start=1):
        bring_in(database, edition(json_body(*records), published=f"2024-{month:02d}"))
        snapshots.append(exported(database)[1].snapshot)
    withdrawn = StopFilter(revision_state=RevisionState.WITHDRAWN)
    rows = [exported(database, asked=withdrawn, snapshot=snapshot)[1].rows for snapshot in snapshots]
    assert rows == [0, 1, 0]
    restated = exported(database, asked=StopFilter(revision_state=RevisionState.RESTATED))[0]
    assert [row["gender"] for row in rows_of(restated)] == ["Female", "Other"]


def test_as_of_meets_each_revision_from_its_first_instant(database: Database) -> None:
    ingest_archives(
        database, EARLIER, LATER, wanted=Wanted(forces=("durham",), first=Month(2020, 1), last=Month(2020, 1))
    )
    with database.connect() as connection:
        row = connection.execute("SELECT served_from FROM revision WHERE number = 2").fetchone()
    assert row is not None
    for moment, empty in ((row[0], 0), (row[0] - timedelta(microseconds=1), 27)):
        rows = rows_of(exported(database, as_of=moment)[0])
        current = rows_of(exported(database)[0])
        assert sum(row["outcome"] == "" for row in rows) == sum(row["outcome"] == "" for row in current) + empty


@pytest.mark.parametrize("format", ExportFormat)
def test_reads_one_snapshot_while_revisions_go_on(database: Database, format: ExportFormat) -> None:
    """
    No transaction spans two chunks: the revision of Durham comes after Cambridgeshire was read, and before Durham is.
    """
    ingest_archives(database, LATER, wanted=Wanted(forces=("cambridgeshire",)))
    ingest_archives(database, EARLIER, wanted=WANTED_DURHAM)
    before, _ = exported(database, format)
    seen: list[int] = []

    def revise_meanwhile(done: int, of: int) -> None:
        if not seen:
            ingest_archives(database, LATER, wanted=WANTED_DURHAM)
        seen.append(done)

    during, _ = exported(database, format, progress=revise_meanwhile)
    assert len(seen) == 2
    assert during == before
    assert exported(database, format)[0] != before


@pytest.mark.parametrize("format", [ExportFormat.NDJSON, ExportFormat.GEOJSON, ExportFormat.PARQUET])
def test_every_format_holds_the_same(held: Database, format: ExportFormat) -> None:
    body, report = exported(held, format)
    if format is ExportFormat.NDJSON:
        rows = [json.loads(line) for line in body.splitlines()]
    elif format is ExportFormat.GEOJSON:
        rows = [of_feature(feature) for feature in json.loads(body)["features"]]
    else:
        frame = pl.read_parquet(io.BytesIO(body))
        assert frame.schema["datetime"] == pl.Datetime("us", "UTC")
        assert frame.schema["latitude"] == pl.Float64
        assert frame.schema["operation"] == pl.Boolean
        rows = frame.to_dicts()
    expected = rows_of(exported(held)[0])
    assert report.rows == len(rows) == len(expected)
    assert list(rows[0]) == list(expected[0])
    assert [as_text(row) for row in rows] == expected


def of_feature(feature: dict[str, Any]) -> dict[str, Any]:
    """
    Give the properties of a Feature, whose place is told by its geometry too.
    """
    row: dict[str, Any] = feature["properties"]
    assert (feature["type"], feature["id"]) == ("Feature", row["id"])
    place = [row["longitude"], row["latitude"]]
    assert feature["geometry"] == (None if place == [None, None] else {"type": "Point", "coordinates": place})
    return row


def as_text(row: dict[str, Any]) -> dict[str, str]:
    """
    Write the values of a row as the CSV does.
    """
    texts: dict[str, str] = {}
    for name, value in row.items():
        if value is None:
            texts[name] = ""
        elif isinstance(value, bool):
            texts[name] = str(value).lower()
        elif isinstance(value, float):
            texts[name] = f"{value:.6f}"
        elif isinstance(value, datetime):
            texts[name] = value.isoformat()
        else:
            texts[name] = str(value)
    return texts


def test_parquet_says_where_it_is_from(held: Database) -> None:
    body, report = exported(held, ExportFormat.PARQUET, asked=DURHAM)
    said = pl.read_parquet_metadata(io.BytesIO(body))
    assert said["stopsearch.snapshot"] == report.snapshot
    assert "Open Government Licence" in said["licence"]


@pytest.mark.parametrize("name", ["=1+1", "+44", "-2", "@SUM(A1)", "\t=1", 'a "b", c', "Op Sceptre\\n"])
def test_spreadsheets_run_no_cell(database: Database, name: str) -> None:
    bring_in(database, edition(json_body(api_record(operation_name=name)), month="2023-07"))
    [row] = rows_of(exported(database)[0])
    assert row["operation_name"] == (name if name[0].isalpha() else f"'{name}")
    [line] = exported(database, ExportFormat.NDJSON)[0].splitlines()
    assert json.loads(line)["operation_name"] == name
    assert pl.read_parquet(io.BytesIO(exported(database, ExportFormat.PARQUET)[0]))["operation_name"][0] == name


def test_street_is_given_when_asked_for(database: Database) -> None:
    nowhere = api_record(location=None, datetime="2023-07-02T10:00:00+00:00")
    bring_in(database, edition(json_body(api_record(), nowhere), month="2023-07"))
    assert "street_id" not in rows_of(exported(database)[0])[0]
    for format in ExportFormat:
        body, report = exported(database, format, with_street=True)
        assert report.columns[-2:] == ("street_id", "street_name")
        if format is ExportFormat.CSV:
            streets = [(row["street_id"], row["street_name"]) for row in rows_of(body)]
            assert streets == [("", ""), ("1735297", "On or near Harrison Close")]


def test_takes_only_what_is_wanted(held: Database) -> None:
    rows = rows_of(exported(held, asked=StopFilter(forces=("cumbria", "durham"), first=Month(2020, 3)))[0])
    assert {row["force"] for row in rows} == {"cumbria", "durham"}
    assert min(row["month"] for row in rows) >= "2020-03"


def test_refuses_what_cannot_be_meant(held: Database) -> None:
    with pytest.raises(UnknownForce, match="durahm"):
        exported(held, asked=StopFilter(forces=("durahm",)))
    with pytest.raises(MonthOutOfRange):
        exported(held, asked=StopFilter(first=Month(2020, 2), last=Month(2020, 1)))
    with pytest.raises(RequestError, match="future"):
        exported(held, as_of=datetime.now(UTC) + timedelta(hours=1))
    with pytest.raises(RequestError, match="zone"):
        exported(held, as_of=datetime(2024, 1, 1))  # noqa: DTZ001


def test_file_appears_whole_or_not_at_all(held: Database, tmp_path: Path) -> None:
    place = tmp_path / "stops.csv"
    place.write_text("what was there")

    def stop_midway(done: int, of: int) -> None:
        if done >= 3:
            raise KeyboardInterrupt

    for format in ExportFormat:
        with pytest.raises(KeyboardInterrupt):
            export(held, format=format, destination=place, progress=stop_midway)
        assert place.read_text() == "what was there"
        assert list(tmp_path.iterdir()) == [place]
    report = export(held, format=ExportFormat.CSV, destination=str(place), asked=DURHAM)
    assert place.read_bytes() == exported(held, asked=DURHAM)[0]
    assert report.bytes == place.stat().st_size
    assert list(tmp_path.iterdir()) == [place]


def test_destination_that_cannot_be_written_is_named(held: Database, tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "no folder" / "stops.csv"):
        with pytest.raises(BadPath, match=str(place)):
            export(held, format=ExportFormat.CSV, destination=place)


@pytest.mark.parametrize("format", ExportFormat)
def test_incomplete_month_is_never_exported_as_whole(database: Database, tmp_path: Path, format: ExportFormat) -> None:
    ingest_archives(database, EARLIER, wanted=WANTED_DURHAM)
    with database.connect() as connection:
        connection.execute("DELETE FROM stop WHERE id = (SELECT min(id::text)::uuid FROM stop)")
    with pytest.raises(StoreError, match="durham 2020-01 has 160 stops"):
        export(database, format=format, destination=tmp_path / "stops")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_reader_that_leaves_early_is_no_fault(held: Database, format: str, tmp_path: Path) -> None:
    """
    The pipe is closed before anything is written, as `export | true` closes it.
    """
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        ended = exported_by_process(held, "--format", format, cwd=tmp_path, stdout=pipe)
    assert (ended.returncode, ended.stderr) == (141, "")


@pytest.mark.parametrize("format", ["csv", "parquet"])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_full_disk_is_told(held: Database, format: str, tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = exported_by_process(held, "--format", format, cwd=tmp_path, stdout=full)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: ")
    assert "No space left" in ended.stderr
    assert ended.stderr.count("\n") == 1


def exported_by_process(database: Database, *options: str, cwd: Path, stdout: Any) -> subprocess.CompletedProcess[str]:
    url = "postgresql:///?" + urlencode(conninfo_to_dict(database.conninfo), quote_via=quote)
    settings = {"STOPSEARCH_DATABASE_URL": url, "HOME": str(cwd)}
    return subprocess.run(
        [sys.executable, "-m", "stopsearch", "export", *options],
        cwd=cwd,
        env={**os.environ, **settings},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
    )
