"""
Read a stop-and-search member of an archive into source records; one ragged line never fails the month.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

import polars as pl

from stopsearch.clean.source_records import SOURCE_SCHEMA, SourceRecords, no_streets
from stopsearch.domain.errors import SourceShapeChanged
from stopsearch.domain.stops import ARCHIVE_COLUMNS


def decode_csv(body: bytes) -> SourceRecords:
    """
    Read the body of one archive member: a header line, then one line per stop; CRLF or LF.

    Returns:
        One row per line after the header, in the file's order. Blank lines are no records.

    Raises:
        SourceShapeChanged: There is no header, or a column of the archive's header is gone.
    """
    text = body.removeprefix(b"\xef\xbb\xbf")
    if b"\r" in text:
        # LF copies of CRLF files are otherwise identical (72 pairs measured), so the line end carries nothing.
        text = text.replace(b"\r\n", b"\n")
    header_line, _, lines = text.partition(b"\n")
    header = next(csv.reader([header_line.decode("utf-8", "backslashreplace")]), [])
    gone = [name for name in ARCHIVE_COLUMNS if name not in header]
    if gone:
        raise SourceShapeChanged(
            f"The file has no column {', '.join(repr(name) for name in gone)}.",
            remedy="The last revision stays. Check that it is a stop-and-search file of data.police.uk.",
        )
    extra = [name for name in header if name not in ARCHIVE_COLUMNS]
    plain = _read_plain(text, lines, header) if len(set(header)) == len(header) else None
    frame, unreadable = (plain, {}) if plain is not None else _read_odd(lines, header)
    return SourceRecords(
        frame=frame,
        unreadable=unreadable,
        mended={},
        extra_keys=dict.fromkeys(extra, frame.height),
        streets=no_streets(),
        raw=lambda numbers: _raw(lines, header, numbers),
    )


def _read_plain(text: bytes, lines: bytes, header: list[str]) -> pl.DataFrame | None:
    """
    Read a file without quotes and ragged lines, which every one of the 1,528 files measured is; else give None.
    """
    count = lines.count(b"\n") + (1 if lines and not lines.endswith(b"\n") else 0)
    if b'"' in lines or b"\r" in lines or b"\0" in lines or lines.count(b",") != count * (len(header) - 1):
        return None
    if not lines:
        return pl.DataFrame(schema=SOURCE_SCHEMA)
    try:
        read = pl.read_csv(text, has_header=True, infer_schema=False, quote_char=None, raise_if_empty=False)
    except pl.exceptions.ComputeError:
        return None  # a ragged line or a byte that is no UTF-8: told apart line by line
    if read.height != count:
        return None
    return _as_source(read.rename(ARCHIVE_COLUMNS).select(ARCHIVE_COLUMNS.values()))


def _as_source(read: pl.DataFrame) -> pl.DataFrame:
    return read.with_row_index("record_number", offset=1).select(
        pl.col("record_number").cast(pl.UInt32), *_blank_is_null(read.columns)
    )


def _blank_is_null(columns: Sequence[str]) -> list[pl.Expr]:
    return [pl.when(pl.col(name) != "").then(pl.col(name)).alias(name) for name in columns]


def _lines_of(lines: bytes) -> list[list[str]]:
    # surrogateescape keeps a byte that is no UTF-8 as it was, so that it can be shown with its record.
    text = io.StringIO(lines.decode("utf-8", "surrogateescape"), newline="")
    return [row for row in csv.reader(text) if row]


def _read_odd(lines: bytes, header: list[str]) -> tuple[pl.DataFrame, dict[int, str]]:
    place = {ARCHIVE_COLUMNS[name]: header.index(name) for name in ARCHIVE_COLUMNS}
    unreadable: dict[int, str] = {}
    rows: list[list[str | None]] = []
    for number, row in enumerate(_lines_of(lines), start=1):
        if len(row) != len(header):
            unreadable[number] = "wrong_column_count"
        elif any("\udc80" <= character <= "\udcff" for value in row for character in value):
            unreadable[number] = "not_utf8"
        if number in unreadable:
            rows.append([None] * len(place))
        else:
            rows.append([row[at] or None for at in place.values()])
    columns = dict(zip(place, zip(*rows, strict=True), strict=True)) if rows else dict.fromkeys(place, ())
    frame = pl.DataFrame({"record_number": range(1, len(rows) + 1), **columns}, schema=SOURCE_SCHEMA, orient="col")
    return frame, unreadable


def _raw(lines: bytes, header: list[str], numbers: Sequence[int]) -> list[str]:
    rows = _lines_of(lines)
    return [_as_json(rows[number - 1], header) for number in numbers]


def _as_json(row: list[str], header: list[str]) -> str:
    values = [value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") for value in row]
    if len(values) == len(header):
        return json.dumps(dict(zip(header, values, strict=True)), ensure_ascii=False)
    return json.dumps(values, ensure_ascii=False)
