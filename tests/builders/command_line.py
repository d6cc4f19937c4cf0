"""
The program `stopsearch` as a user calls it: by a process of its own, or, for a quick look, within the test's process.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from unittest import mock
from urllib.parse import urlencode

from psycopg.conninfo import conninfo_to_dict

from stopsearch.cli.app import run
from stopsearch.store.database import Database

_PATIENCE_S = 120


@dataclass(frozen=True, kw_only=True)
class Ended:
    """
    How a call ended: its exit code, and what it wrote to standard output and standard error.
    """

    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[Any]:
        """
        Read standard output as JSON, one object a line.
        """
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True, kw_only=True)
class CommandLine:
    """
    Calls of the program, all in one folder and with the same settings.
    """

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)  # by their variables, without STOPSEARCH_

    @property
    def data_dir(self) -> Path:
        """
        Give the folder of the embedded database.
        """
        return self.folder / "data"

    def environment(self, settings: dict[str, str]) -> dict[str, str]:
        """
        Give the environment of a call: none of the caller's own settings is in it.
        """
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("STOPSEARCH_", "PG", "XDG_"))}
        given = {"DATA_DIR": str(self.data_dir), **self.settings, **settings}
        return {**kept, "HOME": str(self.folder), **{f"STOPSEARCH_{name}": value for name, value in given.items()}}

    def start(self, *arguments: str, **settings: str) -> subprocess.Popen[str]:
        """
        Start a call in a process of its own; `settings` are more of them, for this call.
        """
        return subprocess.Popen(
            [sys.executable, "-m", "stopsearch", *arguments],
            cwd=self.folder,
            env=self.environment(settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )

    def __call__(self, *arguments: str, expect: int | Sequence[int] = 0, **settings: str) -> Ended:
        """
        Call it in a process of its own, and see that its exit code is one of those expected.
        """
        return _as_expected(arguments, end(self.start(*arguments, **settings)), expect)

    def look(self, *arguments: str, expect: int | Sequence[int] = 0, **settings: str) -> Ended:
        """
        Call it within this process, which spares the two seconds that Python takes to load it.
        """
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
        with (
            mock.patch.dict(os.environ, self.environment(settings), clear=True),
            contextlib.chdir(self.folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = run(arguments)
        said = [cast(io.BytesIO, stream.buffer).getvalue().decode() for stream in (out, err)]
        return _as_expected(arguments, Ended(code=code, out=said[0], err=said[1]), expect)


def command_line_of(database: Database, folder: Path) -> CommandLine:
    """
    Give the program as it is called with a database of one's own.
    """
    address = urlencode(conninfo_to_dict(database.conninfo))
    return CommandLine(folder=folder, settings={"DATABASE_URL": f"postgresql:///?{address}"})


def _as_expected(arguments: tuple[str, ...], ended: Ended, expect: int | Sequence[int]) -> Ended:
    assert ended.code in ([expect] if isinstance(expect, int) else expect), (arguments, ended)
    return ended


def end(process: subprocess.Popen[str]) -> Ended:
    """
    Wait for the end of a call.
    """
    try:
        out, err = process.communicate(timeout=_PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        raise
    return Ended(code=process.returncode, out=out, err=err)
