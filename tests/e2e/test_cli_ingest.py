"""
`plan` and `ingest` as a user calls them, against a stand-in for the publisher.
"""

from __future__ import annotations

import os
import signal
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builders.archives import member_name, sample_month, write_archive
from builders.command_line import CommandLine, end
from builders.standin import RunningStandin, make_api_record, running_standin
from stopsearch.store.database import Database

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("cli-ingest")]

FORCES = ("durham", "kent", "suffolk")
MONTHS = ("2023-05", "2023-06", "2023-07")
ALL = {(force, month) for force in FORCES for month in MONTHS}


def records(force: str, month: str) -> list[dict[str, Any]]:
    """
    Make a force-month of three records, which differ.
    """
    return [make_api_record(datetime=f"{month}-{day:02}T12:30:00+00:00") for day in (3, 4, 5)]


@pytest.fixture
def upstream() -> Iterator[RunningStandin]:
    with running_standin({pair: records(*pair) for pair in sorted(ALL)}) as standin:
        yield standin


@pytest.fixture
def stopsearch(tmp_path: Path, database_url: str, upstream: RunningStandin) -> CommandLine:
    return CommandLine(folder=tmp_path, settings={"DATABASE_URL": database_url, "UPSTREAM_URL": upstream.url})


def held(stopsearch: CommandLine) -> set[tuple[str, str]]:
    """
    Tell which force-months are held.
    """
    cells = stopsearch.look("coverage", "--json").objects
    return {(cell["force"], cell["month"]) for cell in cells if cell["state"] == "held"}


def rows_of_every_table(database: Database) -> dict[str, str]:
    """
    Give every table's rows as text, but those of the call budget.
    """
    with database.connect() as connection:
        tables = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'call_budget'"
        ).fetchall()
        return {table: str(connection.execute(f'SELECT * FROM "{table}" ORDER BY 1').fetchall()) for (table,) in tables}


def asked(upstream: RunningStandin) -> list[int]:
    """
    Tell how often each force-month was asked for.
    """
    return [upstream.stats.asked(*pair) for pair in sorted(ALL)]


def test_brings_in_what_is_due_and_nothing_else(stopsearch: CommandLine, upstream: RunningStandin) -> None:
    planned = stopsearch.look("plan", "--json").objects
    assert {(due["force"], due["month"]) for due in planned} == ALL
    assert {due["reason"] for due in planned} == {"listed, not held"}

    assert "9 force-months due" in stopsearch.look("ingest", "--dry-run").out
    assert asked(upstream) == [0] * 9
    assert held(stopsearch) == set()

    [some] = stopsearch.look("ingest", "--json", "--from", "2023-07", FORCES="durham,kent").objects
    assert {(run["force"], run["month"]) for run in some["runs"]} == {("durham", "2023-07"), ("kent", "2023-07")}

    rest = stopsearch("ingest")
    assert "7 force-months in" in rest.out
    assert asked(upstream) == [1] * 9
    assert held(stopsearch) == ALL

    again = stopsearch.look("ingest")
    assert "Nothing is due" in again.out
    assert asked(upstream) == [1] * 9


def test_dry_run_writes_nothing(stopsearch: CommandLine, database: Database) -> None:
    """
    Nothing but that calls were made: the rate is limited for it as for any other.
    """
    before = rows_of_every_table(database)
    told = stopsearch.look("ingest", "--dry-run", "--json").objects
    assert {key: value for key, value in rows_of_every_table(database).items() if before[key] != value} == {}
    assert told == stopsearch.look("plan", "--json").objects
    assert rows_of_every_table(database)["listing"] != before["listing"]


def test_what_failed_is_told_and_due_again(stopsearch: CommandLine, upstream: RunningStandin) -> None:
    upstream.faults.fail(status=500, force="kent", month="2023-06")
    ended = stopsearch("ingest", expect=7, RETRY_ATTEMPTS="1")
    assert "1 force-month went wrong" in ended.out
    assert "kent 2023-06" in ended.err
    assert held(stopsearch) == ALL - {("kent", "2023-06")}
    upstream.faults.clear()
    [due] = stopsearch.look("plan", "--json").objects
    assert (due["force"], due["month"], due["reason"]) == ("kent", "2023-06", "failed before")
    stopsearch.look("ingest")
    assert held(stopsearch) == ALL


def test_interrupt_ends_cleanly_and_the_next_call_goes_on(tmp_path: Path) -> None:
    """
    With an embedded database, as at home; what was brought in before Ctrl-C is not asked for again.
    """
    with running_standin({pair: records(*pair) for pair in sorted(ALL)}, latency_s=0.3) as upstream:
        stopsearch = CommandLine(folder=tmp_path, settings={"UPSTREAM_URL": upstream.url, "REQUESTS_IN_FLIGHT": "1"})
        process = stopsearch.start("ingest")
        deadline = time.monotonic() + 60
        while sum(asked(upstream)) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        ended = end(process)
        assert ended.code == 130, ended
        assert "Run the same again" in ended.out
        assert "Traceback" not in ended.err
        assert stopsearch.look("db", "status", "--json").objects[0]["is_running"] is False
        [status] = stopsearch.look("status", "--json").objects
        done = status["force_months"]["held"]
        assert 1 <= done < 9
        assert status["last_batch"]["status"] == "cancelled"

        stopsearch.look("ingest", REQUESTS_IN_FLIGHT="8")
        assert stopsearch.look("status", "--json").objects[0]["force_months"]["held"] == 9
        assert sum(asked(upstream)) <= 10, "only the one that was on its way is asked for twice"


def test_archive_goes_on_past_a_member_that_is_refused(tmp_path: Path, stopsearch: CommandLine) -> None:
    """
    Nothing need be in reach for it: the stand-in is not asked.
    """
    archive = write_archive(tmp_path / "2021-11.zip", {("durham", "2020-01"): sample_month("durham", "2020-01")})
    with zipfile.ZipFile(archive, "a") as more:
        more.writestr("../" + member_name("kent", "2020-12"), sample_month("kent", "2020-12"))
    nowhere = "http://127.0.0.1:9/api"
    assert "2020-01" in stopsearch.look("ingest", str(archive), "--dry-run", expect=(0, 7), UPSTREAM_URL=nowhere).out
    assert held(stopsearch) == set()
    ended = stopsearch.look("ingest", str(archive), expect=7, UPSTREAM_URL=nowhere)
    assert "refused by name" in ended.out
    assert "kent" in ended.out
    assert held(stopsearch) == {("durham", "2020-01")}
    earlier = stopsearch.look("ingest", str(archive), "--published", "2019-01-01", "--json", expect=7).objects[0]
    assert [run["status"] for run in earlier["runs"]] == ["unchanged"]


def test_rejected_record_can_be_looked_at_and_dismissed(tmp_path: Path, database_url: str) -> None:
    odd = [*records("durham", "2023-07"), make_api_record(gender="Unheard of")]
    with running_standin({("durham", "2023-07"): odd}) as upstream:
        stopsearch = CommandLine(folder=tmp_path, settings={"DATABASE_URL": database_url, "UPSTREAM_URL": upstream.url})
        ended = stopsearch.look("ingest")
        assert "dead-letters list" in ended.out
    [letter] = stopsearch.look("dead-letters", "list", "--json").objects
    assert letter["raw"]["gender"] == "Unheard of"
    number = str(letter["id"])
    shown = stopsearch.look("dead-letters", "show", number).out
    assert "Unheard of" in shown
    [replayed] = stopsearch.look("dead-letters", "replay", number, "--json").objects
    assert (replayed["replayed"], replayed["still_rejected"]) == (0, 1)
    assert "--reason" in stopsearch.look("dead-letters", "dismiss", number, expect=2).err
    stopsearch.look("dead-letters", "dismiss", number, "--reason", "not a gender")
    assert stopsearch.look("dead-letters", "list", "--json").objects == []


def test_outside_database_is_migrated_only_when_asked(tmp_path: Path, blank_database_url: str) -> None:
    stopsearch = CommandLine(folder=tmp_path, settings={"DATABASE_URL": blank_database_url})
    ended = stopsearch("coverage", expect=6)
    assert ended.err == "error: The database has no stopsearch schema yet. Run 'stopsearch db migrate'.\n"
    assert "newest" in stopsearch.look("db", "migrate").out
    assert "Nothing is known yet" in stopsearch.look("coverage").out
