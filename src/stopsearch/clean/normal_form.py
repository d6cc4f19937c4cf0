"""
The lexical normal form of source records: one way of writing for what the two shapes write in several.

It changes no meaning: it is what identity version 1 reads, so it is frozen by golden vectors in the tests.
"""

from __future__ import annotations

import polars as pl

from stopsearch.clean.source_records import UNREADABLE_TEXT
from stopsearch.domain.stops import FIELDS

_SECONDS = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\+00:00$"
_WITH_ZONE = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}([.]\d{1,9})?)?(Z|[+-]\d{2}:?\d{2})$"
_SIX_DECIMALS = r"^-?\d{1,3}\.\d{6}$"
_NUMBER = r"^[+-]?\d{1,3}([.]\d{1,20})?$"
_INSTANT = "%Y-%m-%dT%H:%M:%S%.6fZ"


def normal_form(source: pl.DataFrame) -> pl.DataFrame:
    """
    Write the 15 fields of source records in one way.

    Instants become UTC with microseconds (`2023-07-31T15:37:00.000000Z`), coordinates six-decimal text; booleans
    and labels stay as the archive writes them; no value is null. A value that can't be read stays as it is: the
    contract rejects it, and its identity is that of what the publisher wrote. The text of unreadable records, where
    there are any, is carried along as it is.
    """
    carried = [UNREADABLE_TEXT] if UNREADABLE_TEXT in source.columns else []
    return source.with_columns(
        _instants(source["datetime"]), _coordinates(source["latitude"]), _coordinates(source["longitude"])
    ).select("record_number", *FIELDS, *carried)


def _instants(column: pl.Series) -> pl.Series:
    # 99.5 % of rows measured are whole seconds at +00:00; the others are Cumbria's microseconds.
    is_plain = column.str.contains(_SECONDS).fill_null(True)
    plain = column.str.head(19) + ".000000Z"
    return plain if is_plain.all() else plain.zip_with(is_plain, _odd_instants(column, column.filter(~is_plain)))


def _odd_instants(column: pl.Series, odd: pl.Series) -> pl.Series:
    """
    Write a column's instants in normal form where they stand among `odd`, each written value by itself.
    """
    written = odd.unique()
    # Polars reads no lone minutes and no "Z" in one format with offsets, so the few odd ones are brought to one.
    spelled = (
        written.set(~written.str.contains(_WITH_ZONE), None)
        .str.replace(" ", "T", literal=True)
        .str.replace(r"Z$", "+00:00")
        .str.replace(r"([+-]\d{2})(\d{2})$", "${1}:${2}")
        .str.replace(r"(T\d{2}:\d{2})([+-])", "${1}:00${2}")
    )
    instants = spelled.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", time_unit="us", time_zone="UTC", strict=False)
    read = pl.DataFrame({"written": written, "normal": instants.dt.strftime(_INSTANT)}).drop_nulls()
    return column.replace(read["written"], read["normal"])


def _coordinates(column: pl.Series) -> pl.Series:
    if column.str.contains(_SIX_DECIMALS).all(ignore_nulls=True):
        return column
    is_number = column.str.contains(_NUMBER)
    values = {text: f"{float(text):.6f}" for text in column.filter(is_number).unique().to_list()}
    return column.replace(values) if values else column
