"""
The embedded server's life: who starts it, who may use it, and who stops it.

Three lock files beside the cluster settle it. `postgres.start.lock` is held while a process starts, joins, leaves
or stops: one at a time. `postgres.users.lock` is shared by every process that uses the server: whoever can have it
alone is the last. `postgres.server.lock` is handed to the server, and so is held for as long as any of its processes
lives: it tells a running server from the traces of a crashed one, whatever process numbers say.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import psycopg
import structlog
from psycopg import sql

from stopsearch.domain.errors import ConfigError, StoreError, StoreUnavailable
from stopsearch.store.embedded.account import choose_account
from stopsearch.store.embedded.binaries import Binaries, copy_for_all, wheel_binaries
from stopsearch.store.embedded.cluster import Cluster
from stopsearch.store.embedded.launch import SOCKET_NAME, launch, remove_socket_dir, server_conninfo
from stopsearch.store.embedded.locks import FileLock
from stopsearch.telemetry.events import Event

_LOG = structlog.get_logger()

# Recovery after a crash, or the last checkpoint of a large load, may take minutes on a slow disk.
_PATIENCE_S = 300.0
# A server that calls itself ready answers at once, unless it has no room or we cannot get to it.
_ANSWER_S = 15.0
_POLL_S = 0.01


@dataclass(frozen=True, kw_only=True)
class ServerStatus:
    """
    What can be said of the embedded server from outside.
    """

    data_dir: Path
    is_running: bool
    pid: int | None
    version: str | None  # of the running server's programs, else the major version of the folder's
    size_bytes: int


class EmbeddedServer:
    """
    A PostgreSQL in the data folder, to be used as a context manager: inside, the server runs.

    It listens on a Unix socket only. It is detached from the terminal, so that Ctrl-C ends the command and not the
    server. Any number of processes and threads may use it at once; the last one to leave stops it. A server whose
    users were all killed goes on; the next user takes it over.

    Args:
        data_dir: The folder to keep it in; made, for our eyes only, when absent. No other folder's
            permissions are changed.
        is_durable: Whether what was committed outlives a crash of the machine. Only tests do without.
    """

    def __init__(self, data_dir: Path, *, is_durable: bool = True) -> None:
        self.data_dir = data_dir.absolute()
        self._is_durable = is_durable
        self._cluster = Cluster(path=self.data_dir / "postgres")
        self._users: list[FileLock] = []
        self._socket_dir: Path | None = None

    def __enter__(self) -> EmbeddedServer:
        """
        Start the server, or join it where it runs.

        Raises:
            ConfigError: The data folder, or this system, cannot be used.
            StoreUnavailable: The server did not start, or did not become ready in time.
        """
        self._make_data_dir()
        deadline = time.monotonic() + _PATIENCE_S
        with self._lock("start") as start, ExitStack() as undo:
            start.wait_exclusive(deadline=deadline)
            users = undo.enter_context(self._lock("users"))
            is_alone = users.try_exclusive()
            users.wait_shared(deadline=deadline)
            undo.callback(self._stop_after_failure, users)
            self._socket_dir = self._ensure_running(is_alone=is_alone, deadline=deadline)
            undo.pop_all()
            self._users.append(users)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """
        Leave; the last to leave stops the server.
        """
        with self._lock("start") as start:
            start.wait_exclusive(deadline=time.monotonic() + _PATIENCE_S)
            self._users.pop().close()
            self._stop_if_unused()

    def conninfo(self, database: str) -> str:
        """
        Give psycopg's connection string of one of its databases; it holds no secret.
        """
        if self._socket_dir is None:
            raise RuntimeError("the embedded server is used outside its context")
        return server_conninfo(self._socket_dir, database)

    def ensure_database(self, name: str) -> None:
        """
        Make a database if it is absent.
        """
        with psycopg.connect(self.conninfo("postgres"), autocommit=True) as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
                return
            try:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
                return  # another process made it at the same time

    def stop(self, *, force: bool = False) -> bool:
        """
        Stop a server that nobody uses, say one whose users were killed; tell whether there was one to stop.

        Args:
            force: Stop it also when other processes use it; they lose their connections, and nothing committed.

        Raises:
            StoreError: Other processes use it.
            StoreUnavailable: It did not stop in time.
        """
        if not self.data_dir.is_dir():
            return False
        with self._lock("start") as start, self._lock("users") as users:
            start.wait_exclusive(deadline=time.monotonic() + _PATIENCE_S)
            if not self._is_running():
                return False
            if not users.try_exclusive() and not force:
                raise StoreError(
                    f"Other processes use the embedded server in {self.data_dir}.",
                    remedy="Let them end first; the last one stops it.",
                )
            self._shut_down()
            return True

    def status(self) -> ServerStatus:
        """
        Tell how the server is, without starting it or waiting for anybody.

        Raises:
            ConfigError: Something else is in the cluster's place.
        """
        is_running = self._is_running() if self.data_dir.is_dir() else False
        postmaster = self._cluster.postmaster() if is_running else None
        version = self._cluster.major() if self._cluster.exists() else None
        if postmaster and postmaster.socket_dir:
            version = _answering_version(postmaster.socket_dir) or version
        return ServerStatus(
            data_dir=self.data_dir,
            is_running=is_running,
            pid=postmaster.pid if postmaster else None,
            version=version,
            size_bytes=self._cluster.size_bytes(),
        )

    def _lock(self, name: str) -> FileLock:
        return FileLock(self.data_dir / f"postgres.{name}.lock")

    def _make_data_dir(self) -> None:
        try:
            self.data_dir.parent.mkdir(parents=True, exist_ok=True)
            self.data_dir.mkdir(mode=0o700, exist_ok=True)
            if os.access(self.data_dir, os.R_OK | os.W_OK | os.X_OK):
                return
            reason = "it belongs to another user"
        except OSError as error:
            reason = error.strerror or str(error)
        raise ConfigError(
            f"The data folder {self.data_dir} cannot be used: {reason}.",
            remedy="Set STOPSEARCH_DATA_DIR to a folder that you can write.",
        )

    def _is_running(self) -> bool:
        with self._lock("server") as server:
            return not server.try_shared()

    def _ensure_running(self, *, is_alone: bool, deadline: float) -> Path:
        """
        Start the server if none runs, and wait until it answers; give its socket's folder.
        """
        began = time.monotonic()
        started_with: Binaries | None = None
        socket_dir: Path | None = None
        reason = "it does not answer"
        patience_s = _PATIENCE_S
        while time.monotonic() < deadline:
            with self._lock("server") as server:
                if server.try_exclusive():
                    if socket_dir is not None:
                        remove_socket_dir(socket_dir)
                        raise StoreUnavailable(
                            f"The embedded server did not start: {self._cluster.last_log_line()}",
                            remedy=f"Its logs are in {self._cluster.path}.",
                        )
                    started_with, socket_dir = self._start(server)
            postmaster = self._cluster.postmaster()
            if postmaster and postmaster.is_ready and postmaster.socket_dir:
                try:
                    psycopg.connect(server_conninfo(postmaster.socket_dir, "postgres")).close()
                except psycopg.OperationalError as error:
                    reason = str(error).strip().splitlines()[-1]
                    if patience_s != _ANSWER_S:
                        patience_s, deadline = _ANSWER_S, time.monotonic() + _ANSWER_S
                    self._check_socket(postmaster.socket_dir, is_alone=is_alone)
                else:
                    self._say_how(started_with, is_alone=is_alone, pid=postmaster.pid, began=began)
                    return postmaster.socket_dir
            time.sleep(_POLL_S)
        raise StoreUnavailable(
            f"The embedded server in {self.data_dir} did not answer in {patience_s:.0f} s: {reason}.",
            remedy=f"Its logs are in {self._cluster.path / 'log'}.",
        )

    def _check_socket(self, socket_dir: Path, *, is_alone: bool) -> None:
        if (socket_dir / SOCKET_NAME).exists() or not self._is_running():
            return
        if is_alone:
            # Somebody swept /tmp. Nobody uses the server, so it can be started anew, with a new socket.
            self._shut_down()
            return
        raise StoreUnavailable(
            f"The embedded server runs, but its socket in {socket_dir} is not there for this process.",
            remedy="End the other stopsearch processes; if they run in a container or a service with a /tmp of "
            "its own, give each its own STOPSEARCH_DATA_DIR.",
        )

    def _say_how(self, started_with: Binaries | None, *, is_alone: bool, pid: int, began: float) -> None:
        log = _LOG.bind(data_dir=str(self.data_dir))
        if started_with is not None:
            duration_s = round(time.monotonic() - began, 3)
            log.info(Event.SERVER_STARTED, version=started_with.version, duration_s=duration_s)
        elif is_alone:
            log.info(Event.SERVER_ADOPTED, pid=pid)

    def _start(self, server: FileLock) -> tuple[Binaries, Path]:
        account = choose_account(data_dir=self.data_dir, cluster=self._cluster.path)
        binaries = wheel_binaries()
        if not account.is_ours:
            binaries = copy_for_all(binaries)
        if not self._cluster.exists():
            self._cluster.create(binaries, account, is_durable=self._is_durable)
        self._cluster.check(binaries, account)
        if stale_socket_dir := self._cluster.tidy():
            remove_socket_dir(stale_socket_dir)
        try:
            socket_dir = launch(self._cluster, binaries, account, server, is_durable=self._is_durable)
        except (OSError, subprocess.CalledProcessError) as error:
            raise ConfigError(
                f"The embedded server cannot be started as user {account.name}: {error}.",
                remedy="Run stopsearch as an ordinary user, or set STOPSEARCH_DATABASE_URL to use another PostgreSQL.",
            ) from error
        return binaries, socket_dir

    def _stop_after_failure(self, users: FileLock) -> None:
        users.close()
        self._stop_if_unused()

    def _stop_if_unused(self) -> None:
        with self._lock("users") as users:
            if users.try_exclusive() and self._is_running():
                self._shut_down()

    def _shut_down(self) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        signalled = socket_dir = None
        while self._is_running():
            postmaster = self._cluster.postmaster()
            if postmaster and postmaster.pid != signalled and self._cluster.is_run_by(postmaster.pid):
                # "Fast" shutdown: connections are ended, and a checkpoint leaves nothing to recover.
                os.kill(postmaster.pid, signal.SIGINT)
                signalled, socket_dir = postmaster.pid, postmaster.socket_dir
            if time.monotonic() > deadline:
                raise StoreUnavailable(
                    f"The embedded server in {self.data_dir} did not stop in {_PATIENCE_S:.0f} s.",
                    remedy=f"Its logs are in {self._cluster.path / 'log'}.",
                )
            time.sleep(_POLL_S)
        if socket_dir is not None:
            remove_socket_dir(socket_dir)
        _LOG.info(Event.SERVER_STOPPED, data_dir=str(self.data_dir))


def _answering_version(socket_dir: Path) -> str | None:
    try:
        with psycopg.connect(server_conninfo(socket_dir, "postgres"), connect_timeout=2) as connection:
            return connection.info.parameter_status("server_version")
    except psycopg.OperationalError:
        return None
