"""
`stopsearch stops` gives the stops of a filter without a server, as the server would.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.command_line import CommandLine
from builders.sample_rows import sample_rows

pytestmark = pytest.mark.integration

FEBRUARY = ("--force", "durham", "--from", "2020-02", "--to", "2020-02")


@pytest.fixture
def stopsearch(tmp_path: Path, stocked_url: str) -> CommandLine:
    return CommandLine(folder=tmp_path, settings={"DATABASE_URL": stocked_url})


def test_json_has_every_stop_once_with_every_column(stopsearch: CommandLine) -> None:
    """
    Over 1,000, so that several pages are walked through.
    """
    given = ("--force", "leicestershire,south-yorkshire", "--from", "2020-01", "--to", "2020-03")
    found = stopsearch.look("stops", *given, "--limit", "100000", "--json").objects
    expected = [
        stop
        for stop in sample_rows().stops
        if stop["force"] in ("leicestershire", "south-yorkshire") and "2020-01" <= stop["month"] <= "2020-03"
    ]
    assert len(found) == len({stop["id"] for stop in found}) == len(expected) > 2000
    assert [stop["datetime"] for stop in found] == sorted(stop["datetime"] for stop in found)
    assert len(found[0]) == 25


@pytest.mark.parametrize(
    "command",
    [("stops", *FEBRUARY), ("counts", "--by", "gender", *FEBRUARY), ("rates", *FEBRUARY, "--override", "gap")],
)
def test_a_process_of_its_own_can_bind_what_a_question_needs(stopsearch: CommandLine, command: tuple[str, ...]) -> None:
    """
    In the test's own process, everything has been imported before the first connection: there it would not show.
    """
    assert stopsearch(*command, "--json").out


def test_filters_are_those_of_the_api(stopsearch: CommandLine) -> None:
    where = ("--where", "outcome=Arrest", "--where", "outcome=none", "--where", "gender=Male")
    found = stopsearch.look("stops", *FEBRUARY, *where, "--limit", "500", "--json").objects
    expected = [
        stop
        for stop in sample_rows().stops
        if (stop["force"], stop["month"]) == ("durham", "2020-02")
        and stop["outcome"] in ("Arrest", None)
        and stop["gender"] == "Male"
    ]
    assert len(found) == len(expected) > 0


def test_people_see_a_table_and_that_there_is_more(stopsearch: CommandLine) -> None:
    ended = stopsearch.look("stops", *FEBRUARY, "--limit", "3", "--latest")
    heading, *rows = ended.out.splitlines()
    assert heading.split()[:3] == ["local", "time", "force"]
    assert len(rows) == 3
    latest = max(
        stop["datetime"] for stop in sample_rows().stops if (stop["force"], stop["month"]) == ("durham", "2020-02")
    )
    assert rows[0].startswith(f"{latest:%Y-%m-%d %H:%M}  durham"), "in February, local time is UTC"
    assert "There are more than these 3" in ended.err
    assert "1 of 1 force-months" in ended.err
    assert "snapshot " in ended.err
    assert "There are more" not in stopsearch.look("stops", *FEBRUARY, "--limit", "1000").err


def test_forces_that_give_dates_alone_show_no_time(stopsearch: CommandLine) -> None:
    ended = stopsearch.look(
        "stops", "--force", "dyfed-powys", "--from", "2020-02", "--where", "date_only=true", "--limit", "1"
    )
    assert ended.out.splitlines()[1].split()[1] == "dyfed-powys"


def test_a_snapshot_is_asked_of_again_by_its_id(stopsearch: CommandLine) -> None:
    first = stopsearch.look("stops", *FEBRUARY, "--json")
    [snapshot] = [line.split()[1] for line in first.err.splitlines() if line.startswith("snapshot ")]
    assert stopsearch.look("stops", *FEBRUARY, "--json", "--snapshot", snapshot[:12]).out == first.out
    assert stopsearch.look("stops", *FEBRUARY, "--json", "--as-of", "2020-01-01").out == ""


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--where", "outcome=Arest"), "did you mean Arrest"),
        (("--where", "outcom=Arrest"), "did you mean outcome"),
        (("--where", "outcome"), "NAME=VALUE"),
        (("--force", "durhan"), "durham"),
        (("--from", "2020-13"), "not a month"),
        (("--snapshot", "0" * 64), "snapshot"),
        (("--limit", "0"), "limit"),
    ],
)
def test_what_can_not_be_meant_is_told_in_one_line(
    stopsearch: CommandLine, arguments: tuple[str, ...], told: str
) -> None:
    ended = stopsearch.look("stops", *arguments, expect=2)
    assert len(ended.err.splitlines()) == 1
    assert ended.err.startswith("error: ")
    assert told in ended.err
    assert ended.out == ""


def test_makes_no_database_to_say_that_nothing_is_held(tmp_path: Path) -> None:
    stopsearch = CommandLine(folder=tmp_path)
    assert "Nothing is held yet" in stopsearch.look("stops").err
    assert not stopsearch.data_dir.exists()


def test_counts_and_rates_take_the_same_filters(stopsearch: CommandLine) -> None:
    [counts] = stopsearch.look("counts", *FEBRUARY, "--where", "outcome=Arrest", "--by", "gender", "--json").objects
    arrests = stopsearch.look("stops", *FEBRUARY, "--where", "outcome=Arrest", "--limit", "500", "--json").objects
    assert sum(row["stops"] for row in counts["data"]) == len(arrests)
    [rates] = stopsearch.look(
        "rates", "--force", "leicestershire", "--from", "2020-01", "--to", "2020-01", "--json"
    ).objects
    assert [row["force"] for row in rates["data"]] == ["leicestershire"]
    assert stopsearch.look("counts", "--force", "durhan", expect=2).err.startswith("error: ")


def test_a_total_over_nothing_held_is_no_zero(stopsearch: CommandLine) -> None:
    """
    The sample ends for this force in 2024-12.
    """
    given = ("counts", "--force", "metropolitan", "--from", "2025-01", "--to", "2025-03")
    assert "Nothing is held" in stopsearch.look(*given).out
    [answer] = stopsearch.look(*given, "--json").objects
    assert answer["data"] == []
    assert answer["meta"]["coverage"]["missing"] == 3
