"""
`stopsearch export`: stops as one file, in the state of now or of any instant before.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, date, datetime, time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from stopsearch.cli.arguments import Forces, From, To, check_output, is_untouched, read_wanted
from stopsearch.cli.as_json import plain
from stopsearch.cli.opening import begin, need_something_held, opened
from stopsearch.cli.progress import counted
from stopsearch.cli.terminal import many, note, safe, size
from stopsearch.domain.errors import RequestError


class Format(StrEnum):
    """
    How an export is written.
    """

    CSV = "csv"
    PARQUET = "parquet"
    NDJSON = "ndjson"


_ENDINGS = {
    ".csv": Format.CSV,
    ".parquet": Format.PARQUET,
    ".ndjson": Format.NDJSON,
    ".jsonl": Format.NDJSON,
}


def export(
    format: Annotated[
        Format | None, typer.Option("--format", help="How to write them. Without it: by the file's ending, else csv.")
    ] = None,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="The file to write; - is standard output.")
    ] = "-",
    force: Forces = None,
    first: From = None,
    last: To = None,
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of",
            metavar="INSTANT",
            help="As it was served then: 2026-03-31T12:00:00Z, or a date, whose end counts.",
        ),
    ] = None,
    with_street: Annotated[
        bool, typer.Option("--with-street", help="Add the street, where the API has told it.")
    ] = False,
    with_revision: Annotated[
        bool, typer.Option("--with-revision", help="Add the number of the revision that served each stop.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write the report on it (rows, digest, snapshot) as JSON to standard error.")
    ] = False,
) -> None:
    """
    Write the stops as CSV, Parquet or JSON lines.

    They are those served now, or at --as-of: one consistent state, streamed in constant memory. A file appears whole or
    not at all. The same snapshot gives the same bytes on any machine; its id, for citing, is told on standard error.
    """
    settings = begin()
    wanted = read_wanted(settings, force, first, last)
    at = read_instant(as_of) if as_of is not None else None
    file = check_output(output)
    format = choose_format(format, file)
    if file is None and format is Format.PARQUET and sys.stdout.isatty():
        raise RequestError("Parquet is no text for a terminal.", remedy="Name a file: --output stops.parquet.")
    if is_untouched(settings) and at is not None and at > datetime.now(UTC):
        raise RequestError(f"--as-of {as_of} lies in the future.", remedy="Leave it out: the state of now is written.")
    need_something_held(settings, is_named=True)
    from stopsearch.flows import export as flow
    from stopsearch.flows.revisions import first_served

    with opened(settings) as database, counted("written") as progress:
        report = flow.export(
            database,
            format=flow.ExportFormat(format.value),
            destination=file or "-",
            wanted=wanted,
            as_of=at,
            with_street=with_street,
            with_revision=with_revision,
            progress=progress,
        )
        began = None if report.force_months else first_served(database, wanted)
    if as_json:
        sys.stderr.write(json.dumps(plain(report), ensure_ascii=False) + "\n")
        return
    if at is not None and not report.force_months:
        _tell_first_served(began)
    where = f" to {safe(file)}" if file else ""
    note(
        f"{many(report.rows, 'stop')} of {many(report.force_months, 'force-month')} written{where}, "
        f"{size(report.bytes)}, as served at {report.as_of.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC."
    )
    note(f"snapshot {report.snapshot}")
    note(f"sha256   {report.sha256}")
    note(report.licence)


def choose_format(given: Format | None, file: Path | None) -> Format:
    """
    Choose how to write: as was asked for, else by the file's ending, else as CSV.

    Raises:
        RequestError: The file's ending tells of another format than was asked for.
    """
    ending = _ENDINGS.get(file.suffix.lower()) if file is not None else None
    if given is not None and ending is not None and given is not ending:
        raise RequestError(
            f"'{file}' ends as {ending} does, but --format {given} was asked for.", remedy="Leave one of the two out."
        )
    return given or ending or Format.CSV


def _tell_first_served(began: datetime | None) -> None:
    if began is None:
        note("Nothing of what was asked for was ever served.")
    else:
        # Down to the microsecond: --as-of of a rounded instant would still find nothing.
        note(f"Nothing was served then; the first was served from {began.astimezone(UTC).isoformat()}.")


def read_instant(text: str) -> datetime:
    """
    Read an instant, or a date, of which the end counts.

    Raises:
        RequestError: It is neither, or an instant without its zone.
    """
    remedy = "Write an instant with its zone, 2026-03-31T12:00:00Z, or a date, 2026-03-31."
    try:
        if len(text) == 10:
            day = date.fromisoformat(text)
            # Today is not over yet: now is what can be told of it.
            return min(
                datetime.combine(day, time.max, tzinfo=UTC),
                max(datetime.now(UTC), datetime.combine(day, time.min, tzinfo=UTC)),
            )
        at = datetime.fromisoformat(text)
    except ValueError:
        raise RequestError(f"--as-of '{text}' is no instant.", remedy=remedy) from None
    if at.tzinfo is None:
        raise RequestError(f"--as-of '{text}' has no time zone.", remedy=remedy)
    return at
