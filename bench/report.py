"""
What was found: a table to read, and the figures that a target was set for.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Figure:
    """
    One figure and the target set for it.
    """

    name: str
    value: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def is_met(self) -> bool:
        """
        Tell whether the target is met.
        """
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )

    @property
    def target(self) -> str:
        """
        Write the target.
        """
        return f"≥ {self.at_least:g}" if self.at_least is not None else f"≤ {self.at_most:g}"


@dataclass(frozen=True, kw_only=True)
class Part:
    """
    One part of the benchmarks: its table, its figures, and every round as measured.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    lines: Sequence[tuple[str, ...]]
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    rounds: list[Any] = field(default_factory=list)


def median(values: Sequence[float]) -> float:
    """
    Give the middle value.
    """
    return statistics.median(values)


def ratios(rounds: Sequence[dict[str, dict[str, Any]]], over: str, of: str) -> list[float]:
    """
    Give the rate of one case over another's, round by round.
    """
    return [
        (found[of]["rows"] / found[of]["seconds"]) / (found[over]["rows"] / found[over]["seconds"]) for found in rounds
    ]


def spread(values: Sequence[float]) -> str:
    """
    Write the middle value with the least and the most.
    """
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def table(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """
    Write a table in Markdown.
    """
    rows = [columns, ["---"] * len(columns), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def show(part: Part) -> str:
    """
    Write one part in Markdown.
    """
    blocks = [f"### {part.title}", table(part.columns, part.lines), *part.notes]
    return "\n\n".join(blocks) + "\n"


def show_targets(parts: Sequence[Part]) -> str:
    """
    Write every figure that has a target, and whether it is met.
    """
    lines = [
        (figure.name, f"{figure.value:.3g}", figure.target, "yes" if figure.is_met else "**no**")
        for part in parts
        for figure in part.figures
    ]
    return f"### Targets\n\n{table(('figure', 'measured', 'target', 'met'), lines)}\n"


def machine() -> dict[str, Any]:
    """
    Tell what it was measured on.
    """
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "processors": len(os.sched_getaffinity(0)),
        "load_average": os.getloadavg()[0],
        "python": platform.python_version(),
        "kernel": platform.release(),
    }


def keep(part: Part, *, size: str, data: str, found_on: dict[str, Any]) -> Path:
    """
    Write one part's results, every round included, as JSON.
    """
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{part.name}-{size}.json"
    figures = [{**asdict(figure), "is_met": figure.is_met} for figure in part.figures]
    content = {"size": size, "data": data, **found_on, **asdict(part), "figures": figures}
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return path
