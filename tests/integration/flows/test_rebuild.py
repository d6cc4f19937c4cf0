"""
Rebuilds from kept bodies: replay, dismissal, revert, and what can't be rebuilt.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from builders.archives import sample_month, write_archive
from builders.ingests import TRIGGER, bring_in, bring_one_in, edition, ingest_archives, settings_for
from builders.standin import make_api_record
from builders.store_state import breaches_of, count_rows
from stopsearch.domain.errors import UnknownRevision
from stopsearch.domain.months import Month
from stopsearch.domain.states import LetterState, RunStatus
from stopsearch.flows.plan import Wanted
from stopsearch.flows.rebuild import replay_letters, reprocess, revert, revert_batch
from stopsearch.store.database import Database
from stopsearch.store.letters import dismiss_letters, find_letters
from stopsearch.validate import contract, split

pytestmark = pytest.mark.integration

MEN = [make_api_record(datetime=f"2023-07-{day:02d}T10:00:00+00:00") for day in range(1, 5)]
MIXED = [*MEN, make_api_record(gender="Female"), make_api_record(gender="?")]


@pytest.fixture
def men_rejected(database: Database) -> Database:
    """
    A month that came in while another rule rejected every man: four letters that pass today, one that doesn't.
    """
    rule = contract.Rule(name="no_men", column="gender", message="-", keeps=pl.col("gender").ne_missing("Male"))
    rules = (*contract.ALL_RULES, rule)
    with pytest.MonkeyPatch.context() as patched:
        for module in (contract, split):
            patched.setattr(module, "ALL_RULES", rules)
        assert bring_one_in(database, edition(MIXED), refuse_share=1.0).rejected == 5
    return database


def states(database: Database) -> list[tuple[int, int, str]]:
    with database.connect() as connection:
        return connection.execute(
            "SELECT revision, record_number, state FROM dead_letter ORDER BY revision, record_number"
        ).fetchall()


def test_a_replay_makes_stops_of_the_letters_that_pass(men_rejected: Database) -> None:
    report = replay_letters(men_rejected, settings_for(), trigger=TRIGGER)

    [run] = report.runs
    assert (report.replayed, report.still_rejected) == (4, 1)
    assert (run.outcome.received, run.outcome.stored, run.outcome.rejected) == (6, 5, 1)
    assert (run.outcome.added, run.outcome.withdrawn) == (4, 0)
    assert states(men_rejected) == [
        *((1, number, "replayed") for number in range(1, 5)),
        (1, 6, "superseded"),
        (2, 6, "open"),
    ]
    with men_rejected.connect() as connection:
        counts = connection.execute("SELECT cause, stored, rejected FROM revision ORDER BY number").fetchall()
    assert counts == [("upstream", 1, 5), ("replay", 5, 1)]  # what the first one counted stays
    assert breaches_of(men_rejected) == {}


def test_a_dismissed_letter_stays_rejected_and_counts_as_such(men_rejected: Database) -> None:
    with men_rejected.connect(autocommit=True) as connection:
        letters = find_letters(connection)
        chosen = [letter.id for letter in letters if letter.record_number == 2]
        assert dismiss_letters(connection, chosen, reason="a test stop of the force's own") == 1
        assert dismiss_letters(connection, chosen, reason="again") == 0

    replay_letters(men_rejected, settings_for(), trigger=TRIGGER)
    reprocess(men_rejected, settings_for(), Wanted(), trigger=TRIGGER)

    with men_rejected.connect() as connection:
        revisions = connection.execute("SELECT stored, rejected FROM revision ORDER BY number").fetchall()
        kept = find_letters(connection, states=(LetterState.DISMISSED,))
    assert revisions == [(1, 5), (4, 2)]
    assert {(letter.record_number, letter.reason) for letter in kept} == {(2, "a test stop of the force's own")}
    assert breaches_of(men_rejected) == {}


def test_letters_are_chosen_by_force_month_rule_and_number(men_rejected: Database) -> None:
    bring_one_in(men_rejected, edition([make_api_record(), make_api_record(type="?")], force="kent"))

    with men_rejected.connect() as connection:
        everything = find_letters(connection)
        assert [letter.force for letter in everything] == ["durham"] * 5 + ["kent"]
        assert len(find_letters(connection, force="kent")) == 1
        assert find_letters(connection, month=Month(2023, 6)) == []
        assert [letter.record_number for letter in find_letters(connection, rule="gender_is_known")] == [6]
        assert [letter.force for letter in find_letters(connection, ids=[everything[5].id])] == ["kent"]
        assert len(find_letters(connection, limit=2)) == 2
    assert replay_letters(men_rejected, settings_for(), rule="no_such_rule", trigger=TRIGGER).runs == []


def test_a_batch_is_taken_back_as_far_as_there_was_something_before(database: Database, tmp_path: Path) -> None:
    kept, only = ("durham", "2020-01"), ("wiltshire", "2019-01")
    ingest_archives(database, write_archive(tmp_path / "2020-02.zip", {kept: sample_month(*kept, edition="2020-02")}))
    wrong = ingest_archives(
        database, write_archive(tmp_path / "2021-11.zip", {kept: sample_month(*kept), only: sample_month(*only)})
    )
    assert wrong.batch_id is not None

    report = revert_batch(database, settings_for(), wrong.batch_id, trigger=TRIGGER)

    ended = {run.force: run.outcome for run in report.runs}
    assert (ended["durham"].status, ended["durham"].added, ended["durham"].withdrawn) == (RunStatus.REVISED, 27, 27)
    assert ended["wiltshire"].error_kind == "unknown_revision"
    assert breaches_of(database) == {}


def test_a_revert_goes_to_the_revision_that_is_named(database: Database) -> None:
    editions = [MEN, MEN[1:], MEN[2:]]
    bring_in(database, *(edition(some, published=f"202{n}-01") for n, some in enumerate(editions, start=4)))

    [run] = revert(database, settings_for(), "durham", Month(2023, 7), to=1, trigger=TRIGGER).runs

    assert (run.outcome.revision, run.outcome.stored, run.outcome.added) == (4, 4, 2)
    with database.connect() as connection:
        lives = connection.execute("SELECT id, count(*) FROM stop GROUP BY id").fetchall()
    assert sorted(count for _, count in lives) == [1, 1, 2, 2]


@pytest.mark.parametrize("to", [None, 7])
def test_there_is_nothing_to_revert_to(database: Database, to: int | None) -> None:
    bring_one_in(database, edition(MEN))

    with pytest.raises(UnknownRevision):
        revert(database, settings_for(), "durham", Month(2023, 7), to=to, trigger=TRIGGER)

    assert count_rows(database, "revision") == count_rows(database, "ingest_batch") == 1


def test_the_publisher_changed_nothing_after_a_revert(database: Database) -> None:
    bring_in(database, edition(MEN, published="2024-01"), edition(MEN[1:], published="2025-01"))
    revert(database, settings_for(), "durham", Month(2023, 7), trigger=TRIGGER)

    assert bring_one_in(database, edition(MEN, published="2024-01")).status is RunStatus.UNCHANGED
    newer = bring_one_in(database, edition(MEN[2:], published="2026-01"))

    assert newer.status is RunStatus.REVISED
    assert breaches_of(database) == {}
