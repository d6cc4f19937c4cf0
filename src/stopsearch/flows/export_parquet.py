"""
Write an export as Parquet: chunks of text become frames, and frames row groups, a few at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import BinaryIO, cast

import polars as pl
from polars.io.plugins import register_io_source

from stopsearch.domain.licence import LICENCE
from stopsearch.domain.stop_columns import COLUMNS_BY_NAME, ColumnType
from stopsearch.flows.asked_export import AskedExport
from stopsearch.flows.export_destination import CountedSink
from stopsearch.store.export_rows import ChunkRows

# Rows that are made a frame at once, at least; a chunk is never parted.
_BATCH_ROWS = 50_000
_ROW_GROUP_ROWS = 100_000

_INSTANT = pl.Datetime("us", "UTC")
_TYPES: dict[ColumnType, pl.DataType] = {
    ColumnType.UUID: pl.String(),
    ColumnType.TEXT: pl.String(),
    ColumnType.MONTH: pl.String(),
    ColumnType.INSTANT: _INSTANT,
    ColumnType.DATE: pl.Date(),
    ColumnType.DEGREES: pl.Float64(),
    ColumnType.BOOLEAN: pl.Boolean(),
    ColumnType.INTEGER: pl.Int32(),
}


class ParquetWriter:
    """
    Writes one export as Parquet.
    """

    def __init__(self, asked: AskedExport) -> None:
        self._asked = asked
        self._schema = {name: _TYPES[COLUMNS_BY_NAME[name].type] for name in asked.columns}
        self._rows = 0

    def write(self, chunks: Iterable[ChunkRows], sink: CountedSink) -> int:
        """
        Write the rows of the chunks, and give how many they were. Frames are made when the writer asks for them.
        """
        frames = register_io_source(lambda *_: self._frames(chunks), schema=self._schema, validate_schema=True)
        try:
            frames.sink_parquet(
                cast(BinaryIO, sink),  # Polars only writes and flushes
                row_group_size=_ROW_GROUP_ROWS,
                metadata={
                    "stopsearch.snapshot": self._asked.snapshot.id,
                    "stopsearch.query": self._asked.query,
                    "licence": LICENCE["attribution"],
                },
                engine="streaming",
            )
        except (OSError, pl.exceptions.PolarsError):
            # Polars tells of a failed write by an error of its own: a closed pipe would pass for a fault of ours.
            if sink.failure is not None:
                raise sink.failure from None
            raise
        return self._rows

    def _frames(self, chunks: Iterable[ChunkRows]) -> Iterator[pl.DataFrame]:
        pieces: list[bytes] = []
        waiting = 0
        for found in chunks:
            pieces += found.pieces
            waiting += sum(found.rows)
            if waiting >= _BATCH_ROWS:
                yield self._frame(pieces)
                self._rows += waiting
                pieces, waiting = [], 0
        if waiting:
            yield self._frame(pieces)
            self._rows += waiting

    def _frame(self, pieces: list[bytes]) -> pl.DataFrame:
        text = {name: pl.String() if type == _INSTANT else type for name, type in self._schema.items()}
        frame = pl.read_csv(b"".join(pieces), has_header=False, schema=text)
        return frame.with_columns(
            pl.col("datetime").str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", time_unit="us", time_zone="UTC")
        )
