"""
The streets of the publisher's map points, which only the API tells.
"""

from __future__ import annotations

import polars as pl
from psycopg import Connection

from stopsearch.domain.months import Month


def keep_streets(connection: Connection, month: Month, streets: pl.DataFrame) -> None:
    """
    Keep the streets that are new. They are facts of the map, outside every revision.

    Ids are written in their order, so that two transactions that meet wait for each other and never deadlock.
    """
    if streets.is_empty():
        return
    ordered = streets.sort("street_id").with_columns(pl.col("latitude", "longitude").cast(pl.Float64, strict=False))
    known = ordered.drop_nulls()
    connection.execute(
        """
        INSERT INTO street (id, name, latitude, longitude, month)
        SELECT fresh.*, %(month)s
        FROM unnest(%(ids)s::integer[], %(names)s::text[], %(latitudes)s::float8[], %(longitudes)s::float8[])
            AS fresh (id, name, latitude, longitude)
        WHERE NOT EXISTS (SELECT FROM street WHERE street.id = fresh.id)
        ON CONFLICT (id) DO NOTHING
        """,
        {
            "month": month.first_day,
            "ids": known["street_id"].to_list(),
            "names": known["name"].to_list(),
            "latitudes": known["latitude"].to_list(),
            "longitudes": known["longitude"].to_list(),
        },
    )
