"""
Export stops as CSV, Parquet or JSON lines: a stream in constant memory, whose bytes a snapshot's id stands for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, cast

import polars as pl
from polars.io.plugins import register_io_source
from psycopg import Connection

from stopsearch.clean.identity import id_prefix
from stopsearch.domain.errors import StoreError
from stopsearch.flows.export_destination import CountedSink, opened_destination
from stopsearch.flows.plan import Wanted, check_wanted
from stopsearch.store.as_of import ServedRevision, id_range, one_snapshot, served_revisions, snapshot_of
from stopsearch.store.database import Database
from stopsearch.store.export_rows import (
    BOOLEAN_COLUMNS,
    COLUMNS,
    REVISION_COLUMNS,
    STREET_COLUMNS,
    RowText,
    copy_month,
)
from stopsearch.store.forces import known_forces

LICENCE = "Contains public sector information licensed under the Open Government Licence v3.0. Source: data.police.uk"

# Rows that are in memory at once while Parquet is written, at least; a force-month is never parted.
_BATCH_ROWS = 50_000
_ROW_GROUP_ROWS = 100_000

Progress = Callable[[int, int], None]  # how many force-months are written, and of how many


class ExportFormat(StrEnum):
    """
    How an export is written.
    """

    CSV = "csv"
    PARQUET = "parquet"
    NDJSON = "ndjson"


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
    snapshot: str  # the id of everything that was served at `as_of`, whatever part of it was asked for
    as_of: datetime
    columns: tuple[str, ...] = field(repr=False)
    licence: str = LICENCE


def export(
    database: Database,
    *,
    format: ExportFormat,
    destination: str | Path | BinaryIO,
    wanted: Wanted | None = None,
    as_of: datetime | None = None,
    with_street: bool = False,
    with_revision: bool = False,
    progress: Progress | None = None,
) -> ExportReport:
    """
    Write the stops that were served at an instant, by force, month, time and id.

    All of it is one consistent state of the database. The same snapshot and columns give the same bytes, on any
    machine (Parquet: with the same version of Polars); streets and revision numbers are no part of a snapshot.
    Memory is bounded by the largest force-month.

    Args:
        destination: A file, which appears whole or not at all; "-" for standard output; or a binary stream.
        wanted: Which forces and months; None: all.
        as_of: The instant, with its zone; None: now.
        with_street: Add the street of each located stop, where the API has told it.
        with_revision: Add the number of the revision that served each stop.

    Raises:
        UnknownForce: A force that nobody knows.
        MonthOutOfRange: The months start after they end.
        RequestError: The instant lies in the future, or has no zone.
        BadPath: The destination can't be written.
        StoreError: The rows of a force-month are not as many as its revision says: nothing is written.
    """
    wanted = wanted or Wanted()
    columns = COLUMNS + (REVISION_COLUMNS if with_revision else ()) + (STREET_COLUMNS if with_street else ())
    with database.connect(autocommit=True) as connection, one_snapshot(connection) as now:
        check_wanted(wanted, forces=known_forces(connection), window=None)
        everything = served_revisions(connection, as_of=as_of)
        snapshot = snapshot_of(everything)
        served = [revision for revision in everything if wanted.covers(revision.force, revision.month)]
        with opened_destination(destination) as stream:
            sink = CountedSink(stream)
            source = _Rows(connection, served, columns, progress)
            if format is ExportFormat.PARQUET:
                source.write_parquet(sink, snapshot)
            else:
                source.write_text(sink, format)
    return ExportReport(
        format=format,
        rows=source.rows,
        force_months=len(served),
        bytes=sink.count,
        sha256=sink.digest.hexdigest(),
        snapshot=snapshot,
        as_of=as_of or now,
        columns=columns,
    )


class _Rows:
    """
    The rows of an export, from a connection that reads one snapshot.
    """

    def __init__(
        self,
        connection: Connection,
        served: list[ServedRevision],
        columns: tuple[str, ...],
        progress: Progress | None,
    ) -> None:
        self._connection = connection
        self._served = served
        self._columns = columns
        self._progress = progress
        self.rows = 0

    def write_text(self, sink: CountedSink, format: ExportFormat) -> None:
        """
        Write CSV with a header, or JSON lines.
        """
        if format is ExportFormat.CSV:
            sink.write((",".join(self._columns) + "\n").encode())
        text = RowText.CSV if format is ExportFormat.CSV else RowText.NDJSON
        for done, revision in enumerate(self._served, start=1):
            self._copy(revision, text, sink.write)
            self._tell(done)

    def write_parquet(self, sink: CountedSink, snapshot: str) -> None:
        """
        Write Parquet, a row group at a time.
        """
        frames = register_io_source(lambda *_: self._frames(), schema=self._schema(), validate_schema=True)
        try:
            frames.sink_parquet(
                cast(BinaryIO, sink),  # Polars only writes and flushes
                row_group_size=_ROW_GROUP_ROWS,
                metadata={"stopsearch.snapshot": snapshot, "licence": LICENCE},
                engine="streaming",
            )
        except (OSError, pl.exceptions.PolarsError):
            # Polars tells of a failed write by an error of its own: a closed pipe would pass for a fault of ours.
            if sink.failure is not None:
                raise sink.failure from None
            raise

    def _frames(self) -> Iterator[pl.DataFrame]:
        """
        Give the rows as frames, several small force-months in one.
        """
        body = bytearray()
        waiting = 0
        for done, revision in enumerate(self._served, start=1):
            waiting += self._copy(revision, RowText.PLAIN_CSV, body.extend)
            if waiting >= _BATCH_ROWS or (done == len(self._served) and waiting):
                yield self._frame(bytes(body))
                body.clear()
                waiting = 0
            self._tell(done)

    def _frame(self, body: bytes) -> pl.DataFrame:
        schema = self._schema()
        text = {name: pl.String() if type == _INSTANT else type for name, type in schema.items()}
        frame = pl.read_csv(body, has_header=False, schema=text)
        return frame.with_columns(
            pl.col("datetime").str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", time_unit="us", time_zone="UTC")
        )

    def _schema(self) -> dict[str, pl.DataType]:
        return {name: _TYPES.get(name, pl.String()) for name in self._columns}

    def _copy(self, revision: ServedRevision, text: RowText, write: Callable[[bytes], object]) -> int:
        ids = id_range(id_prefix(revision.force, revision.month))
        rows = copy_month(self._connection, revision, ids, columns=self._columns, text=text, write=write)
        if rows != revision.stored:
            raise StoreError(
                f"{revision.force} {revision.month} has {rows} stops, but its revision {revision.number} says "
                f"{revision.stored}.",
                remedy="Nothing was exported. 'stopsearch doctor' says what is wrong with the database.",
            )
        self.rows += rows
        return rows

    def _tell(self, done: int) -> None:
        if self._progress is not None:
            self._progress(done, len(self._served))


_INSTANT = pl.Datetime("us", "UTC")
_TYPES: dict[str, pl.DataType] = {
    "datetime": _INSTANT,
    "local_date": pl.Date(),
    "latitude": pl.Float64(),
    "longitude": pl.Float64(),
    "revision": pl.Int32(),
    "street_id": pl.Int32(),
    **{name: pl.Boolean() for name in BOOLEAN_COLUMNS},
}
