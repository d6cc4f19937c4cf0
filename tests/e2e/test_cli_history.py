"""
What the data is and how it changed, told on the command line as over HTTP: by snapshots, with JSON for scripts.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from builders.command_line import CommandLine
from builders.ingests import bring_in, edition, ingest_archives
from builders.source_bodies import csv_body
from stopsearch.domain.months import Month
from stopsearch.flows.plan import Wanted
from stopsearch.sample import sample_archives
from stopsearch.store.database import Database

pytestmark = pytest.mark.e2e

EARLIER, LATER = sample_archives()
DURHAM = Wanted(forces=("durham",), first=Month(2020, 1), last=Month(2020, 2))


@pytest.fixture
def command(database: Database, database_url: str, tmp_path: Path) -> CommandLine:
    """
    A database in which both months of durham were restated, and a record of another was rejected.
    """
    ingest_archives(database, EARLIER, wanted=DURHAM)
    bring_in(database, edition(csv_body({}, {"gender": "Unknown"}), force="kent", month="2020-02"))
    ingest_archives(database, LATER, wanted=DURHAM)
    return CommandLine(folder=tmp_path, settings={"DATABASE_URL": database_url})


def test_snapshots_are_listed_and_shown(command: CommandLine) -> None:
    kept = command.look("snapshots", "--json").objects
    assert [each["current"] for each in kept] == [True, *[False] * (len(kept) - 1)]
    one = command.look("snapshots", kept[0]["id"][:12], "--revisions", "--json").objects[0]
    assert (one["id"], one["stops"]) == (kept[0]["id"], kept[0]["stops"])
    assert [each["revision"] for each in one["revisions"]] == [2, 2, 1]
    assert kept[0]["id"] in command.look("snapshots").out
    assert "durham" in command.look("snapshots", kept[0]["id"]).out
    for unknown in ("0" * 12, "abc"):
        assert "stopsearch snapshots" in command.look("snapshots", unknown, expect=2).err


def test_changes_lead_from_one_to_the_other(command: CommandLine) -> None:
    current, *_, first = command.look("snapshots", "--json").objects
    changes = command.look("changes", first["id"], "--force", "durham", "--json").objects
    kinds = [change["change"] for change in changes]
    assert (kinds.count("added"), kinds.count("withdrawn")) == (27 + 85, 27 + 85)
    told = command.look("changes", first["id"][:12], "--force", "durham")
    assert ["durham", "2020-02", "85", "85"] in [line.split() for line in told.out.splitlines()]
    assert f"snapshot {current['id']}" in told.err
    assert "Nothing" in command.look("changes", current["id"]).out


def test_past_is_told_as_it_was(command: CommandLine) -> None:
    current, *_, first = command.look("snapshots", "--json").objects
    past = ("--snapshot", first["id"][:12], "--json")
    cells = command.look("coverage", *past).objects
    assert [(cell["month"], cell["revision"], cell["flags"]) for cell in cells] == [
        ("2020-01", 1, []),
        ("2020-02", 1, []),
    ]
    assert [each["revision"] for each in command.look("revisions", "list", *past).objects] == [1, 1]
    assert [each["is_served"] for each in command.look("revisions", "list", *past).objects] == [True, True]
    assert command.look("dead-letters", "list", *past).objects == []
    now = ("--snapshot", current["id"])
    [letter] = command.look("dead-letters", "list", *now, "--json").objects
    assert (letter["force"], letter["record_number"], letter["raw"]["Gender"]) == ("kent", 2, "Unknown")
    assert "gender_is_known" in command.look("dead-letters", "list", *now).out
    assert "current" in command.look("revisions", "list", *now).out
    assert "restated" in command.look("coverage", *now).out


def test_quality_forces_and_vocabulary(command: CommandLine) -> None:
    months = command.look("quality", "--force", "kent", "--json").objects
    assert [month["rejected_by_rule"] for month in months] == [{"gender_is_known": 1}]
    assert "50.0%" in command.look("quality", "--force", "kent").out
    assert [force["id"] for force in command.look("forces", "--json").objects] == ["durham", "kent"]
    assert "Durham Constabulary" in command.look("forces").out
    [gender] = command.look("vocabulary", "gender", "--json").objects
    assert [label["label"] for label in gender["labels"]] == ["Male", "Female", "Other"]
    assert "Person search" in command.look("vocabulary").out
    assert "gender" in command.look("vocabulary", "gendre", expect=2).err
    assert json.loads(command.look("vocabulary", "--json").out.splitlines()[0])["field"] == "type"


@pytest.mark.parametrize(
    "arguments",
    [
        ("coverage", "--as-of", "noon"),
        ("quality", "--snapshot", "xyz"),
        ("forces", "--as-of", "2020-01-01", "--snapshot", "0" * 12),
        ("changes", "xyz"),
        ("changes", "0" * 64),
        ("dead-letters", "list", "--state", "open", "--as-of", "2026-01-01"),
    ],
)
def test_what_can_not_be_meant_is_told_in_a_line(command: CommandLine, arguments: tuple[str, ...]) -> None:
    ended = command.look(*arguments, expect=2)
    assert ended.err.strip()
    assert "Traceback" not in ended.err
