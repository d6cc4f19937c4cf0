"""
What can be asked for on the command line, checked before anything is opened or written.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from stopsearch.domain.errors import BadPath, MonthOutOfRange, RequestError, UnknownForce
from stopsearch.domain.forces import FORCE_NAMES, parse_force_id
from stopsearch.domain.months import FIRST_PUBLISHED, Month
from stopsearch.flows.plan import Wanted, check_wanted
from stopsearch.settings import Settings

Forces = Annotated[
    list[str] | None,
    typer.Option(
        "--force",
        "-f",
        metavar="FORCE",
        help="A police force, by its id ('metropolitan'). Give it again, or commas between, for several.",
    ),
]
From = Annotated[str | None, typer.Option("--from", metavar="YYYY-MM", help="The first month.")]
To = Annotated[str | None, typer.Option("--to", metavar="YYYY-MM", help="The last month.")]
Recheck = Annotated[bool, typer.Option("--recheck", help="Look again at the months that are held, for revisions.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON, for scripts.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether it is meant.")]


def read_wanted(
    settings: Settings,
    forces: Sequence[str] | None,
    first: str | None,
    last: str | None,
    *,
    recheck: bool = False,
    use_configured: bool = False,
) -> Wanted:
    """
    Read which force-months were asked for.

    Args:
        use_configured: Whether the forces of the settings are meant where no force is given.

    Raises:
        RequestError: A force, a month or the range can't be meant.
    """
    wanted = Wanted(
        forces=tuple(dict.fromkeys(read_force(part) for given in forces or () for part in _parts(given))),
        first=Month.parse(first) if first is not None else None,
        last=Month.parse(last) if last is not None else None,
        recheck=recheck,
    )
    if use_configured and not wanted.forces:
        wanted = replace(wanted, forces=settings.forces)
    _check_range(wanted)
    if is_untouched(settings):
        # Nothing is known yet but the forces' own names; a data folder must not be made for a misspelt force.
        check_wanted(wanted, forces=(), window=None)
    return wanted


def read_force(text: str) -> str:
    """
    Read one force's id.

    Raises:
        UnknownForce: It has not the form of one; the remedy names ids that are close.
    """
    try:
        return parse_force_id(text)
    except UnknownForce as error:
        id_like = re.sub(r"[^a-z]+", "-", text.lower()).strip("-")
        by_name = {re.sub(r"[^a-z]+", "-", name.lower()): force for force, name in FORCE_NAMES.items()}
        near = difflib.get_close_matches(id_like, [*FORCE_NAMES, *by_name], n=3)
        if near:
            ids = list(dict.fromkeys(by_name.get(name, name) for name in near))
            raise UnknownForce(error.message, remedy=f"Did you mean {' or '.join(ids)}?") from None
        raise


def read_known_force(settings: Settings, text: str) -> str:
    """
    Read one force's id, as `read_wanted` does.
    """
    return read_wanted(settings, [text], None, None).forces[0]


def read_published(text: str) -> datetime:
    """
    Read when an archive was published: an instant; or a date or a month, of which the last second counts.

    Raises:
        RequestError: It is none of these, or lies in the future.
    """
    remedy = "Write a date (2024-03-31), a month (2024-03), or an instant with its zone (2024-03-31T12:00:00Z)."
    now = datetime.now(UTC)
    try:
        if re.fullmatch(r"\d{4}-\d{2}", text):
            at = Month.parse(text).end
        elif re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            day = date.fromisoformat(text)
            at = datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=UTC)
        else:
            at = datetime.fromisoformat(text)
            if at.tzinfo is None:
                raise RequestError(f"--published '{text}' has no time zone.", remedy=remedy)
    except ValueError:
        raise RequestError(f"--published '{text}' is no date.", remedy=remedy) from None
    if at > now + timedelta(days=31):
        raise RequestError(f"--published '{text}' lies in the future.", remedy=remedy)
    return at


def check_paths(paths: Sequence[str]) -> None:
    """
    Make sure that every path leads somewhere; an address is tried when it is opened.

    Raises:
        BadPath: One leads nowhere.
    """
    for path in paths:
        if re.match(r"https?://", path, re.IGNORECASE):
            continue
        try:
            is_there = Path(path).expanduser().exists()
        except OSError:
            is_there = False
        if not is_there:
            raise BadPath(
                f"'{path}' is not there.",
                remedy="Name a zip, a folder of zips or CSV files, or the http(s) address of a zip.",
            )


def check_output(path: str) -> Path | None:
    """
    Read where to write to: None is standard output.

    Raises:
        BadPath: The file's folder is not there, or it is a folder.
    """
    if path == "-":
        return None
    file = Path(path).expanduser()
    if file.is_dir():
        raise BadPath(f"'{path}' is a folder.", remedy="Name a file in it.")
    if not file.parent.is_dir():
        raise BadPath(f"The folder of '{path}' is not there.", remedy="Make it first, or name another file.")
    return file


def is_untouched(settings: Settings) -> bool:
    """
    Tell whether no database has been made yet: none is set, and the data folder has none.
    """
    return settings.database_url is None and not (settings.data_dir / "postgres").exists()


def _parts(given: str) -> list[str]:
    parts = [part.strip() for part in given.split(",")]
    if not any(parts):
        raise UnknownForce("--force was given without a force.", remedy="Name one: --force metropolitan.")
    return [part for part in parts if part]


def _check_range(wanted: Wanted) -> None:
    now, first = Month.of(datetime.now(UTC).date()), Month.parse(FIRST_PUBLISHED)
    if wanted.first is not None and wanted.last is not None and wanted.first > wanted.last:
        check_wanted(Wanted(first=wanted.first, last=wanted.last), forces=(), window=None)
    if wanted.first is not None and wanted.first > now:
        raise MonthOutOfRange(
            f"--from {wanted.first} lies in the future.", remedy=f"The newest month there can be is {now}."
        )
    if wanted.last is not None and wanted.last < first:
        raise MonthOutOfRange(
            f"--to {wanted.last} is before anything was published.", remedy=f"The publisher's first month is {first}."
        )
