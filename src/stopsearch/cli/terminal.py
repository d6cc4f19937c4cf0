"""
Writing for whoever reads: Rich on a terminal, plain lines that never wrap elsewhere, JSON for scripts.

Answers go to standard output; progress, logs and errors to standard error, so that answers can be piped.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any, Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

_WHOLE = (
    "force",
    "month",
    "cause",
    "standing",
    "outcome",
    "state",
    "local time",
    "id",
)  # columns whose cells are names: broken in two, nobody can copy them

Align = Literal["left", "right"]

_WIDE = 100


class _Pipe(Console):
    """
    A console that lets a broken pipe be told like every other end, where Rich ends the process by itself.
    """

    def on_broken_pipe(self) -> None:
        """
        Raise what was met.
        """
        raise BrokenPipeError


def output() -> Console:
    """
    Give the console of standard output.
    """
    return _Pipe(highlight=False, soft_wrap=not sys.stdout.isatty())


def errors() -> Console:
    """
    Give the console of standard error.
    """
    return _Pipe(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


def say(line: str = "") -> None:
    """
    Write one line of an answer; Rich markup is colour on a terminal and nothing elsewhere.
    """
    output().print(line)


def note(line: str) -> None:
    """
    Write one line to standard error: what is going on, not the answer.
    """
    errors().print(line)


def say_json(value: Any) -> None:
    """
    Write one JSON value on one line.
    """
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")


def table(columns: Sequence[tuple[str, Align]], rows: Sequence[Sequence[str]]) -> None:
    """
    Write a table: ruled and coloured on a terminal, else aligned columns, one line a row.

    Args:
        columns: The heading of each, and how its cells are aligned.
        rows: Cells as Rich markup.
    """
    # A table with more columns than a terminal has room for is told as elsewhere: the terminal breaks its lines, and
    # nothing of it is cut off.
    if sys.stdout.isatty() and _least_width(columns, rows) <= output().width:
        ruled = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for heading, align in columns:
            ruled.add_column(heading, justify=align, overflow="fold", no_wrap=align == "right" or heading in _WHOLE)
        for row in rows:
            ruled.add_row(*row)
        output().print(ruled)
        return
    plain = [[heading for heading, _ in columns]] + [[Text.from_markup(cell).plain for cell in row] for row in rows]
    widths = [max(len(row[index]) for row in plain) for index in range(len(columns))]
    for row in plain:
        cells = [
            cell.rjust(width) if align == "right" else cell.ljust(width)
            for cell, width, (_, align) in zip(row, widths, columns, strict=True)
        ]
        sys.stdout.write("  ".join(cells).rstrip() + "\n")


def _least_width(columns: Sequence[tuple[str, Align]], rows: Sequence[Sequence[str]]) -> int:
    """
    Give how wide a ruled table must be for its numbers, its names and the words of its texts to stand whole.
    """
    width = 2 * (len(columns) - 1)
    for index, (heading, align) in enumerate(columns):
        cells = [heading, *(Text.from_markup(row[index]).plain for row in rows)]
        is_whole = align == "right" or heading in _WHOLE
        width += max(len(part) for cell in cells for part in ([cell] if is_whole else cell.split() or [""]))
    return width


def program() -> str:
    """
    Give the words that start this program, so that a hint can be pasted: by `uv run`, it is on nobody's path.
    """
    by_uv = "UV_RUN_RECURSION_DEPTH" in os.environ or "UV" in os.environ
    return "uv run stopsearch" if by_uv else "stopsearch"


def facts(lines: Sequence[tuple[str, str]]) -> None:
    """
    Write names with their values: on a terminal, a long value goes on under itself.

    Args:
        lines: Each name, and its value, as Rich markup.
    """
    width = max(len(Text.from_markup(name).plain) for name, _ in lines)
    if not sys.stdout.isatty():
        for name, value in lines:
            say(f"{name}{' ' * (width - len(Text.from_markup(name).plain))}  {value}")
        return
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in lines:
        grid.add_row(name, value)
    output().print(grid)


def is_wide() -> bool:
    """
    Tell whether a line may be longer than 100 characters: on a wide terminal, or where nobody wraps it.
    """
    return not sys.stdout.isatty() or output().width >= _WIDE


def safe(text: object) -> str:
    """
    Give a text that Rich shows as it is, brackets and all.
    """
    return escape(str(text))


def number(value: int | None) -> str:
    """
    Write a count with thousands set apart; nothing where there is none.
    """
    return "" if value is None else f"{value:,}"


def many(count: int, noun: str, plural: str | None = None) -> str:
    """
    Write a count with its noun: "1 force-month", "2 force-months".
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def duration(seconds: float) -> str:
    """
    Write a span of time: "0.8 s", "12 s", "3 min 05 s", "2 h 10 min".
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size(count: int) -> str:
    """
    Write a number of bytes: "812 bytes", "3.4 MB".
    """
    if count < 1000:
        return many(count, "byte")
    value, units = count / 1000, ["kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.1f} {units[0]}"
