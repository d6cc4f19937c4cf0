"""
The streets of the publisher's map points, which only the API tells.
"""

from __future__ import annotations

import polars as pl
from psycopg import Connection

from stopsearch.domain.months import Month


class StreetBook:
    """
    Keeps streets, and remembers which are kept: most of a month's points were met in the month before.

    Not for use by two threads at once.
    """

    def __init__(self) -> None:
        self._known: set[int] = set()

    def keep(self, connection: Connection, month: Month, streets: pl.DataFrame) -> None:
        """
        Keep the streets that are new. They are facts of the map, outside every revision.

        Ids are written in their order, so that two transactions that meet wait for each other and never deadlock.
        """
        new = streets.filter(~pl.col("street_id").is_in(list(self._known))) if self._known else streets
        if new.is_empty():
            return
        rows = (
            new.with_columns(pl.col("latitude", "longitude").cast(pl.Float64, strict=False))
            .drop_nulls()
            .filter(pl.col("latitude").is_finite() & pl.col("longitude").is_finite())
            .sort("street_id")
        )
        connection.execute(
            """
            CREATE TEMP TABLE IF NOT EXISTS staged_street
                (id integer, name text, latitude float8, longitude float8) ON COMMIT DELETE ROWS
            """
        )
        with (
            connection.cursor() as cursor,
            cursor.copy("COPY staged_street (id, name, latitude, longitude) FROM STDIN (FORMAT csv)") as copy,
        ):
            copy.write(rows.write_csv(include_header=False, quote_style="non_numeric").encode())
        connection.execute(
            """
            INSERT INTO street (id, name, latitude, longitude, month)
            SELECT staged.id, staged.name, staged.latitude, staged.longitude, %s FROM staged_street AS staged
            ORDER BY staged.id
            ON CONFLICT (id) DO NOTHING
            """,
            [month.first_day],
        )
        # Should the transaction fail after all, the streets are missing until another process meets them: they are
        # enrichment, and their body is kept.
        self._known.update(rows["street_id"].to_list())
