"""
Write an export: its chunks one after another, each read whole and checked before any of it is passed on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from psycopg import Connection

from stopsearch.domain.errors import StoreError
from stopsearch.domain.filters import RevisionState
from stopsearch.domain.licence import LICENCE
from stopsearch.flows.asked_export import AskedExport, ExportFormat
from stopsearch.flows.export_citation import citation_of
from stopsearch.flows.export_destination import CountedSink
from stopsearch.flows.export_parquet import ParquetWriter
from stopsearch.store.export_rows import ChunkRows, MonthRows, RowReader
from stopsearch.store.row_lines import RowText

Chunk = Sequence[MonthRows]
Read = Callable[[Chunk], ChunkRows]  # reads a chunk, by a connection that is lent for it
Progress = Callable[[int, int], None]  # how many force-months are written, and of how many

_TEXTS = {
    ExportFormat.CSV: RowText.CSV,
    ExportFormat.NDJSON: RowText.NDJSON,
    ExportFormat.GEOJSON: RowText.GEOJSON,
    ExportFormat.PARQUET: RowText.PLAIN_CSV,
}
SNAPPED = (
    "Locations are approximate: the publisher snaps each stop to the nearest of a list of map points. Stops without a "
    "location have no geometry."
)


@dataclass(frozen=True, kw_only=True)
class WrittenExport:
    """
    What an export came to.
    """

    rows: int
    bytes: int
    sha256: str  # of all its bytes, in hexadecimal


class ExportReader:
    """
    Reads the chunks of one export, and makes sure that each is whole.
    """

    def __init__(self, asked: AskedExport) -> None:
        self._asked = asked
        self._reader = RowReader(asked.columns, _TEXTS[asked.format], asked.filter)
        # Where whole force-months are asked for, the ledger knows how many stops each has.
        self._is_counted = asked.filter.is_of_months_only and asked.filter.revision_state is RevisionState.SERVED

    def read(self, connection: Connection, chunk: Chunk) -> ChunkRows:
        """
        Read one chunk of the export whole.

        Raises:
            StoreError: The rows of a force-month are not as many as its revision says.
        """
        found = self._reader.read(connection, chunk)
        if self._is_counted:
            for month, rows in zip(chunk, found.rows, strict=True):
                revision = month.revision
                if rows != revision.stored:
                    raise StoreError(
                        f"{revision.force} {revision.month} has {rows} stops, but its revision {revision.number} says "
                        f"{revision.stored}.",
                        remedy="The export is not whole. 'stopsearch doctor' says what is wrong with the database.",
                    )
        return found


class ExportText:
    """
    The text of one export: what stands before, between and after its rows.
    """

    def __init__(self, asked: AskedExport) -> None:
        self._asked = asked
        self._is_geojson = asked.format is ExportFormat.GEOJSON
        self._has_rows = False
        self._digest = hashlib.sha256()
        self._bytes = 0
        self.rows = 0

    def head(self) -> bytes:
        """
        Give what stands before the first row; for JSON lines that is nothing.
        """
        if self._asked.format is ExportFormat.CSV:
            return (",".join(self._asked.columns) + "\n").encode()
        return _collection_head(self._asked).encode() if self._is_geojson else b""

    def take(self, found: ChunkRows) -> list[bytes]:
        """
        Give the bytes of the next chunk.
        """
        pieces = found.pieces
        if self._is_geojson and not self._has_rows and pieces:
            pieces = [pieces[0][1:], *pieces[1:]]  # no comma before the first Feature
        self._has_rows = self._has_rows or bool(pieces)
        self.rows += sum(found.rows)
        return pieces

    def tail(self) -> bytes:
        """
        Give what stands after the last row.
        """
        return b"\n]}\n" if self._is_geojson else b""

    def digest(self, pieces: Sequence[bytes]) -> None:
        """
        Count and digest pieces, in their order; each piece must come here once.
        """
        for piece in pieces:
            self._digest.update(piece)
            self._bytes += len(piece)

    def written(self) -> WrittenExport:
        """
        Give what the export came to, once all of it has been digested.
        """
        return WrittenExport(rows=self.rows, bytes=self._bytes, sha256=self._digest.hexdigest())


def write_export(
    asked: AskedExport, *, read: Read, sink: CountedSink, progress: Progress | None = None
) -> WrittenExport:
    """
    Write an export into a sink, with one chunk in memory at a time; Parquet with some of them.

    Args:
        read: Reads a chunk, as `ExportReader` does with a connection.
    """
    done = 0

    def chunks() -> Iterator[ChunkRows]:
        nonlocal done
        for chunk in asked.chunks:
            yield read(chunk)
            done += len(chunk)
            if progress is not None:
                progress(done, len(asked.revisions))

    if asked.format is ExportFormat.PARQUET:
        rows = ParquetWriter(asked).write(chunks(), sink)
    else:
        text = ExportText(asked)
        sink.write(text.head())
        for found in chunks():
            for piece in text.take(found):
                sink.write(piece)
        sink.write(text.tail())
        rows = text.rows
    return WrittenExport(rows=rows, bytes=sink.count, sha256=sink.digest.hexdigest())


def _collection_head(asked: AskedExport) -> str:
    members = {
        "type": "FeatureCollection",
        "name": asked.file_name.removesuffix(f".{asked.format}"),
        "snapshot": asked.snapshot.id,
        "query": asked.query,
        "note": SNAPPED,
        "licence": LICENCE,
        "citation": citation_of(asked),
    }
    return json.dumps(members, ensure_ascii=False, separators=(",", ":"))[:-1] + ',"features":['
