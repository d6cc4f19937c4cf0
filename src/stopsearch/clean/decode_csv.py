"""
Read a stop-and-search member of an archive into source records; one ragged line never fails the month.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence

import polars as pl

from stopsearch.clean.source_records import SOURCE_SCHEMA, SourceRecords, no_streets, with_unreadable
from stopsearch.domain.errors import SourceShapeChanged
from stopsearch.domain.stops import ARCHIVE_COLUMNS


def decode_csv(body: bytes) -> SourceRecords:
    """
    Read the body of one archive member: a header line, then one line per stop; CRLF or LF.

    The publisher writes no quotes (none in 1.17 million rows). A value in quotes may hold a comma, but no line end:
    a quote that is never closed would otherwise swallow the records after it.

    Returns:
        One row per line after the header, in the file's order, whatever it holds. Blank lines are no records.

    Raises:
        SourceShapeChanged: There is no header, or a column of the archive's header is gone.
    """
    text = body.removeprefix(b"\xef\xbb\xbf")
    if b"\r" in text:
        # LF copies of CRLF files are otherwise identical (72 pairs measured), so the line end carries nothing.
        text = text.replace(b"\r\n", b"\n")
    header_line, _, lines = text.partition(b"\n")
    header = _values_of(header_line.decode("utf-8", "backslashreplace")) or []
    gone = [name for name in ARCHIVE_COLUMNS if name not in header]
    if gone:
        raise SourceShapeChanged(
            f"The file has no column {', '.join(repr(name) for name in gone)}.",
            remedy="The last revision stays. Check that it is a stop-and-search file of data.police.uk.",
        )
    extra = [name for name in header if name not in ARCHIVE_COLUMNS]
    plain = _read_plain(text, lines, header) if len(set(header)) == len(header) else None
    frame, unreadable = (plain, {}) if plain is not None else _read_odd(lines, header)

    def raw(numbers: Sequence[int]) -> list[str]:
        return _raw(lines, header, numbers)

    return SourceRecords(
        frame=with_unreadable(frame, unreadable, raw),
        unreadable=unreadable,
        mended={},
        extra_keys=dict.fromkeys(extra, frame.height),
        streets=no_streets(),
        raw=raw,
    )


def _read_plain(text: bytes, lines: bytes, header: list[str]) -> pl.DataFrame | None:
    """
    Read a file without quotes and ragged lines, which every one of the 1,528 files measured is; else give None.
    """
    count = lines.count(b"\n") + (1 if lines and not lines.endswith(b"\n") else 0)
    if b'"' in text or b"\r" in text or b"\0" in text or lines.count(b",") != count * (len(header) - 1):
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


def _lines_of(lines: bytes) -> list[bytes]:
    return [line for line in lines.split(b"\n") if line.strip(b"\r")]


def _values_of(line: str) -> list[str] | None:
    """
    Give the values of one line, or None where its quotes don't fit.
    """
    if '"' not in line:
        return line.split(",")
    try:
        return next(csv.reader([line], strict=True))
    except csv.Error:
        return None


def _read_odd(lines: bytes, header: list[str]) -> tuple[pl.DataFrame, dict[int, str]]:
    place = {ARCHIVE_COLUMNS[name]: header.index(name) for name in ARCHIVE_COLUMNS}
    unreadable: dict[int, str] = {}
    rows: list[list[str | None]] = []
    for number, line in enumerate(_lines_of(lines), start=1):
        # surrogateescape stands for a byte that is no UTF-8, so that a line with one can be taken apart all the same.
        text = line.decode("utf-8", "surrogateescape")
        row = _values_of(text)
        if row is None:
            unreadable[number] = "bad_quote"
        elif len(row) != len(header):
            unreadable[number] = "wrong_column_count"
        elif any("\udc80" <= character <= "\udcff" for character in text):
            unreadable[number] = "not_utf8"
        else:
            rows.append([row[at] or None for at in place.values()])
            continue
        rows.append([None] * len(place))
    columns = dict(zip(place, zip(*rows, strict=True), strict=True)) if rows else dict.fromkeys(place, ())
    frame = pl.DataFrame({"record_number": range(1, len(rows) + 1), **columns}, schema=SOURCE_SCHEMA, orient="col")
    return frame, unreadable


def _raw(lines: bytes, header: list[str], numbers: Sequence[int]) -> list[str]:
    records = _lines_of(lines)
    return [_as_json(records[number - 1].decode("utf-8", "backslashreplace"), header) for number in numbers]


def _as_json(line: str, header: list[str]) -> str:
    """
    Give a line as JSON text: by its columns, as a list where their count is wrong, as it is where its quotes are.
    """
    values = _values_of(line)
    if values is None:
        return json.dumps(line, ensure_ascii=False)
    if len(values) == len(header):
        return json.dumps(dict(zip(header, values, strict=True)), ensure_ascii=False)
    return json.dumps(values, ensure_ascii=False)
