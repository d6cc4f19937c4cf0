"""
Failures that a straightforward implementation of this system was seen to have, each got right here; the numbers are
those of the list that the design was made from. All parts are real (22: mocks let every one of them through).
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest

from builders.archives import csv_of, csv_rows, sample_month, write_archive
from builders.ingests import TRIGGER, bring_in, bring_one_in, edition, ingest_api, ingest_archives, settings_for
from builders.killable import killables
from builders.records import real_records
from builders.standin import make_api_record, running_standin
from builders.store_state import breaches_of, content_of, count_rows
from stopsearch.clean.clean_stops import clean_stops
from stopsearch.clean.identity import identify
from stopsearch.clean.normal_form import normal_form
from stopsearch.domain.months import Month
from stopsearch.domain.states import RunStatus, Source
from stopsearch.flows.batches import Batch
from stopsearch.flows.plan import Wanted
from stopsearch.flows.prepare_edition import decode
from stopsearch.flows.rebuild import replay_letters, reprocess, revert
from stopsearch.flows.runs import Job
from stopsearch.standin.limit import Limit
from stopsearch.store.database import Database
from stopsearch.validate import contract, split
from stopsearch.validate.split import split as part

pytestmark = pytest.mark.integration

DAYS = [make_api_record(datetime=f"2023-07-{day:02d}T10:00:00+00:00") for day in range(1, 31)]


def many_records(count: int, *, bad_share: float = 0.0) -> list[dict[str, Any]]:
    """
    Give so many different records, a share of them with a label of their own that no list has.
    """
    every = round(1 / bad_share) if bad_share else 0
    return [
        make_api_record(
            datetime=f"2023-07-{number % 28 + 1:02d}T{number // 28 % 24:02d}:{number // 672 % 60:02d}:00+00:00",
            gender=f"No label {number}" if every and number % every == 0 else "Male",
        )
        for number in range(count)
    ]


def refuse(database: Database, table: str) -> None:
    """
    Let every write to a table fail, until `allow`.
    """
    with database.connect(autocommit=True) as connection:
        connection.execute(
            "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no room'; END $$"
        )
        connection.execute(f"CREATE TRIGGER refuse BEFORE INSERT ON {table} EXECUTE FUNCTION refuse()")


def allow(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        connection.execute("DROP FUNCTION refuse CASCADE")


def test_3_a_failing_force_month_harms_only_itself(database: Database) -> None:
    months = {(force, month): DAYS for force in ("durham", "kent", "gwent") for month in ("2023-06", "2023-07")}
    with running_standin(months) as standin:
        standin.faults.fail(503, force="kent", month="2023-06")
        first = ingest_api(database, standin.url, retry_attempts=2, retry_time_s=1)
        second = ingest_api(database, standin.url, retry_attempts=2, retry_time_s=1)

    assert (first.count(RunStatus.REVISED), first.count(RunStatus.FAILED)) == (5, 1)
    assert count_rows(database, "stop") == 5 * len(DAYS)
    assert [(month.force, str(month.month)) for month in second.due] == [("kent", "2023-06")]
    assert standin.stats.asked("durham", "2023-06") == 1


def test_4_a_failed_store_is_no_success_and_its_retry_starts_from_kept_input(database: Database) -> None:
    with running_standin({("durham", "2023-07"): DAYS}) as standin:
        refuse(database, "stop")
        failed = ingest_api(database, standin.url)
        allow(database)
        assert (failed.status, failed.count(RunStatus.FAILED)) == ("finished_with_failures", 1)
        assert failed.runs[0].outcome.stored is None
        assert count_rows(database, "stop") == 0

        again = ingest_api(database, standin.url)

        assert again.runs[0].outcome.stored == count_rows(database, "stop") == len(DAYS)
        assert standin.stats.asked("durham", "2023-07") == 1, "it was downloaded twice"


def test_4_a_body_that_is_itself_at_fault_is_asked_for_again(database: Database) -> None:
    with running_standin({("durham", "2023-07"): DAYS}) as standin:
        standin.publication.change("durham", "2023-07", without=["gender"])
        assert ingest_api(database, standin.url).count(RunStatus.FAILED) == 1
        standin.publication.restore("durham", "2023-07")

        assert ingest_api(database, standin.url).count(RunStatus.REVISED) == 1


def test_5_no_row_is_in_neither_table(database: Database) -> None:
    odd: list[Any] = [
        None,
        5,
        "text",
        [],
        {},
        {"gender": "\0"},
        make_api_record(gender="\0" * 5000),
        {"type": {"a": 1}},
    ]

    outcome = bring_one_in(database, edition([*DAYS, *odd]), refuse_share=1.0)

    assert (outcome.received, outcome.stored, outcome.rejected) == (38, 30, 8)
    assert count_rows(database, "stop") + count_rows(database, "dead_letter") == 38
    with database.connect() as connection:
        raw = connection.execute("SELECT raw::text FROM dead_letter ORDER BY record_number").fetchall()
    assert [json.loads(text) for (text,) in raw] == odd


@pytest.mark.parametrize(("share", "status"), [(0.02, "revised"), (0.1, "revised"), (0.2, "revised"), (0.5, "refused")])
def test_6_any_share_of_bad_rows_ends_in_dead_letters_or_keeps_the_last_revision(
    database: Database, share: float, status: str
) -> None:
    bring_one_in(database, edition(DAYS))
    before = content_of(database)

    outcome = bring_one_in(database, edition(many_records(1000, bad_share=share)))

    assert outcome.status == status
    if status == "revised":
        assert (outcome.stored, outcome.rejected) == (1000 - share * 1000, share * 1000)
    else:
        after = content_of(database)
        # The body is kept, and the month is marked doubtful: all that is served stays as it was.
        [(*release, doubtful, revision, body)] = after.pop("month_release")
        [(*was, _, revision_was, body_was)] = before.pop("month_release")
        assert (release, doubtful, revision, body) == (was, True, revision_was, body_was)
        assert {**after, "published_body": None} == {**before, "published_body": None}
    assert breaches_of(database) == {}


def test_6_a_column_gone_keeps_the_last_revision(database: Database) -> None:
    bring_one_in(database, edition(DAYS))
    for gone in ("gender", "datetime", "outcome", "location"):
        lacking = [{key: value for key, value in record.items() if key != gone} for record in DAYS]
        outcome = bring_one_in(database, edition(lacking))
        assert (outcome.status, outcome.error_kind) == (RunStatus.FAILED, "source_shape_changed")
    assert count_rows(database, "revision") == 1


def under_strict_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Take the men for a label that no list has.
    """
    rule = contract.Rule(name="no_men", column="gender", message="-", keeps=pl.col("gender").ne_missing("Male"))
    rules = (*contract.ALL_RULES, rule)
    for module in (contract, split):
        monkeypatch.setattr(module, "ALL_RULES", rules)


def test_7_replay_succeeds_sets_at_a_time_and_only_once(database: Database) -> None:
    statements = []
    for month, count in (("2023-06", 1000), ("2023-07", 8000)):
        with pytest.MonkeyPatch.context() as patched:
            under_strict_rules(patched)
            published = edition(many_records(count), month=month)
            assert bring_one_in(database, published, refuse_share=1.0).rejected == count
        with counted_statements() as sent:
            report = replay_letters(database, settings_for(), month=Month.parse(month), trigger=TRIGGER)
        statements.append(len(sent))
        assert (report.replayed, report.still_rejected) == (count, 0)
        assert report.runs[0].outcome.stored == count
    assert count_rows(database, "stop") == 9000
    assert statements[0] == statements[1], "replay asks the database a record at a time"
    assert statements[0] < 100

    before = content_of(database)
    again = replay_letters(database, settings_for(), trigger=TRIGGER)
    assert (again.runs, again.replayed) == ([], 0)
    assert content_of(database) == before
    assert breaches_of(database) == {}


def test_8_outcome_false_is_what_it_means_and_never_the_text(database: Database) -> None:
    records = [make_api_record(outcome=False), make_api_record(outcome="False"), make_api_record(outcome="")]

    outcome = bring_one_in(database, edition(records))

    assert (outcome.stored, outcome.rejected) == (2, 1)  # the text is no outcome
    with database.connect() as connection:
        stored = connection.execute("SELECT record_number, outcome FROM stop_in_words ORDER BY 1").fetchall()
    assert stored == [(1, "A no further action disposal"), (3, None)]


def test_9_late_months_gaps_and_revisions_are_not_missed(database: Database) -> None:
    ahead = [*DAYS, make_api_record(datetime="2023-08-01T00:30:00+00:00")]
    months = {("durham", "2023-05"): DAYS, ("durham", "2023-06"): DAYS, ("durham", "2023-07"): ahead}
    with running_standin(months) as standin:
        standin.publication.hide("2023-05")
        ingest_api(database, standin.url)
        standin.publication.release("2023-05")
        standin.publication.replace("durham", "2023-08", DAYS)
        standin.publication.change("durham", "2023-06", drop=1)

        report = ingest_api(database, standin.url, Wanted(recheck=True))

    ended = {str(run.month): run.outcome.status for run in report.runs}
    assert ended == {"2023-05": "revised", "2023-06": "revised", "2023-07": "unchanged", "2023-08": "revised"}


def test_10_two_triggers_at_once_store_nothing_twice(database: Database) -> None:
    months = {("durham", f"2023-{month:02d}"): DAYS for month in range(1, 7)}
    with running_standin(months) as standin, ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: ingest_api(database, standin.url, Wanted(recheck=True)), range(3)))

    assert count_rows(database, "stop") == 6 * len(DAYS)
    assert count_rows(database, "revision") == 6
    assert breaches_of(database) == {}


def test_11_a_killed_process_loses_nothing_and_breaks_no_other(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    keys = [("wiltshire", f"2019-{month:02d}") for month in (1, 2, 4, 8, 9, 10)]
    archives = [
        write_archive(tmp_path / f"2021-1{number}.zip", {key: sample_month(*key) for key in keys[number::2]})
        for number in (0, 1)
    ]
    with (
        killables(tmp_path / "one.txt") as one,
        killables(tmp_path / "other.txt") as other,
        ThreadPoolExecutor(1) as pool,
    ):
        beside = pool.submit(other.run, database_url=database_url, paths=[str(archives[1])])
        killed = one.run(kill_after=(1, 0.0), database_url=database_url, paths=[str(archives[0])])
        assert beside.result().exit_code == 0

    assert killed.was_killed
    report = ingest_archives(database, archives[0])
    assert report.status == "finished"
    assert count_rows(database, "revision") == len(keys)
    with database.connect() as connection:
        [[cut_short]] = connection.execute("SELECT count(*) FROM ingest_batch WHERE status = 'running'").fetchall()
    assert cut_short == 0
    assert breaches_of(database) == {}


def test_13_no_more_months_are_in_memory_than_are_on_their_way(database: Database) -> None:
    alive: list[weakref.ref[Any]] = []
    most = 0

    def job(number: int) -> Job:
        async def fetch() -> Any:
            nonlocal most
            gc.collect()
            published = edition(many_records(200), month=str(Month(2020, 1).plus(number)))
            alive.append(weakref.ref(published))
            most = max(most, sum(reference() is not None for reference in alive))
            return published

        return Job(force="durham", month=Month(2020, 1).plus(number), source=Source.API, reason="test", fetch=fetch)

    async def ingest() -> None:
        with Batch(database, TRIGGER, {}) as batch:
            runs = await batch.bring_in(
                [[job(number) for number in range(20)]],
                in_flight=2,
                settings=settings_for(),
                watcher=None,
                stopping=None,
            )
        assert {run.outcome.status for run in runs} == {RunStatus.REVISED}

    asyncio.run(ingest())
    assert count_rows(database, "stop") == 20 * 200
    assert most <= 2 + 1  # those on their way, and the one just fetched


def test_14_many_at_once_stay_within_the_publishers_limit(database: Database) -> None:
    months = {("durham", str(Month(2021, 1).plus(number))): DAYS[:1] for number in range(36)}
    with running_standin(months, limit=Limit()) as standin, ThreadPoolExecutor(3) as pool:
        spans = [(Month(2021, 1).plus(first), Month(2021, 1).plus(first + 11)) for first in (0, 12, 24)]
        wanted = [Wanted(first=first, last=last) for first, last in spans]
        reports = list(pool.map(lambda some: ingest_api(database, standin.url, some), wanted))

    assert [report.count(RunStatus.REVISED) for report in reports] == [12, 12, 12]
    assert standin.stats.by_path["/api/stops-force"] == 36
    assert standin.stats.limited == 0


def test_15_what_is_needed_later_is_in_the_database_and_not_in_a_file(database: Database, tmp_path: Path) -> None:
    for name in ("2020-02", "2021-11"):
        body = sample_month("durham", "2020-01", edition=name)
        path = write_archive(tmp_path / f"{name}.zip", {("durham", "2020-01"): body})
        ingest_archives(database, path)
        path.unlink()

    [back] = revert(database, settings_for(), "durham", Month(2020, 1), trigger=TRIGGER).runs
    [same] = reprocess(database, settings_for(), Wanted(), trigger=TRIGGER).runs

    assert (back.outcome.stored, back.outcome.added, back.outcome.withdrawn) == (161, 27, 27)
    assert same.outcome.status is RunStatus.UNCHANGED


def test_18_forces_come_from_what_is_listed(database: Database) -> None:
    months = {("btp", "2023-07"): DAYS, ("a-force-of-tomorrow", "2023-07"): DAYS}
    with running_standin(months) as standin:
        report = ingest_api(database, standin.url)

    assert {run.force for run in report.runs} == {"btp", "a-force-of-tomorrow"}
    assert report.count(RunStatus.REVISED) == 2
    with database.connect() as connection:
        stored = connection.execute("SELECT force, count(*) FROM stop_in_words GROUP BY 1 ORDER BY 1").fetchall()
    assert stored == [("a-force-of-tomorrow", 30), ("btp", 30)]


def test_19_the_ledger_counts_what_is_in_the_tables_and_nothing_that_failed(database: Database) -> None:
    bring_in(database, edition(DAYS), edition(DAYS[:20], published="2030-01"))
    refuse(database, "stop")
    [failed] = bring_in(database, edition([*DAYS, make_api_record()], published="2030-02"))
    allow(database)

    assert (failed.outcome.status, failed.outcome.received, failed.outcome.stored) == ("failed", None, None)
    with database.connect() as connection:
        counted = connection.execute("SELECT sum(added), sum(withdrawn), count(*) FROM ingest_run").fetchone()
        kept = connection.execute("SELECT count(*), count(withdrawn_revision) FROM stop").fetchone()
    assert counted == (*(kept or ()), 3) == (30, 10, 3)


def test_21_the_cost_does_not_depend_on_the_share_of_bad_rows() -> None:
    sound = json.loads(json.dumps(real_records())) * 8

    def steps(every: int, **fault: Any) -> tuple[int, int]:
        bad = range(0, len(sound), every) if fault else range(0)
        records = [record | fault if number in bad else record for number, record in enumerate(sound)]
        return _steps_of(json.dumps(records).encode()), len(bad)

    clean, _ = steps(1)
    for fault in ({"gender": "No such label"}, {"legislation": 5}):
        few, bad = steps(100, **fault)
        many, most = steps(2, **fault)
        # What one bad record costs beside a sound month is the same, be there few of them or many.
        assert (many - clean) / most <= (few - clean) / bad
        assert (many - few) / (most - bad) < 100


def _steps_of(body: bytes) -> int:
    """
    Count the calls that Python makes for a month: the same on any machine, however busy.
    """
    count = 0

    def step(*_: object) -> None:
        nonlocal count
        count += 1

    sys.setprofile(step)
    try:
        _part_of(body)
    finally:
        sys.setprofile(None)
    return count


def _part_of(body: bytes) -> None:
    published = edition(body)
    source = decode(published.shape, published.body)
    normal = normal_form(source.frame)
    identities = identify("durham", Month(2023, 7), normal)
    parted = part(clean_stops("durham", source, normal, identities).frame)
    source.raw(sorted(parted.rejected))


@contextmanager
def counted_statements() -> Iterator[list[str]]:
    """
    List the statements that this process sends meanwhile.
    """
    sent: list[str] = []
    execute = psycopg.Cursor.execute

    def counted(cursor: Any, query: Any, *args: Any, **options: Any) -> Any:
        if "ANALYZE" not in str(query):  # asked for where a table has grown, once however many records
            sent.append(str(query))
        return execute(cursor, query, *args, **options)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(psycopg.Cursor, "execute", counted)
        yield sent


def test_21_a_file_with_bad_lines_is_read_whole(database: Database) -> None:
    rows = csv_rows(sample_month("btp", "2020-07"))
    for number in range(0, len(rows), 100):
        rows[number]["Date"] = f"no date {number}"

    outcome = bring_one_in(database, edition(csv_of(rows), force="btp", month="2020-07"))

    assert (outcome.received, outcome.stored, outcome.rejected) == (1069, 1058, 11)
