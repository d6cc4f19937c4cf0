"""
How Ctrl-C and SIGTERM end a batch: the first lets what is being stored finish, the second ends at once.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, NoReturn, TypeVar

import typer

_T = TypeVar("_T")


class Stopping:
    """
    What a batch is asked to stop by.
    """

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.by_signal: int | None = None
        self.is_under_way = False  # once a batch has begun, it is let to end itself
        self.tell: Callable[[str], None] = lambda line: print(line, file=sys.stderr)  # noqa: T201

    @property
    def exit_code(self) -> int:
        """
        Give the exit code that a shell expects of a program that ended by this signal.
        """
        return 128 + (self.by_signal or signal.SIGINT)

    def ask(self, number: int, task: asyncio.Task[Any]) -> None:
        """
        Ask the batch to stop; the second time, end the process.
        """
        if self.by_signal is not None:
            end_at_once(number)
        self.by_signal = number
        self.event.set()
        if self.is_under_way:
            self.tell("Stopping: what is being stored is finished first. Ctrl-C again ends at once.")
        else:
            task.cancel()


def run_stoppably(work: Callable[[Stopping], Coroutine[Any, Any, _T]]) -> tuple[_T, Stopping]:
    """
    Run a batch that Ctrl-C and SIGTERM end cleanly, and say whether one of them did.

    Raises:
        typer.Exit: It was stopped before the batch had begun, so that there is nothing to tell.
    """

    async def run() -> tuple[_T, Stopping]:
        stopping = Stopping()
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(work(stopping))
        numbers = (signal.SIGINT, signal.SIGTERM)
        for number in numbers:
            loop.add_signal_handler(number, stopping.ask, number, task)
        try:
            return await task, stopping
        except asyncio.CancelledError:
            if stopping.by_signal is None:
                raise
            stopping.tell("Stopped before anything was brought in.")
            raise typer.Exit(stopping.exit_code) from None
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)
                if stopping.by_signal is not None:
                    # Whoever asked once means it: closing a slow connection must not hold him up.
                    signal.signal(number, end_at_once)

    return asyncio.run(run())


def end_at_once(number: int, _frame: FrameType | None = None) -> NoReturn:
    """
    End the process with nothing tidied up; an embedded server is adopted by the next command.
    """
    if sys.stderr.isatty():
        sys.stderr.write("\x1b[?25h")  # a progress display hides the cursor
    sys.stderr.write("\nEnded at once. What was committed stays.\n")
    sys.stderr.flush()
    os._exit(128 + number)
