"""
Rebuilds from kept bodies: replay, dismissal, revert, and what can't be rebuilt.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import psycopg
import pytest

from builders.archives import sample_month, write_archive
from builders.ingests import TRIGGER, bring_in, bring_one_in, edition, ingest_archives, settings_for
from builders.standin import make_api_record
from builders.store_state import breaches_of, count_rows
from stopsearch.domain.dimensions import Dimension
from stopsearch.domain.errors import StoreUnavailable, UnknownRevision
from stopsearch.domain.months import Month
from stopsearch.domain.states import BatchStatus, LetterState, RunStatus
from stopsearch.flows import rebuild as rebuild_flow
from stopsearch.flows import rebuild_month as rebuild_month_flow
from stopsearch.flows.plan import Wanted
from stopsearch.flows.rebuild import replay_letters, reprocess, revert, revert_batch
from stopsearch.store.database import Database
from stopsearch.store.forces import force_code
from stopsearch.store.letters import dismiss_letters, find_letters
from stopsearch.store.locks import try_lock_month, unlock_month
from stopsearch.store.snapshots import current_snapshot, find_snapshot
from stopsearch.validate import contract, split

pytestmark = pytest.mark.integration

MEN = [make_api_record(datetime=f"2023-07-{day:02d}T10:00:00+00:00") for day in range(1, 5)]
MIXED = [*MEN, make_api_record(gender="Female"), make_api_record(gender="?")]


def bring_in_without(database: Database, gender: str, records: list[Any]) -> int | None:
    """
    Bring a month in while another rule rejects everybody of one gender; give how many records were rejected.
    """
    rule = contract.Rule(name="not_this", column="gender", message="-", keeps=pl.col("gender").ne_missing(gender))
    rules = (*contract.ALL_RULES, rule)
    with pytest.MonkeyPatch.context() as patched:
        for module in (contract, split):
            patched.setattr(module, "ALL_RULES", rules)
        return bring_one_in(database, edition(records), refuse_share=1.0).rejected


@pytest.fixture
def men_rejected(database: Database) -> Database:
    """
    A month that came in while another rule rejected every man: four letters that pass today, one that doesn't.
    """
    assert bring_in_without(database, "Male", MIXED) == 5
    return database


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A rebuild that meets a busy force-month again at once.
    """
    monkeypatch.setattr(rebuild_flow, "_BUSY_WAIT_S", 0.0)


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
        [dismissed] = find_letters(connection, states=(LetterState.DISMISSED,))

    replay_letters(men_rejected, settings_for(), trigger=TRIGGER)
    reprocess(men_rejected, settings_for(), Wanted(), trigger=TRIGGER)

    with men_rejected.connect() as connection:
        revisions = connection.execute("SELECT stored, rejected FROM revision ORDER BY number").fetchall()
        kept = find_letters(connection, states=(LetterState.DISMISSED,))
        by_rule = connection.execute("SELECT rejected_by_rule FROM revision WHERE number = 2").fetchone()
    assert revisions == [(1, 5), (4, 2)]
    assert by_rule == ({"not_this": 1, "gender_is_known": 1},)
    assert {letter.decided_at for letter in kept} == {dismissed.decided_at}
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


def test_a_dismissed_record_has_no_say_in_what_is_told_of_the_stops(database: Database) -> None:
    midnights = [make_api_record(datetime=f"2023-07-{day:02d}T23:00:00+00:00") for day in range(1, 13)]
    woman = make_api_record(gender="Female", datetime="2023-07-20T10:00:00+00:00", location=None)
    assert bring_in_without(database, "Female", [*midnights, woman]) == 1
    with database.connect(autocommit=True) as connection:
        dismiss_letters(connection, [letter.id for letter in find_letters(connection)], reason="a test")
        connection.execute("UPDATE revision SET rules_version = 0")
        before = connection.execute("SELECT quality, is_date_only FROM revision").fetchone()

    [run] = reprocess(database, settings_for(), Wanted(), trigger=TRIGGER).runs

    assert (run.outcome.status, run.outcome.stored, run.outcome.rejected) == (RunStatus.REVISED, 12, 1)
    with database.connect() as connection:
        after = connection.execute("SELECT quality, is_date_only FROM revision WHERE number = 2").fetchone()
        hours = connection.execute(
            """
            SELECT value_code, stops FROM stop_total
            WHERE dimension_code = %s AND first_revision <= 2 AND (withdrawn_revision IS NULL OR withdrawn_revision > 2)
            """,
            [int(Dimension.HOUR)],
        ).fetchall()
    assert before is not None
    assert before[1]  # the file's force gave dates alone
    assert after == before
    assert hours == [(0, 12)]  # no hour is known


def test_content_that_comes_back_without_its_dismissals_is_another_snapshot(database: Database) -> None:
    """
    The same content under the same rules, stored once without a record that somebody had dismissed and once with it.
    """
    woman = make_api_record(gender="Female")
    bring_in_without(database, "Female", [*MEN, woman])
    with database.connect(autocommit=True) as connection:
        dismiss_letters(connection, [letter.id for letter in find_letters(connection)], reason="a test")
        # Other rules made it, so that its snapshot had another id than what today's make of the same.
        connection.execute("UPDATE revision SET rules_version = 0")
        connection.execute("DELETE FROM snapshot")
    reprocess(database, settings_for(), Wanted(), trigger=TRIGGER)
    with database.connect(autocommit=True) as connection:
        without_her = current_snapshot(connection)[0]
    bring_in(database, edition(MEN[:2]), edition([*MEN, woman]))
    with database.connect(autocommit=True) as connection:
        with_her = current_snapshot(connection)[0]
        found = find_snapshot(connection, without_her.id)

    assert (found.stops, with_her.stops) == (4, 5)
    assert with_her.id != without_her.id
    [(revision, same)] = zip(found.revisions, with_her.revisions, strict=True)
    assert (revision.content_digest, revision.rules_version) == (same.content_digest, same.rules_version)
    assert (revision.dismissed is None, same.dismissed) == (False, None)


def test_a_reprocessing_sees_all_that_a_revision_says(database: Database) -> None:
    bring_one_in(database, edition(MIXED))
    changes = [
        "rules_version = 0",
        "is_doubled = NOT is_doubled",
        "is_date_only = NOT is_date_only",
        """mended = '{"a_mend_of_old": 1}'""",
        """quality = quality || '{"repeats": 77}'""",
        """rejected_by_rule = '{"a_rule_of_old": 1}'""",
    ]
    for number, change in enumerate(changes, start=2):  # each as if other rules had made the current revision
        with database.connect(autocommit=True) as connection:
            connection.execute(f"UPDATE revision SET {change} WHERE served_until IS NULL")

        [run] = reprocess(database, settings_for(), Wanted(), trigger=TRIGGER).runs
        [again] = reprocess(database, settings_for(), Wanted(), trigger=TRIGGER).runs

        assert (run.outcome.status, run.outcome.added, run.outcome.withdrawn) == (RunStatus.REVISED, 0, 0), change
        assert (again.outcome.status, again.outcome.revision) == (RunStatus.UNCHANGED, number), change
    assert count_rows(database, "revision") == 1 + len(changes)
    assert breaches_of(database) == {}


def test_a_batch_that_brought_two_editions_is_taken_back_whole(database: Database) -> None:
    bring_in(database, edition(MEN, published="2024-01"))
    two = [edition(MEN[1:], published="2025-01"), edition(MEN[2:], published="2026-01")]
    bring_in(database, *two, *(replace(one, force="kent") for one in two))
    with database.connect() as connection:
        row = connection.execute("SELECT max(id) FROM ingest_batch").fetchone()
    assert row is not None

    report = revert_batch(database, settings_for(), row[0], trigger=TRIGGER)

    ended = {run.force: run.outcome for run in report.runs}
    assert (ended["durham"].status, ended["durham"].stored) == (RunStatus.REVISED, 4)
    assert (ended["kent"].status, ended["kent"].error_kind) == (RunStatus.FAILED, "unknown_revision")
    assert breaches_of(database) == {}


def test_a_revert_that_is_delivered_twice_changes_something_once(database: Database) -> None:
    bring_in(database, edition(MEN, published="2024-01"), edition(MEN[1:], published="2025-01"))

    ended = [
        run.outcome.status
        for _ in range(2)
        for run in revert(database, settings_for(), "durham", Month(2023, 7), to=1, trigger=TRIGGER).runs
    ]

    assert ended == [RunStatus.REVISED, RunStatus.UNCHANGED]
    assert count_rows(database, "revision") == 3


def test_what_breaks_one_force_month_harms_no_other_and_tells_no_value(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring_in(database, edition(MEN), edition(MEN, force="kent"))
    read = rebuild_month_flow.read_edition

    def break_durham(connection: Any, kept: Any) -> Any:
        if kept.force == "durham":
            raise KeyError("a value out of a record")
        return read(connection, kept)

    monkeypatch.setattr(rebuild_month_flow, "read_edition", break_durham)
    report = reprocess(database, settings_for(), Wanted(), trigger=TRIGGER)

    assert [run.outcome.status for run in report.runs] == [RunStatus.FAILED, RunStatus.UNCHANGED]
    with database.connect() as connection:
        row = connection.execute("SELECT error_text FROM ingest_run WHERE status = 'failed'").fetchone()
        batch = connection.execute("SELECT status FROM ingest_batch ORDER BY id DESC LIMIT 1").fetchone()
    assert row is not None
    assert "KeyError" in row[0]
    assert "record" not in row[0]
    assert batch == (BatchStatus.FINISHED_WITH_FAILURES,)


def test_a_rebuild_ends_where_its_database_went_away(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    bring_in(database, edition(MEN), edition(MEN, force="kent"))

    def lose_the_database(connection: psycopg.Connection, kept: object) -> None:
        with database.connect(autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [connection.info.backend_pid])
        connection.execute("SELECT 1")

    monkeypatch.setattr(rebuild_month_flow, "read_edition", lose_the_database)
    with pytest.raises(StoreUnavailable):
        reprocess(database, settings_for(), Wanted(), trigger=TRIGGER)

    assert count_rows(database, "ingest_run") == 3  # kent's was not begun: durham's comes first


def test_a_busy_force_month_is_met_again_behind_the_others(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    bring_in(database, edition(MEN), edition(MEN, force="kent"))
    with database.connect(autocommit=True) as other:
        code = force_code(other, "durham")
        assert try_lock_month(other, code, Month(2023, 7))
        let_go = SimpleNamespace(sleep=lambda _: unlock_month(other, code, Month(2023, 7)))
        monkeypatch.setattr(rebuild_flow, "time", let_go)

        report = reprocess(database, settings_for(), Wanted(), trigger=TRIGGER)

    assert [(run.force, run.outcome.status) for run in report.runs] == [
        ("kent", RunStatus.UNCHANGED),
        ("durham", RunStatus.UNCHANGED),
    ]


@pytest.mark.usefixtures("impatient")
def test_a_force_month_that_stays_busy_is_said_to_be(database: Database) -> None:
    bring_one_in(database, edition(MEN))
    with database.connect(autocommit=True) as other:
        assert try_lock_month(other, force_code(other, "durham"), Month(2023, 7))
        [run] = reprocess(database, settings_for(), Wanted(), trigger=TRIGGER).runs

    assert run.outcome.status is RunStatus.BUSY
    with database.connect() as connection:
        tries = connection.execute("SELECT attempt, status FROM ingest_run WHERE source = 'kept' ORDER BY 1").fetchall()
    assert tries == [(1, "busy"), (2, "busy"), (3, "busy")]


@pytest.mark.usefixtures("impatient")
def test_a_letter_that_is_dismissed_while_it_is_replayed_stays_dismissed(
    men_rejected: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = rebuild_month_flow.build_edition

    def build_while_somebody_dismisses(*asked: Any, **named: Any) -> Any:
        with men_rejected.connect(autocommit=True) as connection:
            letters = find_letters(connection)
            dismiss_letters(connection, [one.id for one in letters if one.record_number == 2], reason="a test")
        return build(*asked, **named)

    monkeypatch.setattr(rebuild_month_flow, "build_edition", build_while_somebody_dismisses)
    report = replay_letters(men_rejected, settings_for(), trigger=TRIGGER)

    assert report.replayed == 3
    assert (1, 2, "dismissed") in states(men_rejected)
    assert (2, 2, "dismissed") in states(men_rejected)
    assert breaches_of(men_rejected) == {}
