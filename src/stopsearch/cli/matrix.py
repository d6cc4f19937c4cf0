"""
The coverage matrix as a terminal shows it: a row a force, a column a month, one glyph a force-month, with a legend.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from stopsearch.cli.terminal import errors, output, say
from stopsearch.domain.months import Month
from stopsearch.domain.states import MonthFlag, MonthState
from stopsearch.flows.coverage import Cell, Coverage


@dataclass(frozen=True)
class Mark:
    """
    How one kind of force-month is shown: its glyph, one for terminals without Unicode, its colour, what it means.
    """

    glyph: str
    plain: str
    style: str
    meaning: str


# A held month with several flags shows the first of these: the one that a reader should know most.
FLAG_MARKS: dict[MonthFlag, Mark] = {
    MonthFlag.DOUBTFUL: Mark("?", "?", "bold magenta", "held, but doubtful: the publisher now gives no record"),
    MonthFlag.DOUBLED: Mark("2", "2", "bold yellow", "held, every record comes twice"),
    MonthFlag.RESTATED: Mark("▲", "R", "bold cyan", "held, restated by the publisher since"),
    MonthFlag.DATE_ONLY: Mark("▪", "d", "green", "held, dates without times"),
}
STATE_MARKS: dict[MonthState, Mark] = {
    MonthState.HELD: Mark("■", "#", "green", "held"),
    MonthState.DUE: Mark("□", "o", "bold blue", "due: listed, not fetched yet"),
    MonthState.EMPTY: Mark("○", "0", "yellow", "listed, but came without a record: not zero stops"),
    MonthState.FAILED: Mark("✗", "x", "bold red", "failed: due again"),
    MonthState.REFUSED: Mark("!", "!", "bold red", "refused: too many records rejected"),
    MonthState.NOT_LISTED: Mark("·", ".", "dim", "not listed, not held"),
    MonthState.OUT_OF_WINDOW: Mark("-", "-", "dim", "older than the publisher serves, not held"),
}
_ORDER = [STATE_MARKS[MonthState.HELD], *FLAG_MARKS.values(), *list(STATE_MARKS.values())[1:]]
_INITIALS = "JFMAMJJASOND"


def mark_of(cell: Cell) -> Mark:
    """
    Choose how a force-month is shown.
    """
    if cell.state is MonthState.HELD:
        for flag, mark in FLAG_MARKS.items():
            if flag in cell.flags:
                return mark
    return STATE_MARKS[cell.state]


def show_matrix(coverage: Coverage) -> None:
    """
    Write the matrix, as many years side by side as fit, and the legend of what occurs in it.
    """
    has_unicode = (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")
    width = output().width if sys.stdout.isatty() else 100
    name_width = max(map(len, coverage.forces))
    shown, silent = _years(coverage)
    fit = max(1, (width - name_width) // 13)
    for start in range(0, len(shown), fit):
        if start:
            say()
        _show_band(coverage, shown[start : start + fit], name_width, has_unicode=has_unicode)
    if silent:
        say(f"[dim]Not drawn, as nothing of them is held or listed: {', '.join(map(str, silent))}.[/dim]")
    say()
    _show_legend(coverage, has_unicode=has_unicode)


def _years(coverage: Coverage) -> tuple[list[int], list[int]]:
    """
    Part the years into those that say something, and those of which nothing is held or listed.
    """
    nothing = (MonthState.NOT_LISTED, MonthState.OUT_OF_WINDOW)
    telling = {cell.month.year for cell in coverage.cells if cell.state not in nothing}
    years = sorted({month.year for month in coverage.months})
    if not telling:
        return years, []
    return sorted(telling), [year for year in years if year not in telling]


def _show_band(coverage: Coverage, years: Sequence[int], name_width: int, *, has_unicode: bool) -> None:
    known = set(coverage.months)
    heading = "".join(f" {year:<12}" for year in years).rstrip()
    say(f"[bold]{'':{name_width}}{heading}[/bold]")
    say(f"[dim]{'':{name_width}}" + f" {_INITIALS}" * len(years) + "[/dim]")
    for force in coverage.forces:
        line = f"{force:{name_width}}"
        for year in years:
            line += " "
            for number in range(1, 13):
                month = Month(year, number)
                if month not in known:
                    line += " "
                    continue
                mark = mark_of(coverage.cell(force, month))
                line += f"[{mark.style}]{mark.glyph if has_unicode else mark.plain}[/{mark.style}]"
        say(line.rstrip())


def _show_legend(coverage: Coverage, *, has_unicode: bool) -> None:
    counts = Counter(mark_of(cell) for cell in coverage.cells)
    digits = max(len(f"{count:,}") for count in counts.values())
    for mark in _ORDER:
        if not counts[mark]:
            continue
        meaning = mark.meaning
        if coverage.listed_at is None and mark is STATE_MARKS[MonthState.NOT_LISTED]:
            meaning = "not held; the publisher has not been asked yet"
        glyph = mark.glyph if has_unicode else mark.plain
        say(f"[{mark.style}]{glyph}[/{mark.style}] {counts[mark]:>{digits},}  {meaning}")


def note_listing(coverage: Coverage) -> None:
    """
    Say on standard error when the publisher's list was last seen, as the states rest on it.
    """
    if coverage.listed_at is None:
        errors().print("[dim]The publisher has not been asked yet what it lists; 'stopsearch plan' asks it.[/dim]")
    else:
        errors().print(f"[dim]By the publisher's list as seen at {coverage.listed_at:%Y-%m-%d %H:%M} UTC.[/dim]")
