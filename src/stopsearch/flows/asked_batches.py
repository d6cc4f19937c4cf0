"""
What a server is asked for over HTTP: an ingest or a replay, checked before it is queued, and as the ledger has it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from stopsearch.domain.errors import BadPath, RequestError
from stopsearch.domain.months import Month
from stopsearch.domain.states import Source
from stopsearch.flows.batches import as_asked
from stopsearch.flows.dead_letters import check_letters, check_rule
from stopsearch.flows.plan import Wanted, check_wanted
from stopsearch.settings import Settings
from stopsearch.store.database import Database
from stopsearch.store.forces import known_forces


class Kind(StrEnum):
    """
    What a batch is to do.
    """

    INGEST = "ingest"
    REPLAY = "replay"


@dataclass(frozen=True, kw_only=True)
class AskedIngest:
    """
    An ingest that was asked for: of what is due at the publisher, or of archives by name.
    """

    wanted: Wanted
    source: Source = Source.API
    archives: tuple[str, ...] = ()  # names of files in the folder of archives

    def as_json(self) -> dict[str, Any]:
        """
        Write it down for the ledger.
        """
        return {
            "kind": Kind.INGEST,
            **as_asked(self.wanted),
            "source": self.source,
            "archives": list(self.archives),
        }


@dataclass(frozen=True, kw_only=True)
class AskedReplay:
    """
    A replay of dead letters that was asked for. `ids` None: all that the rest says.
    """

    force: str | None = None
    month: Month | None = None
    rule: str | None = None
    ids: tuple[int, ...] | None = None

    def as_json(self) -> dict[str, Any]:
        """
        Write it down for the ledger.
        """
        return {
            "kind": Kind.REPLAY,
            "source": Source.KEPT,
            "force": self.force,
            "month": str(self.month) if self.month else None,
            "rule": self.rule,
            "ids": list(self.ids) if self.ids is not None else None,
        }


AskedBatch = AskedIngest | AskedReplay


def checked(database: Database, settings: Settings, asked: AskedBatch) -> AskedBatch:
    """
    Make sure that what was asked for can be meant, and give it with the forces that the settings mean.

    Raises:
        RequestError: It can't be: a force, month, rule, letter or archive that nobody knows, or what goes not together.
    """
    if isinstance(asked, AskedIngest):
        return _checked_ingest(database, settings, asked)
    _check_replay(database, asked)
    return asked


def archive_path(settings: Settings, name: str) -> Path:
    """
    Give the archive of a name in the folder of archives that may be brought in over HTTP.

    Raises:
        RequestError: No such folder was set.
        BadPath: The name is more than a name, or no zip or CSV file in the folder has it.
    """
    folder = settings.archive_dir
    if folder is None:
        raise RequestError(
            "This server brings no archive in over HTTP.",
            remedy="Its operator names the folder that holds them in STOPSEARCH_ARCHIVE_DIR.",
        )
    if not name.isprintable() or not name or name.startswith(".") or "/" in name or "\\" in name:
        raise BadPath(
            f"{name!a} is not the name of an archive.", remedy="Name files of the server's folder, without a path."
        )
    try:
        path = (folder / name).resolve()
        is_there = path.is_file() and path.is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # a name that is too long, a loop of links, a folder that may not be entered
        is_there = False
    if not is_there or path.suffix.lower() not in (".zip", ".csv"):
        raise BadPath(
            f"The server's folder of archives has no zip or CSV file '{name}'.", remedy="Give the name as it is there."
        )
    return path


def read_asked(asked_for: dict[str, Any]) -> AskedBatch:
    """
    Read what was asked for from a batch's ledger entry.
    """
    if asked_for["kind"] == Kind.REPLAY:
        ids = asked_for["ids"]
        return AskedReplay(
            force=asked_for["force"],
            month=_month(asked_for["month"]),
            rule=asked_for["rule"],
            ids=tuple(ids) if ids is not None else None,
        )
    wanted = Wanted(
        forces=tuple(asked_for["forces"]),
        first=_month(asked_for["from"]),
        last=_month(asked_for["to"]),
        recheck=asked_for["recheck"],
    )
    return AskedIngest(wanted=wanted, source=Source(asked_for["source"]), archives=tuple(asked_for["archives"]))


def _checked_ingest(database: Database, settings: Settings, asked: AskedIngest) -> AskedIngest:
    if asked.source is Source.KEPT:
        raise RequestError("What is kept is not brought in again.", remedy="The source is 'api' or 'archive'.")
    if asked.source is Source.ARCHIVE and not asked.archives:
        raise RequestError("The source 'archive' needs archives.", remedy="Name them in 'archives'.")
    if asked.source is Source.ARCHIVE and asked.wanted.recheck:
        raise RequestError(
            "'recheck' is for the API; what is in an archive is always looked at.", remedy="Leave it out."
        )
    if asked.source is Source.API and asked.archives:
        raise RequestError("The source 'api' takes no archives.", remedy="Leave one of the two out.")
    for name in asked.archives:
        archive_path(settings, name)
    # Written down as they are now: a batch that is gone on with is about the same forces, whatever is set by then.
    wanted = replace(asked.wanted, forces=asked.wanted.forces or settings.forces)
    with database.connect(autocommit=True) as connection:
        check_wanted(wanted, forces=known_forces(connection), window=None)
    return replace(asked, wanted=wanted)


def _check_replay(database: Database, asked: AskedReplay) -> None:
    check_rule(database, asked.rule)
    check_letters(database, asked.ids or ())
    if asked.force is not None:
        with database.connect(autocommit=True) as connection:
            check_wanted(Wanted(forces=(asked.force,)), forces=known_forces(connection), window=None)


def _month(text: str | None) -> Month | None:
    return Month.parse(text) if text else None
