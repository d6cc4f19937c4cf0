"""
Whom the embedded server runs as: PostgreSQL refuses to run as root.
"""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from stopsearch.domain.errors import ConfigError

# `stopsearch` is for an administrator who wants an account of its own; `nobody` is on every system.
ACCOUNTS_FOR_ROOT = ("stopsearch", "nobody")


class ChildIdentity(TypedDict, total=False):
    """
    The arguments of `subprocess.Popen` that make a child run as an account.
    """

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True, kw_only=True)
class Account:
    """
    An account of this system.
    """

    name: str
    uid: int
    gid: int

    @property
    def is_ours(self) -> bool:
        """
        Tell whether this process runs as it already.
        """
        return self.uid == os.geteuid()

    @property
    def as_child(self) -> ChildIdentity:
        """
        Give what makes a child process run as it.
        """
        if self.is_ours:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def own(self, folder: Path) -> None:
        """
        Make a folder that we have just made the account's own.
        """
        if not self.is_ours:
            os.chown(folder, self.uid, self.gid, follow_symlinks=False)


def choose_account(*, data_dir: Path, cluster: Path) -> Account:
    """
    Choose whom the server runs as: ourselves, unless we are root.

    For root it is the owner of the cluster, else the owner of the data folder, else the first of
    `ACCOUNTS_FOR_ROOT`; so `sudo` in a user's data folder leaves everything to that user.

    Raises:
        ConfigError: No account is fit for it.
    """
    if os.geteuid() != 0:
        account = _account(os.geteuid())
        if account is None:
            # initdb looks its user up, and has no option to do without.
            raise ConfigError(
                f"The embedded PostgreSQL cannot run as user number {os.geteuid()}, which has no name.",
                remedy="Add the user to /etc/passwd, or set STOPSEARCH_DATABASE_URL to use another PostgreSQL.",
            )
        return account
    for folder in (cluster, data_dir):
        if folder.exists() and (account := _account(folder.stat().st_uid)) and account.uid != 0:
            return account
    for name in ACCOUNTS_FOR_ROOT:
        if account := _account(name):
            return account
    raise ConfigError(
        "PostgreSQL does not run as root, and this system has no user to run it as.",
        remedy="Run stopsearch as an ordinary user, or add a user named stopsearch.",
    )


def _account(who: int | str) -> Account | None:
    try:
        entry = pwd.getpwuid(who) if isinstance(who, int) else pwd.getpwnam(who)
    except KeyError:
        return None
    return Account(name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid)
