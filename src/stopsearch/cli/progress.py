"""
How a batch goes on, live: a bar, the force-months on their way, the rate and the time left; plain lines elsewhere.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from stopsearch.cli.terminal import duration, errors, many, note, safe
from stopsearch.domain.months import Month
from stopsearch.domain.states import RunStatus
from stopsearch.flows.runs import Job, RunReport

_PLAIN_EVERY_S = 5.0
_IN_FLIGHT_LINES = 8
_TROUBLE = (RunStatus.FAILED, RunStatus.REFUSED, RunStatus.BUSY)


class Calls(Protocol):
    """
    What is known of the requests made so far.
    """

    @property
    def requests(self) -> int:
        """
        Give how many were sent.
        """
        ...

    @property
    def retries(self) -> int:
        """
        Give how many of them were tries after the first.
        """
        ...


@dataclass(kw_only=True)
class Progress:
    """
    A watcher of a batch that shows how it goes on, and keeps what it needs for that.
    """

    total: int = 0
    calls: Callable[[], Calls] | None = None
    clock: Callable[[], float] = time.monotonic
    started: float = 0.0
    done: int = 0
    records: int = 0
    trouble: int = 0
    in_flight: dict[tuple[str, Month], float] = field(default_factory=dict)
    last_told: float = 0.0
    is_live: bool = False
    is_stopping: Callable[[], bool] = lambda: False
    before: str = "Looking what is due …"  # what is said while it is not known of how many force-months it is
    again: set[tuple[str, Month]] = field(default_factory=set)  # left by workers, to be tried again later

    def begin(self, total: int, calls: Callable[[], Calls] | None = None) -> Progress:
        """
        Say that so many runs lie ahead.
        """
        self.total, self.calls = self.total + total, calls
        if not self.started:
            self.started = self.last_told = self.clock()
        return self

    def run_started(self, job: Job) -> None:
        """
        Show a force-month as on its way.
        """
        self.month_begun(job.force, job.month)

    def month_begun(self, force: str, month: Month) -> None:
        """
        Show a force-month as on its way, whoever brings it in.
        """
        self.again.discard((force, month))
        self.in_flight.setdefault((force, month), self.clock())

    def month_left(self, force: str, month: Month) -> None:
        """
        Show a force-month as one that is tried again later.
        """
        self.in_flight.pop((force, month), None)
        self.again.add((force, month))
        self._tell_now_and_then()

    def run_finished(self, report: RunReport) -> None:
        """
        Count a run, and tell at once what went wrong.
        """
        self.in_flight.pop((report.force, report.month), None)
        self.again.discard((report.force, report.month))
        self.done += 1
        self.records += report.outcome.received or 0
        if report.outcome.status in _TROUBLE:
            self.trouble += 1
            self._tell_trouble(report)
        self._tell_now_and_then()

    def line(self) -> str:
        """
        Give all figures in one line.
        """
        return f"{self.done:,} of {many(self.total, 'force-month')}, {self.figures()}"

    def figures(self) -> str:
        """
        Give the rate, the requests and the time left.
        """
        elapsed = max(self.clock() - self.started, 1e-6)
        parts = [f"{many(self.records, 'record')} ({self.records / elapsed:,.0f}/s)"]
        if self.calls is not None:
            calls = self.calls()
            retried = f", {calls.retries:,} retried" if calls.retries else ""
            parts.append(f"{many(calls.requests, 'request')} ({calls.requests / elapsed:.1f}/s{retried})")
        if self.again:
            parts.append(f"{len(self.again):,} tried again later")
        if self.trouble:
            parts.append(f"{self.trouble:,} went wrong")
        parts.append("stopping" if self.is_stopping() else self.time_left(elapsed))
        return ", ".join(parts)

    def time_left(self, elapsed: float) -> str:
        """
        Say how long the rest will take, if it goes on as so far.
        """
        if self.done < 3 or elapsed < 1:
            return "time left not known yet"
        return f"about {duration(elapsed / self.done * (self.total - self.done))} left"

    def render(self) -> RenderableType:
        """
        Draw the display, as often as it is refreshed.
        """
        if not self.total:
            return Text(self.before)
        head = Table.grid(padding=(0, 1), expand=True)
        head.add_column(ratio=1)
        head.add_column(justify="right", no_wrap=True)
        head.add_row(ProgressBar(total=self.total, completed=self.done), f"{self.done:,}/{self.total:,}")
        on_their_way = Table.grid(padding=(0, 2))
        now = self.clock()
        flying = list(self.in_flight.items())
        for (force, month), since in flying[:_IN_FLIGHT_LINES]:
            on_their_way.add_row(f"  {month}", force, f"[dim]{duration(now - since)}[/dim]")
        if len(flying) > _IN_FLIGHT_LINES:
            on_their_way.add_row("", f"and {len(flying) - _IN_FLIGHT_LINES} more", "")
        return Group(head, Text(self.figures(), style="dim"), on_their_way)

    def _tell_now_and_then(self) -> None:
        if not self.is_live and self.done < self.total and self.clock() - self.last_told >= _PLAIN_EVERY_S:
            self.last_told = self.clock()
            note(self.line())

    def _tell_trouble(self, report: RunReport) -> None:
        outcome = report.outcome
        text = f"{report.force} {report.month} {outcome.status}: {outcome.error_text}"
        note(f"[red]{safe(text)}[/red]")


@contextmanager
def shown(progress: Progress, *, redirect_logs: Callable[[], None]) -> Iterator[Progress]:
    """
    Show progress on standard error while the block runs: live on a terminal, a line now and then elsewhere.

    Args:
        redirect_logs: Sets the logs up anew, so that their lines go above the display and do not tear it.
    """
    console = errors()
    if not sys.stderr.isatty() or console.is_dumb_terminal:
        yield progress
        return
    progress.is_live = True
    try:
        with Live(
            console=console,
            get_renderable=progress.render,
            refresh_per_second=5,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=True,
        ):
            redirect_logs()
            yield progress
    finally:
        progress.is_live = False
        redirect_logs()


@contextmanager
def counted(what: str) -> Iterator[Callable[[int, int], None]]:
    """
    Give a function to be told how many force-months are done, and of how many; it shows them on standard error.
    """
    if not sys.stderr.isatty():
        last = time.monotonic()

        def tell(done: int, total: int) -> None:
            nonlocal last
            if done < total and time.monotonic() - last >= _PLAIN_EVERY_S:
                last = time.monotonic()
                note(f"{done:,} of {many(total, 'force-month')} {what}.")

        yield tell
        return
    console: Console = errors()
    with console.status(f"Force-months {what} …", spinner="dots") as status:
        began = time.monotonic()

        def show(done: int, total: int) -> None:
            elapsed = time.monotonic() - began
            left = f", about {duration(elapsed / done * (total - done))} left" if done >= 3 and elapsed >= 1 else ""
            status.update(f"{done:,} of {many(total, 'force-month')} {what}{left}")

        yield show
