"""
A PostgreSQL of one's own behind a TCP port, which a test may stop, kill, start again and run out of disk.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from builders.ports import free_port
from stopsearch.store.embedded.account import choose_account
from stopsearch.store.embedded.binaries import copy_for_all, wheel_binaries

_SUPERUSER = "tester"
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C"}
_PATIENCE_S = 60.0
_POLL_S = 0.02
_SETTLED_S = 0.5
_NOT_DURABLE = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "64MB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
# Small pieces of the write-ahead log, so that most of a small disk is left for rows.
_ON_SMALL_DISK = {"min_wal_size": "2MB", "max_wal_size": "8MB", "wal_recycle": "off", "wal_init_zero": "off"}


class RunningPostgres:
    """
    A server that runs: `url` and `create()` are what `STOPSEARCH_DATABASE_URL` takes.

    As root it runs as the user that the embedded server would run as. Its data is in a folder of its own, which `end`
    removes; it dies with the thread that started it.

    Args:
        is_durable: Whether what was committed outlives a crash of the machine.
        disk_mb: Megabytes of a disk for its data alone, an empty database's some 30 among them; only where
            `can_limit_disk` says so.
        settings: Settings of PostgreSQL's, besides the builder's own.
    """

    def __init__(
        self, *, is_durable: bool = True, disk_mb: int | None = None, settings: Mapping[str, str] | None = None
    ) -> None:
        self._port = free_port()
        self._settings = {
            **_SETTINGS,
            **({} if is_durable else _NOT_DURABLE),
            **(_ON_SMALL_DISK if disk_mb else {}),
            **(settings or {}),
        }
        self._is_small = disk_mb is not None
        # Not among pytest's folders: those are closed to the user that the server runs as.
        self.folder = Path(tempfile.mkdtemp(prefix="stopsearch-postgres-", dir="/tmp"))
        self._data = self.folder / "data"
        self._account = choose_account(data_dir=self._data, cluster=self._data)
        binaries = wheel_binaries()
        self._binaries = binaries if self._account.is_ours else copy_for_all(binaries)
        self._process: subprocess.Popen[bytes] | None = None
        self._filler = self._data / "filler"
        try:
            self._account.own(self.folder)
            self._data.mkdir()
            if disk_mb is not None:
                _call("mount", "-t", "tmpfs", "-o", f"size={disk_mb}m,mode=0700", "tmpfs", str(self._data))
            self._account.own(self._data)
            self._initialise(small_segments=self._is_small)
            self.start()
        except BaseException:  # whatever ended the start, Ctrl-C included: no process may be left behind
            self.end()
            raise

    @property
    def url(self) -> str:
        """
        Give the address of its first database.
        """
        return self.database_url("postgres")

    @property
    def port(self) -> int:
        """
        Give its port.
        """
        return self._port

    @property
    def log(self) -> str:
        """
        Give what it has logged.
        """
        return (self.folder / "log").read_text(errors="replace")

    def database_url(self, name: str) -> str:
        """
        Give the address of one of its databases.
        """
        return f"postgresql://{_SUPERUSER}@127.0.0.1:{self._port}/{name}"

    def create(self, name: str) -> str:
        """
        Make a database with nothing in it, and give its address.
        """
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        return self.database_url(name)

    def start(self) -> None:
        """
        Start it, with the data and the port that it had before, and wait until it takes connections.
        """
        assert self._process is None, "it runs already"
        command = [self._binaries.program("postgres"), "-D", str(self._data), "-p", str(self._port)]
        for name, value in self._settings.items():
            command += ["-c", f"{name}={value}"]
        identity = self._account.as_child
        if setpriv := shutil.which("setpriv"):
            # Its end comes with ours, also when we are killed. A server that got SIGQUIT leaves none of its children.
            given = ["--pdeathsig", "QUIT"]
            if identity:
                given += ["--reuid", str(identity["user"]), "--regid", str(identity["group"]), "--clear-groups"]
            command, identity = [setpriv, *given, "--", *command], {}
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=_ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
                **identity,
            )
        until = time.monotonic() + _PATIENCE_S
        while not self._answers():
            assert self._process.poll() is None, f"PostgreSQL ended at once: {self.log[-2000:]}"
            assert time.monotonic() < until, f"PostgreSQL did not start: {self.log[-2000:]}"
            time.sleep(_POLL_S)

    def stop(self) -> None:
        """
        Stop it in good order; connections are ended ("fast").
        """
        self._end_by(signal.SIGINT)

    def kill(self) -> None:
        """
        End it and all its processes at once, as a crash of the machine would; it recovers at the next start.
        """
        assert self._process is not None, "it does not run"
        children = _descendants(self._process.pid)
        # The first process before its children: it must not tidy up behind them. They are killed as well, since they
        # would go on for a moment, and the data could not be used meanwhile.
        self._process.kill()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._process.wait(_PATIENCE_S)
        self._process = None

    def recover(self) -> None:
        """
        Start it again if it has ended itself, as it does when there is no room for its write-ahead log.
        """
        assert self._process is not None, "it was stopped: start it"
        try:
            self._process.wait(_SETTLED_S)
        except subprocess.TimeoutExpired:
            until = time.monotonic() + _PATIENCE_S
            while not self._answers():
                assert time.monotonic() < until, f"PostgreSQL did not recover: {self.log[-2000:]}"
                time.sleep(_POLL_S)
        else:
            self._process = None
            self.start()

    def restart(self) -> None:
        """
        Stop it in good order, and start it again.
        """
        self.stop()
        self.start()

    @contextmanager
    def full_disk(self, *, left_kb: int = 0) -> Iterator[None]:
        """
        Let its small disk have next to no room left, for as long as the context lasts.
        """
        assert self._is_small, "its disk is the machine's own: give disk_mb"
        self._filler.touch()
        try:
            while not self._fill(left_kb=left_kb):  # the server took some of the room meanwhile
                pass
            yield
        finally:
            self._filler.unlink()

    def end(self) -> None:
        """
        End all of it, whatever state it is in, and remove its data.
        """
        if self._process is not None:
            self.kill()
        if self._data.is_mount():
            _call("umount", "--lazy", str(self._data))
        shutil.rmtree(self.folder, ignore_errors=True)

    def _initialise(self, *, small_segments: bool) -> None:
        command = [
            self._binaries.program("initdb"),
            f"--pgdata={self._data}",
            f"--username={_SUPERUSER}",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-instructions",
            "--no-sync",
        ]
        if small_segments:
            command.append("--wal-segsize=1")
        made = subprocess.run(
            command,
            cwd=self.folder,
            env=_ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
            **self._account.as_child,
        )
        assert made.returncode == 0, made.stderr

    def _fill(self, *, left_kb: int) -> bool:
        room = os.statvfs(self._data)
        size = max(1, room.f_bavail * room.f_frsize - left_kb * 1024)
        descriptor = os.open(self._filler, os.O_WRONLY)
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            return False
        else:
            return True
        finally:
            os.close(descriptor)

    def _end_by(self, how: signal.Signals) -> None:
        assert self._process is not None, "it does not run"
        self._process.send_signal(how)
        self._process.wait(_PATIENCE_S)
        self._process = None

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def running_postgres(
    *, is_durable: bool = True, disk_mb: int | None = None, settings: Mapping[str, str] | None = None
) -> Iterator[RunningPostgres]:
    """
    Give a server of one's own, for as long as the context lasts.
    """
    server = RunningPostgres(is_durable=is_durable, disk_mb=disk_mb, settings=settings)
    try:
        yield server
    finally:
        server.end()


def can_limit_disk() -> bool:
    """
    Tell whether a server can be given a small disk: a tmpfs, which needs a root that may mount.
    """
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return False
    place = tempfile.mkdtemp(prefix="stopsearch-mount-", dir="/tmp")
    try:
        _call("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place)
    except subprocess.CalledProcessError:
        return False
    else:
        _call("umount", place)
        return True
    finally:
        os.rmdir(place)


def _descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    if not children.exists():
        return []
    own = [int(child) for child in children.read_text().split()]
    return [*own, *(further for child in own for further in _descendants(child))]


def _call(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
