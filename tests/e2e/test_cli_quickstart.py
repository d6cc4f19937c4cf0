"""
A fresh machine and one command: the bundled sample is in, adds up, and can be looked at, exported and taken back.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from builders.archives import csv_rows, sample_members
from builders.command_line import CommandLine, Ended
from stopsearch.sample import sample_answers
from stopsearch.store.embedded import EmbeddedServer

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("quickstart")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("quickstart")


@pytest.fixture(scope="module")
def stopsearch(folder: Path) -> CommandLine:
    return CommandLine(folder=folder)


@pytest.fixture(scope="module")
def first(stopsearch: CommandLine) -> Ended:
    """
    The first call ever, on a machine with nothing on it.
    """
    return stopsearch("quickstart")


@pytest.fixture
def server(first: Ended, stopsearch: CommandLine) -> Iterator[None]:
    """
    The embedded server kept running between the calls of a test, as another command would keep it.
    """
    with EmbeddedServer(stopsearch.data_dir):
        yield


def test_says_what_it_did_and_that_it_adds_up(first: Ended) -> None:
    """
    The counts are compared with those of the standard library's CSV reader over the same files.
    """
    members = [*sample_members("2020-02").values(), *sample_members("2021-11").values()]
    answers = 531 + 2836  # as the sample's manifest says
    received = sum(len(csv_rows(body)) for body in members) + answers
    assert f"{received:,} records received = {received:,} stored + 0 rejected" in first.out
    assert f"{len(members) + len(sample_answers())} published files brought in" in first.out
    assert "3 force-months came twice" in first.out
    assert "What to try next" in first.out
    assert "\x1b" not in first.out + first.err, "no colours where nobody looks"


def test_second_call_says_unchanged_and_writes_nothing(server: None, stopsearch: CommandLine) -> None:
    [before] = stopsearch.look("status", "--json").objects
    assert "Unchanged" in stopsearch("quickstart").out
    [after] = stopsearch.look("status", "--json").objects
    for figure in ("snapshot", "stops_total", "force_months", "revisions_by_cause"):
        assert after[figure] == before[figure]


def test_coverage_is_one_object_a_force_month(server: None, stopsearch: CommandLine) -> None:
    cells = stopsearch.look("coverage", "--json", "--to", "2020-12").objects
    by_pair = {(cell["force"], cell["month"]): cell for cell in cells}
    assert len(by_pair) == len(cells)
    for pair, body in sample_members("2021-11").items():
        cell = by_pair[pair]
        assert (cell["state"], cell["received"]) == ("held", len(csv_rows(body)))
        assert cell["received"] == cell["stored"] + cell["rejected"]
    assert by_pair["durham", "2020-01"]["revision"] == 2
    assert by_pair["durham", "2020-01"]["flags"] == ["restated"]
    gap = by_pair["gwent", "2019-08"]
    assert (gap["state"], gap["stored"], gap["revision"]) == ("not_listed", None, None), "a gap is never zero"


def test_coverage_for_people_has_a_glyph_for_each(server: None, stopsearch: CommandLine) -> None:
    ended = stopsearch.look("coverage", "--force", "durham,gwent", "--from", "2020-01", "--to", "2020-12")
    lines = ended.out.splitlines()
    assert lines[2].startswith("durham ▲▲")
    assert len(lines[3]) == len("durham ") + 12


def test_export_gives_every_stop_once(server: None, stopsearch: CommandLine) -> None:
    ended = stopsearch.look("export", "--force", "durham", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(ended.out)))
    assert len({row["id"] for row in rows}) == len(rows)
    assert len(rows) == sum(
        len(csv_rows(b)) for (force, _), b in sample_members("2021-11").items() if force == "durham"
    )
    file = stopsearch.folder / "stops.ndjson"
    report = stopsearch.look("export", "--force", "durham", "--format", "ndjson", "--output", str(file), "--json")
    assert json.loads(report.err.splitlines()[-1])["rows"] == len(rows) == len(file.read_text().splitlines())


def test_export_ends_quietly_when_nobody_reads_on(server: None, stopsearch: CommandLine) -> None:
    process = stopsearch.start("export")
    assert process.stdout
    assert process.stdout.readline().startswith("id,force,")
    process.stdout.close()
    assert process.stderr
    told = process.stderr.read()
    assert process.wait(60) == 141
    assert told == ""


def test_revisions_can_be_compared_and_taken_back(server: None, stopsearch: CommandLine) -> None:
    [diff] = stopsearch.look("revisions", "diff", "durham", "2020-02", "1", "2", "--json").objects
    assert [(change["field"], change["records"]) for change in diff["changes"]["by_field"]] == [("outcome", 85)]
    assert (
        "There is nothing to go back to"
        in stopsearch.look("revisions", "revert", "suffolk", "2020-12", "--yes", expect=2).err
    )
    unconfirmed = stopsearch.look("revisions", "revert", "durham", "2020-02", expect=2)
    assert "--yes" in unconfirmed.err
    [taken_back] = stopsearch.look("revisions", "revert", "durham", "2020-02", "--yes", "--json").objects
    assert [run["revision"] for run in taken_back["runs"]] == [3]
    [current] = stopsearch.look("revisions", "show", "durham", "2020-02", "--json").objects
    [original] = stopsearch.look("revisions", "show", "durham", "2020-02", "1", "--json").objects
    assert (current["cause"], current["content_digest"]) == ("revert", original["content_digest"])


def test_export_of_before_anything_was_served_says_so(server: None, stopsearch: CommandLine) -> None:
    ended = stopsearch.look("export", "--force", "durham", "--as-of", "2020-01-01", "--output", "then.parquet")
    assert "Nothing was served then; the first was served from 20" in ended.err
    assert (stopsearch.folder / "then.parquet").read_bytes().startswith(b"PAR1")


def test_last_command_stops_the_server_and_a_killed_one_leaves_it(first: Ended, stopsearch: CommandLine) -> None:
    [status] = stopsearch.look("db", "status", "--json").objects
    assert not status["is_running"]
    assert stopsearch.look("db", "stop").out == "No embedded server is running.\n"
    process = stopsearch.start("db", "shell", "--", "-c", "SELECT 'here'", "-c", "SELECT pg_sleep(60)")
    assert process.stdout
    while "here" not in process.stdout.readline():
        pass
    os.killpg(process.pid, 9)
    process.communicate()
    [status] = stopsearch.look("db", "status", "--json").objects
    assert status["is_running"]
    assert stopsearch.look("db", "stop").out == "The embedded server was stopped.\n"


def test_doctor_finds_nothing_wrong(server: None, stopsearch: CommandLine) -> None:
    assert stopsearch.look("doctor").out.endswith("Nothing is wrong.\n")
