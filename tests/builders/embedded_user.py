"""
A process that uses an embedded server, to be steered, interrupted and killed by a test.

Run as a program it starts or joins the server, says what it has, and leaves when its input ends:
`python embedded_user.py DATA_DIR [UID [SITE]]`. With UID it first becomes that user; with SITE it finds PostgreSQL's
programs there, as in an environment of that user's own.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class EmbeddedUser:
    """
    A running process of this kind.
    """

    process: subprocess.Popen[str]

    def hear(self) -> dict[str, Any]:
        """
        Wait for what it says next: `{"conninfo": …, "pid": …}` inside, `{"left": true}` after, or an error.
        """
        assert self.process.stdout
        while line := self.process.stdout.readline():
            if line.startswith('{"'):
                return json.loads(line)
        raise AssertionError(f"it ended with {self.process.wait()} and said nothing")

    def leave(self) -> str:
        """
        Let it leave in good order, and give the log events that it wrote.
        """
        assert self.process.stdin
        assert self.process.stderr
        self.process.stdin.close()
        log = self.process.stderr.read()
        assert self.process.wait() == 0, log
        return log

    def kill(self) -> None:
        """
        End it as the kernel does when memory is short.
        """
        self.process.kill()
        self.process.wait()


def start_user(data_dir: Path, *, uid: int | None = None, site: Path | None = None) -> EmbeddedUser:
    """
    Start such a process, in a process group of its own as a shell does for a command.
    """
    arguments = [str(argument) for argument in (data_dir, uid, site) if argument is not None]
    return EmbeddedUser(
        process=subprocess.Popen(
            [sys.executable, __file__, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )
    )


def main(data_dir: str, uid: str | None = None, site: str | None = None) -> None:
    """
    Be such a process.
    """
    import psycopg

    from stopsearch.domain.errors import StopSearchError
    from stopsearch.store.embedded import EmbeddedServer
    from stopsearch.telemetry.logs import configure_logs

    configure_logs(level="info", shape="json")
    if site:
        sys.path.insert(0, site)
    if uid:
        os.setgroups([])
        os.setgid(int(uid))
        os.setuid(int(uid))
        os.umask(0o077)
    # A mark in the output, as a traceback or a warning may stand beside it.
    say = lambda **what: print(json.dumps(what), flush=True)  # noqa: E731, T201
    try:
        with EmbeddedServer(Path(data_dir)) as server:
            conninfo = server.conninfo("postgres")
            with psycopg.connect(conninfo) as connection:
                owner = os.stat(f"/proc/{server.status().pid}").st_uid
                connection.execute("SELECT 1")
            say(conninfo=conninfo, pid=server.status().pid, owner=owner)
            sys.stdin.read()
        say(left=True)
    except StopSearchError as error:
        say(error=type(error).__name__, message=str(error))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main(*sys.argv[1:])
