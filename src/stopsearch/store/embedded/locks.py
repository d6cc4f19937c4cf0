"""
Locks on files, which the kernel lets go of when their last holder ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType

from stopsearch.domain.errors import ConfigError, StoreUnavailable

_POLL_S = 0.02


class FileLock:
    """
    One opening of a lock file; two openings exclude each other also within one process.

    The file itself is never removed: a lock on a removed file excludes nobody. A child made by `fork` shares
    the lock; a program started by `exec` gets it only when the descriptor is passed on.

    Args:
        path: The lock file, made when absent, in a folder that exists.

    Raises:
        ConfigError: The file cannot be made, or belongs to another user.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = _open(path)

    def __enter__(self) -> FileLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fileno(self) -> int:
        """
        Give the descriptor, to be passed on to a program that shall hold the lock.
        """
        return self._descriptor

    def close(self) -> None:
        """
        Let go; a lock that was passed on stays with whom it was passed to.
        """
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def try_exclusive(self) -> bool:
        """
        Take the lock alone, or tell at once that another holds it.
        """
        return self._try(fcntl.LOCK_EX)

    def try_shared(self) -> bool:
        """
        Take the lock beside other sharers, or tell at once that another holds it alone.
        """
        return self._try(fcntl.LOCK_SH)

    def wait_exclusive(self, *, deadline: float) -> None:
        """
        Take the lock alone, waiting for others.

        Args:
            deadline: When to give up, on the clock of `time.monotonic`.

        Raises:
            StoreUnavailable: Another process held it until the deadline.
        """
        self._wait(fcntl.LOCK_EX, deadline)

    def wait_shared(self, *, deadline: float) -> None:
        """
        Take the lock beside other sharers, waiting for one that holds it alone.

        Args:
            deadline: When to give up, on the clock of `time.monotonic`.

        Raises:
            StoreUnavailable: Another process held it until the deadline.
        """
        self._wait(fcntl.LOCK_SH, deadline)

    def _wait(self, operation: int, deadline: float) -> None:
        while not self._try(operation):
            if time.monotonic() > deadline:
                raise StoreUnavailable(
                    f"Another process has held {self._path} for too long.",
                    remedy="See whether a stopsearch command hangs, end it, and try again.",
                )
            time.sleep(_POLL_S)

    def _try(self, operation: int) -> bool:
        try:
            fcntl.flock(self._descriptor, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def _open(path: Path) -> int:
    try:
        return _open_or_make(path)
    except OSError as error:
        raise ConfigError(
            f"The lock {path} cannot be used: {error.strerror}.",
            remedy="Run stopsearch as the owner of its data folder, or set STOPSEARCH_DATA_DIR to one of your own.",
        ) from error


def _open_or_make(path: Path) -> int:
    # No link is followed: root may open a lock in a folder that belongs to somebody else.
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return os.open(path, flags)
    if os.geteuid() == 0:
        # A lock that root made in a user's folder would lock that user out for good.
        owner = path.parent.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
    return descriptor
