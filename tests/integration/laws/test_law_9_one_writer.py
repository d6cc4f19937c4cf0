"""
Law 9, one writer per force-month: a second one says so and leaves, and the batch queues it again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from psycopg import Connection

from builders.archives import sample_members, write_archive
from builders.ingests import TRIGGER, bring_in, bring_jobs_in, bring_one_in, edition, settings_for
from builders.killable import killables
from builders.standin import make_api_record
from builders.store_state import breaches_of, content_of, count_rows
from stopsearch.domain.errors import RunAlreadyActive
from stopsearch.domain.months import Month
from stopsearch.domain.published import PublishedMonth
from stopsearch.domain.states import RunStatus, Source
from stopsearch.flows import bring_in as bring_in_flow
from stopsearch.flows import rebuild as rebuild_flow
from stopsearch.flows.plan import Wanted
from stopsearch.flows.rebuild import reprocess
from stopsearch.flows.runs import Job
from stopsearch.store.database import Database
from stopsearch.store.forces import force_code
from stopsearch.store.locks import locked_month, try_lock_month

pytestmark = pytest.mark.integration


@contextmanager
def another_writer(database: Database, force: str = "durham", month: str = "2023-07") -> Iterator[None]:
    """
    Be the one writer of a force-month.
    """
    with database.connect(autocommit=True) as connection:
        assert try_lock_month(connection, force_code(connection, force), Month.parse(month))
        yield


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bring_in_flow, "_BUSY_WAIT_S", 0.1)


@pytest.mark.usefixtures("short_waits")
def test_law_9_one_writer_a_second_says_so_and_leaves(database: Database) -> None:
    with another_writer(database):
        [busy, free] = bring_in(database, edition([make_api_record()]), edition([make_api_record()], force="kent"))

    assert (busy.outcome.status, busy.outcome.error_kind) == (RunStatus.BUSY, "run_already_active")
    assert busy.outcome.error_text is not None
    assert "durham 2023-07" in busy.outcome.error_text
    assert free.outcome.status is RunStatus.REVISED
    assert count_rows(database, "stop") == 1
    assert bring_one_in(database, edition([make_api_record()])).status is RunStatus.REVISED


def test_law_9_one_writer_the_batch_queues_a_busy_month_again(database: Database) -> None:
    leaving = threading.Event()

    def write() -> None:
        with another_writer(database):
            held.set()
            leaving.wait(10)

    held = threading.Event()
    other = threading.Thread(target=write)
    other.start()
    held.wait(10)
    threading.Timer(0.5, leaving.set).start()

    outcome = bring_one_in(database, edition([make_api_record()]))

    other.join()
    assert outcome.status is RunStatus.REVISED
    assert count_rows(database, "stop") == 1


def test_law_9_one_writer_other_months_and_forces_are_not_in_the_way(database: Database) -> None:
    with another_writer(database, month="2023-06"), another_writer(database, force="kent"):
        assert bring_one_in(database, edition([make_api_record()])).status is RunStatus.REVISED


def test_law_9_one_writer_a_writer_that_is_gone_is_no_writer(database: Database) -> None:
    connection = database.connect(autocommit=True)
    assert try_lock_month(connection, force_code(connection, "durham"), Month(2023, 7))
    with database.connect(autocommit=True) as other:
        assert not try_lock_month(other, force_code(other, "durham"), Month(2023, 7))
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [connection.info.backend_pid])

    assert bring_one_in(database, edition([make_api_record()])).status is RunStatus.REVISED


def test_law_9_one_writer_a_rebuild_leaves_too(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuild_flow, "_BUSY_WAIT_S", 0)
    bring_one_in(database, edition([make_api_record(gender="?"), make_api_record()]))
    before = content_of(database)

    with another_writer(database):
        [run] = reprocess(database, settings_for(), Wanted(), trigger=TRIGGER).runs

    assert run.outcome.error_kind == "run_already_active"
    assert content_of(database) == before


def test_law_9_one_writer_the_lock_is_let_go_also_after_a_failure(database: Database) -> None:
    bring_one_in(database, edition(b'{"error": "no list"}'))

    with database.connect(autocommit=True) as connection:
        with locked_month(connection, force_code(connection, "durham"), Month(2023, 7)):
            pass
        # The server ends a connection that was closed a moment later, and its locks with it.
        deadline = time.monotonic() + 10
        while _locks(connection) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert _locks(connection) == 0


def _locks(connection: Connection) -> int:
    row = connection.execute(
        """
        SELECT count(*) FROM pg_locks
        WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        """
    ).fetchone()
    assert row is not None
    return int(row[0])


def test_law_9_one_writer_a_writer_that_looked_too_early_writes_nothing(database: Database) -> None:
    """
    Should two writers meet in spite of the lock, the row of the force-month itself stops the second.
    """
    first = edition([make_api_record()])
    look = bring_in_flow.look

    def look_and_be_overtaken(*asked: object) -> object:
        held = look(*asked)  # type: ignore[arg-type]
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(bring_in_flow, "look", look)
            patched.setattr(bring_in_flow, "try_lock_month", lambda *_: True)
            assert bring_one_in(database, first).status is RunStatus.REVISED
        return held

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(bring_in_flow, "look", look_and_be_overtaken)
        patched.setattr(bring_in_flow, "_BUSY_TRIES", 1)
        [late] = bring_in(database, edition([make_api_record(gender="Female")]))

    assert (late.outcome.status, late.outcome.error_kind) == (RunStatus.BUSY, RunAlreadyActive.kind)
    assert count_rows(database, "stop") == count_rows(database, "revision") == 1
    assert breaches_of(database) == {}


def test_law_9_one_writer_two_processes_at_once_store_everything_once(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    keys = [("wiltshire", f"2019-{month:02d}") for month in (1, 2, 4, 8, 9, 10)]
    members = {key: sample_members("2021-11")[key] for key in keys}
    archive = write_archive(tmp_path / "2021-11.zip", members)

    def ingest(number: int) -> int:
        with killables(tmp_path / f"errors-{number}.txt") as processes:
            return processes.run(database_url=database_url, paths=[str(archive)]).exit_code

    with ThreadPoolExecutor(2) as pool:
        codes = list(pool.map(ingest, range(2)))

    assert 0 in codes
    assert set(codes) <= {0, 2}  # 2: some month stayed busy to the end
    assert count_rows(database, "revision") == len(keys)
    assert count_rows(database, "stop") == sum(body.count(b"\n") - 1 for body in members.values())
    assert breaches_of(database) == {}


def test_law_9_one_writer_a_rebuild_takes_what_is_current_when_its_turn_comes(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = [make_api_record(), make_api_record(gender="?")], [make_api_record(gender="Female")]
    bring_one_in(database, edition(first, published="2023-09"))
    choose = rebuild_flow.current_editions

    def choose_and_be_overtaken(connection: Any) -> Any:
        chosen = choose(connection)
        assert bring_one_in(database, edition(second, published="2023-10")).status is RunStatus.REVISED
        return chosen

    monkeypatch.setattr(rebuild_flow, "current_editions", choose_and_be_overtaken)
    [run] = reprocess(database, settings_for(), Wanted(), trigger=TRIGGER).runs

    assert run.outcome.status is RunStatus.UNCHANGED
    assert count_rows(database, "revision") == 2
    with database.connect() as connection:
        genders = connection.execute("SELECT gender FROM stop_in_words WHERE withdrawn_revision IS NULL").fetchall()
    assert genders == [("Female",)]


def test_law_9_one_writer_a_second_asks_nothing_of_what_the_first_has_just_brought_in(database: Database) -> None:
    """
    Two commands planned the same month; the second gets the lock when the first is done, and must not ask again.
    """
    planned_at = datetime.now(UTC)
    bring_one_in(database, edition([make_api_record()]))

    async def fetch() -> PublishedMonth:
        raise AssertionError("the publisher was asked for what is held")

    job = Job(force="durham", month=Month(2023, 7), source=Source.API, reason="due", fetch=fetch, planned_at=planned_at)
    [report] = bring_jobs_in(database, job)
    assert (report.outcome.status, report.outcome.revision) == (RunStatus.UNCHANGED, 1)
