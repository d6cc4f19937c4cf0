"""
Export stops as one file, in constant memory: a snapshot's id stands for its bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from psycopg import Connection

from stopsearch.domain.filters import StopFilter
from stopsearch.domain.licence import LICENCE
from stopsearch.flows.asked_export import AskedExport, ExportFormat
from stopsearch.flows.asked_snapshot import asked_snapshot
from stopsearch.flows.export_destination import CountedSink, opened_destination, write_beside
from stopsearch.flows.export_manifest import MANIFEST_SUFFIX, encode_manifest, manifest_of
from stopsearch.flows.plan import Wanted, check_wanted
from stopsearch.flows.write_export import ExportReader, Progress, write_export
from stopsearch.store.database import Database
from stopsearch.store.forces import known_forces

__all__ = ["ExportFormat", "ExportReport", "export"]


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """
    What was written, and what it can be cited by.
    """

    format: ExportFormat
    rows: int
    force_months: int
    bytes: int
    sha256: str  # of all bytes that were written, in hexadecimal
    snapshot: str  # the id of everything that was served then, whatever part of it was asked for
    served_from: datetime  # when that snapshot was first served
    query: str  # what was asked of the stops; empty: all of them
    columns: tuple[str, ...] = field(repr=False)
    licence: str = LICENCE["attribution"]


def export(
    database: Database,
    *,
    format: ExportFormat,
    destination: str | Path | BinaryIO,
    asked: StopFilter | None = None,
    as_of: datetime | None = None,
    snapshot: str | None = None,
    with_street: bool = False,
    with_revision: bool = False,
    manifest: str | Path | None = None,
    progress: Progress | None = None,
) -> ExportReport:
    """
    Write the stops that a snapshot serves, by force, month, time and id.

    The same snapshot, filter and columns give the same bytes, on any machine (Parquet: with the same version of
    Polars); streets and revision numbers are no part of a snapshot. Memory is bounded by the largest force-month.

    Args:
        destination: A file, which appears whole or not at all; "-" for standard output; or a binary stream.
        asked: Which stops; None: all.
        as_of: The instant whose snapshot is meant, with its zone; None: now.
        snapshot: The snapshot's id, or the first digits of it.
        with_street: Add the street of each located stop, where the API has told it.
        with_revision: Add the number of the revision that served each stop.
        manifest: Where the manifest is written, once the file is whole; None: nowhere.

    Raises:
        UnknownForce: A force that nobody knows.
        MonthOutOfRange: The months start after they end.
        RequestError: The instant lies in the future, or has no zone; or both an instant and a snapshot were given.
        UnknownSnapshot: No snapshot has this id.
        BadPath: The destination can't be written.
        StoreError: The rows of a force-month are not as many as its revision says: nothing is written.
    """
    with database.connect(autocommit=True) as connection:
        connection.execute("SET DateStyle = 'ISO'")  # another one, the user's own, is not read by the driver
        question = AskedExport(
            snapshot=asked_snapshot(connection, as_of=as_of, snapshot=snapshot),
            format=format,
            filter=asked or StopFilter(),
            with_street=with_street,
            with_revision=with_revision,
        )
        _check(connection, question.filter)
        reader = ExportReader(question)
        with opened_destination(destination) as stream:
            written = write_export(
                question, read=lambda chunk: reader.read(connection, chunk), sink=CountedSink(stream), progress=progress
            )
    if manifest is not None:
        write_beside(Path(manifest), encode_manifest(manifest_of(question, written)))
    return ExportReport(
        format=format,
        rows=written.rows,
        force_months=len(question.revisions),
        bytes=written.bytes,
        sha256=written.sha256,
        snapshot=question.snapshot.id,
        served_from=question.snapshot.served_from,
        query=question.query,
        columns=question.columns,
    )


def manifest_place(file: Path) -> Path:
    """
    Give where the manifest of a file belongs: beside it.
    """
    return file.with_name(file.name + MANIFEST_SUFFIX)


def _check(connection: Connection, asked: StopFilter) -> None:
    wanted = Wanted(forces=asked.forces, first=asked.first, last=asked.last)
    check_wanted(wanted, forces=known_forces(connection), window=None)
