"""
How the server is launched: its settings, its socket, and the address of its databases.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from psycopg.conninfo import make_conninfo

from stopsearch.store.embedded.account import Account
from stopsearch.store.embedded.binaries import Binaries
from stopsearch.store.embedded.cluster import SERVER_ENVIRONMENT, SUPERUSER, Cluster
from stopsearch.store.embedded.locks import FileLock

_PORT = 5432  # names the socket; no port is opened
SOCKET_NAME = f".s.PGSQL.{_PORT}"
_SOCKET_FOLDER_PREFIX = "stopsearch-"

SERVER_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "cluster_name": "stopsearch",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "wal_compression": "on",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "on",
    "log_directory": "log",
    "log_filename": "postgresql-%a.log",
    "log_truncate_on_rotation": "on",
    "log_rotation_age": "1d",
    "log_rotation_size": "0",
}
# For databases that may be lost with the machine: tests.
_NOT_DURABLE = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


def launch(cluster: Cluster, binaries: Binaries, account: Account, server: FileLock, *, is_durable: bool) -> Path:
    """
    Start the server, and come back before it is ready.

    Args:
        cluster: The folder, which no server uses.
        binaries: Programs that the account can reach.
        account: Whom the server shall run as.
        server: The lock that the server shall hold while any of its processes lives; held by us now.
        is_durable: Whether commits outlive a crash of the machine.

    Returns:
        The folder of the server's socket.

    Raises:
        OSError: The account cannot be taken on, or the folder cannot be entered.
        CalledProcessError: The shell that starts it failed.
    """
    socket_dir = _make_socket_dir(account)
    settings = dict(SERVER_SETTINGS, unix_socket_directories=str(socket_dir))
    if not is_durable:
        settings.update(_NOT_DURABLE)
    command = [binaries.program("postgres"), "-D", cluster.as_argument, "-p", str(_PORT)]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    try:
        # The shell leaves at once, so that the server is nobody's child: no zombie, nothing to wait for.
        subprocess.run(
            ["/bin/sh", "-c", '"$@" </dev/null >startup.log 2>&1 &', "sh", *command],
            cwd=cluster.path,
            env=SERVER_ENVIRONMENT,
            pass_fds=[server.fileno()],
            start_new_session=True,
            check=True,
            **account.as_child,
        )
    except (OSError, subprocess.CalledProcessError):
        remove_socket_dir(socket_dir)
        raise
    return socket_dir


def server_conninfo(socket_dir: Path, database: str) -> str:
    """
    Give psycopg's connection string of one of the server's databases; it holds no secret.
    """
    return make_conninfo(
        host=str(socket_dir),
        port=_PORT,
        user=SUPERUSER,
        dbname=database,
        # What follows keeps the caller's own PGOPTIONS, PGHOSTADDR, PGSSLMODE and their like from being used here.
        options="-c TimeZone=UTC",
        hostaddr="",
        sslmode="disable",
        gssencmode="disable",
        channel_binding="disable",
        require_auth="none",
        target_session_attrs="any",
    )


def remove_socket_dir(socket_dir: Path) -> None:
    """
    Remove a socket's folder that `launch` made, and no other.

    The name was read from a file that may have come from another machine or, for root, from another user: so
    nothing is removed but what we make ourselves.
    """
    ours = socket_dir.parent == _temporary_folder() and socket_dir.name.startswith(_SOCKET_FOLDER_PREFIX)
    if not ours or socket_dir.is_symlink():
        return
    try:
        for name in (SOCKET_NAME, f"{SOCKET_NAME}.lock"):
            (socket_dir / name).unlink(missing_ok=True)
        socket_dir.rmdir()
    except OSError:
        return  # gone already, or somebody put something there: it harms nothing


def _make_socket_dir(account: Account) -> Path:
    # A new folder of a name that nobody can guess, for its owner only: short enough for a socket's address
    # (107 bytes) wherever the data is, and nobody can have been there first. `postmaster.pid` tells its name.
    socket_dir = Path(tempfile.mkdtemp(prefix=_SOCKET_FOLDER_PREFIX, dir=_temporary_folder()))
    account.own(socket_dir)
    return socket_dir


def _temporary_folder() -> Path:
    # TMPDIR may be long, as on macOS or under a test runner. Only `mkdtemp` makes anything here.
    shared = Path("/tmp")  # nosec B108
    return shared if os.access(shared, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
