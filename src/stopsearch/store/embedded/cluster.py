"""
The embedded server's folder: made whole or not at all, checked before use, and what it says of a running server.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from stopsearch.domain.errors import ConfigError, StoreUnavailable
from stopsearch.store.embedded.account import Account
from stopsearch.store.embedded.binaries import Binaries

SUPERUSER = "stopsearch"

# PostgreSQL goes to its data folder by name, so a parent of mode 0700 would shut out a server that root starts
# as another user. The kernel's name for "where this process is" passes by all parents; it also keeps names
# short (PostgreSQL cuts them at 1,023 bytes). All its processes stay in the folder, so the name holds.
_HERE = Path("/proc/self/cwd")

# No variable of the caller's (PGDATA, PGPORT, LANG, ...) reaches the server.
SERVER_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C"}

# A log is named for its day of the week, and PostgreSQL empties last week's only if it runs at midnight.
_KEEP_LOGS_S = 6 * 24 * 3600


@dataclass(frozen=True, kw_only=True)
class Postmaster:
    """
    What a server's first process says of itself in `postmaster.pid`.
    """

    pid: int
    socket_dir: Path | None
    is_ready: bool


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """
    The folder of one PostgreSQL cluster, `postgres` in the data folder.
    """

    path: Path

    @property
    def as_argument(self) -> str:
        """
        Give the name by which a server that starts in the folder finds it.
        """
        return str(_HERE) if _HERE.exists() else str(self.path)

    def exists(self) -> bool:
        """
        Tell whether there is a cluster; an empty folder is none.

        Raises:
            ConfigError: Something else is in its place.
        """
        if (self.path / "PG_VERSION").exists():
            return True
        if self.path.is_dir() and not any(self.path.iterdir()):
            return False
        if self.path.exists() or self.path.is_symlink():
            raise ConfigError(
                f"{self.path} is not a PostgreSQL data folder.",
                remedy="Move it away, or set STOPSEARCH_DATA_DIR to another folder.",
            )
        return False

    def create(self, binaries: Binaries, account: Account, *, is_durable: bool) -> None:
        """
        Make the cluster beside its place and move it there when it is complete.

        So a crash at any instant leaves no half cluster. The caller holds the lock that only one process can have.

        Raises:
            ConfigError: `initdb` failed, or the place cannot be taken.
        """
        partial = Path(tempfile.mkdtemp(prefix=f"{self.path.name}.init-", dir=self.path.parent))
        try:
            account.own(partial)
            self._initialise(partial, binaries, account, is_durable=is_durable)
            partial.rename(self.path)
        except OSError as error:
            raise ConfigError(
                f"The embedded database cannot be made in {self.path}: {error.strerror or error}.",
                remedy="Set STOPSEARCH_DATA_DIR to a folder that can be written.",
            ) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        _sync_folder(self.path.parent)

    def _initialise(self, partial: Path, binaries: Binaries, account: Account, *, is_durable: bool) -> None:
        command = [
            binaries.program("initdb"),
            f"--pgdata={Cluster(path=partial).as_argument}",
            f"--username={SUPERUSER}",
            # Whoever can enter the socket's folder (mode 0700) may connect; there is no other way in.
            "--auth-local=trust",
            "--auth-host=reject",
            "--encoding=UTF8",
            "--locale=C",
            # Sorts by code point as C does, and knows what is a letter beyond ASCII.
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-instructions",
        ]
        if not is_durable:
            command.append("--no-sync")
        made = subprocess.run(
            command, cwd=partial, env=SERVER_ENVIRONMENT, capture_output=True, text=True, **account.as_child
        )
        if made.returncode != 0:
            raise ConfigError(
                f"The embedded database cannot be made in {self.path}: {_last_line(made.stderr)}",
                remedy="Mend what it says, or set STOPSEARCH_DATA_DIR to another folder.",
            )

    def check(self, binaries: Binaries, account: Account) -> None:
        """
        Refuse a cluster that these programs or this user cannot use, before PostgreSQL does so less plainly.

        Raises:
            ConfigError: It is of another major version, or belongs to another user.
        """
        major = self.major()
        if major != binaries.major:
            raise ConfigError(
                f"The database in {self.path} was made by PostgreSQL {major}, and this is {binaries.major}.",
                remedy="Install the stopsearch that made it and run `stopsearch db dump`; move the folder away; "
                "then run `stopsearch db restore` with this one.",
            )
        owner = self.path.stat().st_uid
        if owner != account.uid:
            raise ConfigError(
                f"The database in {self.path} belongs to user number {owner}, and {account.name} would run it.",
                remedy=f"Run `chown -R {account.name} {self.path}`, or run stopsearch as its owner.",
            )

    def major(self) -> str:
        """
        Give the major version of PostgreSQL that made the cluster.
        """
        return (self.path / "PG_VERSION").read_text().strip()

    def postmaster(self) -> Postmaster | None:
        """
        Read what the server says of itself; also what a server said that is long dead.
        """
        try:
            lines = (self.path / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return None
        # pid, data folder, start time, port, socket folder, address, shared memory, state: written bit by bit.
        if not lines or not lines[0].strip().isdigit():
            return None
        socket_dir = lines[4].strip() if len(lines) > 4 else ""
        return Postmaster(
            pid=int(lines[0]),
            socket_dir=Path(socket_dir) if socket_dir else None,
            is_ready=len(lines) > 7 and lines[7].strip() == "ready",
        )

    def is_run_by(self, pid: int) -> bool:
        """
        Tell whether a live process is this cluster's server; a process that has its old number is not.
        """
        try:
            os.kill(pid, 0)
            if not _HERE.exists():
                return True
            return os.path.samestat(os.stat(f"/proc/{pid}/cwd"), self.path.stat())
        except OSError:
            # Gone, a zombie, or another user's: our server would be ours, or we would be root.
            return False

    def tidy(self) -> Path | None:
        """
        Remove what a crash left, of a server or of `create`, and logs past their time; no server runs.

        A stale `postmaster.pid` would stop PostgreSQL from starting when the number in it is taken by another
        process, as happens at once in a container, where numbers begin anew.

        Returns:
            The folder of the socket that the crashed server had.

        Raises:
            StoreUnavailable: A server that somebody started by hand uses the folder.
        """
        stale = self.postmaster()
        if stale is not None:
            if self.is_run_by(stale.pid):
                raise StoreUnavailable(
                    f"A PostgreSQL that stopsearch did not start (process {stale.pid}) uses {self.path}.",
                    remedy=f"Stop it with `kill -INT {stale.pid}` and try again.",
                )
            if _HERE.exists():
                (self.path / "postmaster.pid").unlink(missing_ok=True)
        # An `initdb` whose caller was killed goes on for a moment: what it writes too late is removed next time.
        for remains in self.path.parent.glob(f"{self.path.name}.init-*"):
            shutil.rmtree(remains, ignore_errors=True)
        self._drop_old_logs()
        return stale.socket_dir if stale else None

    def _drop_old_logs(self) -> None:
        try:
            # No link is followed: root may be doing this in another user's folder.
            folder = os.open(self.path / "log", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            return  # no server has run yet
        try:
            for name in os.listdir(folder):
                age_s = time.time() - os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime
                if name.endswith(".log") and age_s > _KEEP_LOGS_S:
                    os.unlink(name, dir_fd=folder)
        finally:
            os.close(folder)

    def last_log_line(self) -> str:
        """
        Give the last thing of weight that the server logged.
        """
        logs = [self.path / "startup.log", *(self.path / "log").glob("*.log")]
        for log in sorted((log for log in logs if log.exists()), key=lambda log: log.stat().st_mtime, reverse=True):
            with log.open("rb") as file:
                file.seek(max(0, log.stat().st_size - 20_000))
                text = file.read().decode(errors="replace")
            weighty = [line for line in text.splitlines() if "FATAL" in line or "PANIC" in line]
            if weighty:
                return _last_line("\n".join(weighty))
        return f"see {self.path / 'log'}."

    def size_bytes(self) -> int:
        """
        Give the bytes of all its files.
        """
        total = 0
        for folder, _, files in os.walk(self.path):
            for file in files:
                try:
                    total += os.lstat(os.path.join(folder, file)).st_size
                except FileNotFoundError:
                    continue  # a running server removes files as it goes
        return total


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it gave no reason."


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
