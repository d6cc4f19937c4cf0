"""
The matrix has one glyph a force-month, and says of every kind what it means.
"""

from __future__ import annotations

import pytest

from stopsearch.cli.matrix import FLAG_MARKS, STATE_MARKS, mark_of, show_matrix
from stopsearch.domain.months import Month, month_range
from stopsearch.domain.states import MonthFlag, MonthState
from stopsearch.flows.coverage import Cell, Coverage

pytestmark = pytest.mark.unit


def matrix(first: str, last: str, **known: MonthState) -> Coverage:
    """
    Make the matrix of durham, in which the months `m2023_07=...` are known and all others are not listed.
    """
    months = tuple(month_range(Month.parse(first), Month.parse(last)))
    states = {name[1:].replace("_", "-"): state for name, state in known.items()}
    cells = tuple(
        Cell(force="durham", month=month, state=states.get(str(month), MonthState.NOT_LISTED)) for month in months
    )
    totals = {state: sum(cell.state is state for cell in cells) for state in MonthState}
    return Coverage(forces=("durham",), months=months, cells=cells, listed_at=None, totals=totals)


def test_every_state_and_flag_has_a_mark_of_its_own() -> None:
    marks = [*STATE_MARKS.values(), *FLAG_MARKS.values()]
    assert set(STATE_MARKS) == set(MonthState)
    assert set(FLAG_MARKS) == set(MonthFlag)
    assert len({mark.glyph for mark in marks}) == len({mark.plain for mark in marks}) == len(marks)
    assert all(mark.plain.isascii() and len(mark.glyph) == len(mark.plain) == 1 for mark in marks)


def test_held_month_shows_the_flag_that_matters_most() -> None:
    cell = Cell(
        force="durham",
        month=Month(2020, 1),
        state=MonthState.HELD,
        flags=(MonthFlag.DATE_ONLY, MonthFlag.DOUBTFUL),
    )
    assert mark_of(cell) is FLAG_MARKS[MonthFlag.DOUBTFUL]


def test_months_stand_below_their_initials(capsys: pytest.CaptureFixture[str]) -> None:
    show_matrix(matrix("2023-06", "2024-02", m2023_07=MonthState.HELD, m2024_02=MonthState.EMPTY))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "       2023         2024"
    assert lines[1] == "       JFMAMJJASOND JFMAMJJASOND"
    assert lines[2] == "durham      ·■····· ·○"
    assert any("not zero stops" in line for line in lines)


def test_years_of_which_nothing_is_known_are_named_not_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    show_matrix(matrix("2019-12", "2024-01", m2019_12=MonthState.HELD, m2024_01=MonthState.HELD))
    out = capsys.readouterr().out
    assert out.splitlines()[0].split() == ["2019", "2024"]
    assert "2020, 2021, 2022, 2023" in out


def test_many_years_are_put_below_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    known = {f"m{year}_01": MonthState.HELD for year in range(2010, 2024)}
    show_matrix(matrix("2010-01", "2023-12", **known))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    assert sum(line.startswith("durham") for line in lines) == 2
