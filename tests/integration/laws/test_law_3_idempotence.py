"""
Law 3, idempotence: the same content again writes no stop and makes no revision, however it is delivered.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from builders.archives import csv_of, csv_rows, sample_month
from builders.ingests import TRIGGER, bring_one_in, edition, ingest_api, settings_for
from builders.standin import make_api_record, make_csv, running_standin
from builders.store_state import breaches_of, content_of, count_rows, row_places
from stopsearch.domain.states import RunStatus
from stopsearch.flows.plan import Wanted
from stopsearch.flows.rebuild import replay_letters, reprocess
from stopsearch.store.database import Database

pytestmark = pytest.mark.integration

TABLES = ("stop", "stop_count", "revision", "dead_letter", "published_body")
MADE = [
    *[make_api_record()] * 2,
    *[make_api_record(datetime=f"2023-07-{day:02d}T10:00:00+00:00", outcome="") for day in range(1, 20)],
    make_api_record(gender="No label"),
    make_api_record(location=None),
]


def shuffled(records: list[Any]) -> list[Any]:
    return random.Random(1).sample(records, len(records))


def with_other_streets(records: list[Any]) -> list[Any]:
    located = [record for record in records if record["location"]]
    others = [record for record in records if not record["location"]]
    moved = [{**r, "location": {**r["location"], "street": {"id": 5, "name": "Other Road"}}} for r in located]
    return [*moved, *others]


# The same content, said in other ways.
SAME: dict[str, Callable[[list[Any]], Any]] = {
    "the same bytes": lambda records: records,
    "in another order": shuffled,
    "as the archive's file": make_csv,
    "as the archive's file with LF": lambda records: make_csv(records, newline="\n"),
    "with a key that nobody knows": lambda records: [{**record, "weather": "rain"} for record in records],
    "with other streets": with_other_streets,
    "without the outcome's object": lambda records: [
        {key: value for key, value in record.items() if key != "outcome_object"} for record in records
    ],
    "with nothing given as null and as absent": lambda records: [
        {
            key: value
            for key, value in {**record, "outcome": record["outcome"] or None}.items()
            if key != "operation_name"
        }
        if number
        else record
        for number, record in enumerate(records)
    ],
}


@pytest.mark.parametrize("way", SAME)
def test_law_3_idempotence_the_same_content_writes_nothing(database: Database, way: str) -> None:
    bring_one_in(database, edition(MADE))
    places = {table: row_places(database, table) for table in TABLES if table != "published_body"}
    again = edition(SAME[way](MADE), published="2030-01")

    for _ in range(2):
        outcome = bring_one_in(database, again)
        assert (outcome.status, outcome.revision) == (RunStatus.UNCHANGED, 1)

    assert {table: row_places(database, table) for table in places} == places
    assert breaches_of(database) == {}


def test_law_3_idempotence_each_real_month_reordered_is_unchanged(database: Database) -> None:
    for force, month in (("dyfed-powys", "2019-01"), ("cambridgeshire", "2019-01"), ("cumbria", "2019-03")):
        body = sample_month(force, month)
        bring_one_in(database, edition(body, force=force, month=month, published="2021-11"))
        places = row_places(database)
        reordered = edition(csv_of(shuffled(csv_rows(body))), force=force, month=month, published="2022-01")
        assert bring_one_in(database, reordered).status is RunStatus.UNCHANGED
        assert row_places(database) == places


def test_law_3_idempotence_one_repeat_more_is_a_change_of_one_row(database: Database) -> None:
    body = sample_month("durham", "2019-01")
    rows = csv_rows(body)
    bring_one_in(database, edition(body, month="2019-01", published="2021-11"))

    more = bring_one_in(database, edition(csv_of([*rows, rows[3]]), month="2019-01", published="2022-01"))
    less = bring_one_in(database, edition(body, month="2019-01", published="2022-02"))

    assert (more.status, more.added, more.withdrawn) == (RunStatus.REVISED, 1, 0)
    assert (less.status, less.added, less.withdrawn) == (RunStatus.REVISED, 0, 1)


def test_law_3_idempotence_the_same_edition_delivered_twice_at_once_is_stored_once(database: Database) -> None:
    body = sample_month("durham", "2019-01")
    same = edition(body, month="2019-01", published="2021-11")

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(lambda _: bring_one_in(database, same), range(2)))

    assert sorted(outcome.status for outcome in outcomes) == ["revised", "unchanged"]
    assert (count_rows(database, "revision"), count_rows(database, "stop")) == (1, 179)
    assert breaches_of(database) == {}


def test_law_3_idempotence_two_triggers_at_once_store_everything_once(database: Database) -> None:
    months = {("durham", f"2023-{month:02d}"): MADE for month in range(1, 6)}
    with running_standin(months) as standin, ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(lambda _: ingest_api(database, standin.url), range(2)))

    ended = [run.outcome.status for report in reports for run in report.runs]
    assert ended.count(RunStatus.REVISED) == 5
    assert set(ended) <= {RunStatus.REVISED, RunStatus.UNCHANGED}
    assert count_rows(database, "stop") == 5 * (len(MADE) - 1)
    assert breaches_of(database) == {}


def test_law_3_idempotence_a_replay_and_a_reprocessing_that_change_nothing_write_nothing(database: Database) -> None:
    bring_one_in(database, edition(MADE))
    before, places = content_of(database), row_places(database)

    for attempt in (1, 2):
        replayed = replay_letters(database, settings_for(), trigger=TRIGGER)
        reprocessed = reprocess(database, settings_for(), Wanted(), trigger=TRIGGER)
        assert (replayed.replayed, replayed.still_rejected) == (0, 1)
        assert [run.outcome.status for run in (*replayed.runs, *reprocessed.runs)] == [RunStatus.UNCHANGED] * 2
        after = content_of(database)
        assert [letter[-1] for letter in after.pop("dead_letter")] == [attempt]
        assert after == {table: rows for table, rows in before.items() if table != "dead_letter"}
    assert row_places(database) == places
