"""
The rival for pages: datasette 0.65.5 on a SQLite file of the same stops, with an index in the order of the page.

It is asked for the same columns and the same page, as an array, without its count and its facets.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlencode

from datasette.utils import tilde_encode
from psycopg import sql

from bench.databases import database_at
from stopsearch.store.stop_query import Position

_BATCH = 50_000
# As the API names and writes them; what it works out from other columns is worked out here beforehand.
_COLUMNS = """
    id::text, force, month, type,
    to_char(datetime AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"') AS datetime,
    local_date::text, operation, operation_name, latitude, longitude, gender, age_range,
    self_defined_ethnicity, self_defined_ethnic_group, officer_defined_ethnicity, officer_defined_ethnic_group,
    legislation, object_of_search, outcome, outcome_group, outcome_linked_to_object_of_search,
    removal_of_more_than_outer_clothing, is_far_from_force, false AS is_month_doubled, false AS is_month_date_only
"""


def write_sqlite(conninfo: str, path: Path) -> Path:
    """
    Write the stops of a database to a SQLite file, where it is not there yet.
    """
    if path.exists():
        return path
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    target = sqlite3.connect(partial)
    target.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")
    with database_at(conninfo).connect() as connection, connection.cursor(name="stops") as cursor:
        cursor.itersize = _BATCH
        cursor.execute(
            sql.SQL("SELECT {} FROM stop_in_words WHERE withdrawn_revision IS NULL").format(sql.SQL(_COLUMNS))
        )
        for rows in _batches(cursor):
            if cursor.rownumber == len(rows):
                names = [column.name for column in cursor.description or ()]
                target.execute(f"CREATE TABLE stop ({', '.join(names)}, PRIMARY KEY (id))")
            target.executemany(f"INSERT INTO stop VALUES ({', '.join('?' * len(rows[0]))})", rows)
    target.execute("CREATE INDEX stop_datetime_id ON stop (datetime DESC, id)")
    target.execute("ANALYZE")
    target.commit()
    target.close()
    return partial.rename(path)


def _batches(cursor: object) -> Iterator[list[tuple[object, ...]]]:
    while rows := cursor.fetchmany(_BATCH):  # type: ignore[attr-defined]  # a cursor of psycopg
        yield rows


def command(path: Path, port: int) -> list[str]:
    """
    Give the command that serves the file.
    """
    return [
        *(sys.executable, "-m", "datasette", "serve", "--immutable", str(path), "--port", str(port)),
        *("--setting", "default_cache_ttl", "0", "--setting", "sql_time_limit_ms", "20000"),
    ]


def page_paths(positions: Sequence[Position]) -> list[str]:
    """
    Give the paths that ask for the pages after some stops, newest first.
    """
    fixed = {"_size": "100", "_sort_desc": "datetime", "_shape": "array", "_nocount": "1", "_nofacet": "1"}
    paths = []
    for position in positions:
        at = position.at.strftime("%Y-%m-%dT%H:%M:%S.%f+00:00")
        after = f"{tilde_encode(at)},{tilde_encode(str(position.id))}"
        paths.append(f"/stops/stop.json?{urlencode({**fixed, '_next': after})}")
    return paths
