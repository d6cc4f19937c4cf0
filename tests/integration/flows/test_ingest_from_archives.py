"""
Archives brought in: by zip, folder and file, in the order of their publication, whatever is wrong with some of them.
"""

from __future__ import annotations

import asyncio
import zipfile
from pathlib import Path
from typing import Any

import pytest

from builders.archives import csv_of, csv_rows, member_name, sample_month, write_archive
from builders.ingests import TRIGGER, ingest_archives, settings_for
from builders.store_state import breaches_of, count_rows
from stopsearch.domain.errors import MonthOutOfRange, UnknownForce
from stopsearch.domain.months import Month
from stopsearch.domain.states import BatchStatus, RunStatus
from stopsearch.flows.ingest_from_archives import ingest_from_archives
from stopsearch.flows.plan import Wanted
from stopsearch.flows.runs import Job, RunReport
from stopsearch.store.database import Database

pytestmark = pytest.mark.integration

KEYS = [("wiltshire", "2019-01"), ("wiltshire", "2019-02"), ("durham", "2019-01"), ("cleveland", "2019-02")]


def archive(tmp_path: Path, name: str = "2021-11.zip") -> Path:
    return write_archive(tmp_path / name, {key: sample_month(*key) for key in KEYS})


def held(database: Database) -> list[tuple[Any, ...]]:
    with database.connect() as connection:
        return connection.execute(
            """
            SELECT force.id, to_char(month, 'YYYY-MM'), number, to_char(published_at, 'YYYY-MM-DD'), origin
            FROM revision JOIN force ON force.code = force_code ORDER BY 1, 2, 3
            """
        ).fetchall()


def test_an_archive_ranks_as_the_end_of_the_month_that_names_it(database: Database, tmp_path: Path) -> None:
    report = ingest_archives(database, archive(tmp_path))

    assert report.status is BatchStatus.FINISHED
    assert [row[:4] for row in held(database)] == [(*key, 1, "2021-11-30") for key in sorted(KEYS)]
    assert all("2021-11.zip" in row[4] for row in held(database))


def test_published_says_otherwise(database: Database, tmp_path: Path) -> None:
    ingest_archives(database, archive(tmp_path), published="2020-03-04")

    assert {row[3] for row in held(database)} == {"2020-03-04"}


def test_only_what_is_wanted_comes_in(database: Database, tmp_path: Path) -> None:
    ingest_archives(database, archive(tmp_path), wanted=Wanted(forces=("wiltshire",), first=Month(2019, 2)))

    assert [row[:2] for row in held(database)] == [("wiltshire", "2019-02")]


def test_a_folder_of_zips_is_several_snapshots_in_the_order_of_their_names(database: Database, tmp_path: Path) -> None:
    rows = csv_rows(sample_month("durham", "2019-01"))
    for name, some in (("2021-12.zip", rows), ("2019-03.zip", rows[5:]), ("2020-06.zip", rows[:-3])):
        write_archive(tmp_path / name, {("durham", "2019-01"): csv_of(some)})

    ingest_archives(database, tmp_path)

    assert [row[2:4] for row in held(database)] == [(1, "2019-03-31"), (2, "2020-06-30"), (3, "2021-12-31")]
    assert breaches_of(database) == {}


def test_loose_files_are_one_snapshot(database: Database, tmp_path: Path) -> None:
    for force, month in KEYS:
        path = tmp_path / member_name(force, month)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(sample_month(force, month))

    report = ingest_archives(database, tmp_path, published="2021-11-30")

    assert report.count(RunStatus.REVISED) == len(KEYS)
    assert count_rows(database, "ingest_batch") == 1


def test_what_is_damaged_is_refused_by_name_and_the_rest_comes_in(database: Database, tmp_path: Path) -> None:
    path = archive(tmp_path)
    with zipfile.ZipFile(path, "a") as zipped:
        zipped.writestr("2019-01/2019-01-durham-street.csv", b"Crime ID\n")
        zipped.writestr("../../etc/2019-03-durham-stop-and-search.csv", b"x")
    damaged = tmp_path / "2021-12.zip"
    damaged.write_bytes(path.read_bytes()[:400])

    report = ingest_archives(database, path, damaged)

    assert report.status is BatchStatus.FINISHED_WITH_FAILURES
    assert report.count(RunStatus.REVISED) == len(KEYS)
    assert any("2021-12.zip" in str(refusal) for refusal in report.refusals)
    with database.connect() as connection:
        row = connection.execute("SELECT status, asked_for -> 'refused' FROM ingest_batch").fetchone()
    assert row == (BatchStatus.FINISHED_WITH_FAILURES, [str(refusal) for refusal in report.refusals])
    assert not (tmp_path.parent / "etc").exists()


def test_a_member_that_lacks_a_column_fails_alone(database: Database, tmp_path: Path) -> None:
    members = {key: sample_month(*key) for key in KEYS}
    members["durham", "2019-01"] = members["durham", "2019-01"].replace(b",Gender,", b",Sex,", 1)

    report = ingest_archives(database, write_archive(tmp_path / "2021-11.zip", members))

    ended = {(run.force, str(run.month)): run.outcome for run in report.runs}
    assert ended["durham", "2019-01"].error_kind == "source_shape_changed"
    assert "Gender" in str(ended["durham", "2019-01"].error_text)
    assert report.count(RunStatus.REVISED) == len(KEYS) - 1


def test_an_absent_member_withdraws_nothing(database: Database, tmp_path: Path) -> None:
    ingest_archives(database, archive(tmp_path))
    rows = count_rows(database, "stop")

    ingest_archives(database, write_archive(tmp_path / "2022-01.zip", {KEYS[0]: sample_month(*KEYS[0])}))

    assert count_rows(database, "stop") == rows
    assert len(held(database)) == len(KEYS)


def test_a_dry_run_writes_nothing(database: Database, tmp_path: Path) -> None:
    path = archive(tmp_path)
    report = asyncio.run(
        ingest_from_archives(
            database, settings_for(), Wanted(), paths=[str(path)], trigger=TRIGGER, published=None, dry_run=True
        )
    )

    assert sorted((month.force, str(month.month)) for month in report.due) == sorted(KEYS)
    assert count_rows(database, "ingest_batch") == count_rows(database, "revision") == 0


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        (Wanted(forces=("narnia",)), UnknownForce),
        (Wanted(first=Month(2020, 2), last=Month(2020, 1)), MonthOutOfRange),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_written(
    database: Database, tmp_path: Path, wanted: Wanted, error: type[Exception]
) -> None:
    with pytest.raises(error):
        ingest_archives(database, archive(tmp_path), wanted=wanted)

    assert count_rows(database, "ingest_batch") == 0


def test_a_batch_that_is_told_to_stop_ends_cleanly_and_the_next_goes_on(database: Database, tmp_path: Path) -> None:
    stopping = asyncio.Event()

    class StopsAfterOne:
        def run_started(self, job: Job) -> None:
            pass

        def run_finished(self, report: RunReport) -> None:
            stopping.set()

    report = asyncio.run(
        ingest_from_archives(
            database,
            settings_for(),
            Wanted(),
            paths=[str(archive(tmp_path))],
            trigger=TRIGGER,
            watcher=lambda *_: StopsAfterOne(),
            stopping=stopping,
        )
    )
    assert report.status is BatchStatus.CANCELLED
    assert 1 <= report.count(RunStatus.REVISED) < len(KEYS)
    assert breaches_of(database) == {}
    with database.connect() as connection:
        left = connection.execute("SELECT count(*) FROM ingest_run WHERE status IN ('queued', 'running')").fetchone()
    assert left == (0,)

    again = ingest_archives(database, archive(tmp_path))
    assert again.status is BatchStatus.FINISHED
    assert len(held(database)) == len(KEYS)
