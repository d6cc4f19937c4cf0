"""
`stopsearch export`: stops as one file, of the snapshot of now, of any instant before, or of an id.
"""

from __future__ import annotations

import difflib
import json
import re
import sys
from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime, time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from stopsearch.cli.arguments import Forces, From, To, check_output, is_untouched, read_wanted
from stopsearch.cli.as_json import plain
from stopsearch.cli.opening import begin, need_something_held, opened
from stopsearch.cli.progress import counted
from stopsearch.cli.terminal import many, note, safe, size
from stopsearch.domain.dimensions import GROUPED_FIELDS
from stopsearch.domain.errors import BadQuery, RequestError
from stopsearch.domain.filters import NOT_GIVEN, StopFilter
from stopsearch.domain.stops import BOOLEAN_FIELDS
from stopsearch.domain.vocabulary import VOCABULARY, labels_of


class Format(StrEnum):
    """
    How an export is written.
    """

    CSV = "csv"
    PARQUET = "parquet"
    NDJSON = "ndjson"
    GEOJSON = "geojson"


_ENDINGS = {
    ".csv": Format.CSV,
    ".parquet": Format.PARQUET,
    ".ndjson": Format.NDJSON,
    ".jsonl": Format.NDJSON,
    ".geojson": Format.GEOJSON,
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
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="FIELD=LABEL",
            help="Only stops with this label: 'gender=Female', 'outcome_group=Arrest', 'operation=true'; 'none' is for "
            "those without one. Give it again for several: labels of one field widen, fields narrow.",
        ),
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of",
            metavar="INSTANT",
            help="As it was served then: 2026-03-31T12:00:00Z, or a date, whose end counts.",
        ),
    ] = None,
    snapshot: Annotated[
        str | None,
        typer.Option("--snapshot", metavar="ID", help="As this snapshot serves it: its id, or 12 digits at least."),
    ] = None,
    with_street: Annotated[
        bool, typer.Option("--with-street", help="Add the street, where the API has told it.")
    ] = False,
    with_revision: Annotated[
        bool, typer.Option("--with-revision", help="Add the number of the revision that served each stop.")
    ] = False,
    manifest: Annotated[
        str | None,
        typer.Option(
            "--manifest",
            metavar="FILE",
            help="Where its manifest goes: rows, sha256, coverage, data dictionary. A file named by --output has it "
            "beside it, as FILE.manifest.json.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write the report on it (rows, digest, snapshot) as JSON to standard error.")
    ] = False,
) -> None:
    """
    Write the stops as CSV, Parquet, JSON lines or GeoJSON.

    They are those served now, at --as-of or by --snapshot: one consistent state, streamed in constant memory. A file
    appears whole or not at all, with its manifest beside it. The same snapshot gives the same bytes on any machine; its
    id, for citing, is told on standard error.
    """
    settings = begin()
    wanted = read_wanted(settings, force, first, last)
    asked = StopFilter(forces=wanted.forces, first=wanted.first, last=wanted.last, **read_where(where or ()))
    at = read_instant(as_of) if as_of is not None else None
    id = read_snapshot_id(snapshot) if snapshot is not None else None
    file = check_output(output)
    told = check_output(manifest) if manifest is not None else None
    if manifest is not None and told is None:
        raise RequestError("A manifest is a file.", remedy="Name one: --manifest stops.manifest.json.")
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
            asked=asked,
            as_of=at,
            snapshot=id,
            with_street=with_street,
            with_revision=with_revision,
            manifest=told or (flow.manifest_place(file) if file is not None and is_file(file) else None),
            progress=progress,
        )
        began = None if report.force_months else first_served(database, wanted)
    if as_json:
        sys.stderr.write(json.dumps(plain(report), ensure_ascii=False) + "\n")
        return
    if at is not None and not report.force_months:
        _tell_first_served(began)
    place = f" to {safe(file)}" if file else ""
    note(
        f"{many(report.rows, 'stop')} of {many(report.force_months, 'force-month')} written{place}, "
        f"{size(report.bytes)}, as served from {report.served_from.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC."
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


def read_where(given: Sequence[str]) -> dict[str, Any]:
    """
    Read what stops must have, each written FIELD=LABEL, as parts of a filter.

    Raises:
        BadQuery: A field or a label is unknown; the remedy names those that are close.
    """
    labels: dict[str, tuple[str, ...]] = {}
    flags: dict[str, bool | None] = {}
    for text in given:
        field, _, value = text.partition("=")
        known: Collection[str]
        if field in BOOLEAN_FIELDS:
            known = ("true", "false", NOT_GIVEN)
        elif field in GROUPED_FIELDS:
            groups = (label.group for label in VOCABULARY[GROUPED_FIELDS[field]])
            known = [*dict.fromkeys(group for group in groups if group), NOT_GIVEN]
        elif field in VOCABULARY:
            known = [*labels_of(field), NOT_GIVEN]
        else:
            raise _unknown(
                f"'{field}' is no field that has labels", field, [*VOCABULARY, *GROUPED_FIELDS, *BOOLEAN_FIELDS]
            )
        if value not in known:
            raise _unknown(f"'{value}' is no label of {field}", value, known)
        if field not in BOOLEAN_FIELDS:
            labels[field] = (*labels.get(field, ()), value)
        elif field in flags:
            raise BadQuery(f"--where {field} was given twice.", remedy="Leave one of the two out.")
        else:
            flags[field] = None if value == NOT_GIVEN else value == "true"
    return {"labels": labels, "flags": flags}


def _unknown(what: str, given: str, known: Collection[str]) -> BadQuery:
    near = difflib.get_close_matches(given, known, n=3, cutoff=0.5) or list(known)[:20]
    return BadQuery(f"--where: {what}.", remedy=f"Did you mean {' or '.join(repr(each) for each in near)}?")


def read_snapshot_id(text: str) -> str:
    """
    Read a snapshot's id, or the first digits of one.

    Raises:
        RequestError: It can't be one.
    """
    if not re.fullmatch(r"[0-9a-f]{12,64}", text, re.ASCII):
        raise RequestError(
            f"--snapshot '{text}' is no snapshot's id.",
            remedy="Give its 64 hexadecimal digits, or the first 12 at least.",
        )
    return text


def is_file(path: Path) -> bool:
    """
    Tell whether a path is a file or will be one: beside a pipe or a device nothing is written.
    """
    return path.is_file() or not path.exists()


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
