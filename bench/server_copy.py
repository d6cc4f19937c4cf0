"""
The rival that does nothing but write: the server's own COPY of the finished rows from a file.

Same table, same indexes, same constraints, same order of rows; one file, one COPY and one transaction a month. It
decodes, cleans and checks nothing, keeps no body, no rollup and no ledger.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from psycopg import sql

from bench.case import measured
from bench.databases import column_names, database_at

FORMATS = ("csv", "binary")


def write_finished_rows(*, conninfo: str, data_dir: str) -> dict[str, list[str]]:
    """
    Write the rows of a loaded database into files that the server can read, and empty the table.

    The files lie in the server's own folder, which is its working folder: so it needs no right on any other.

    Returns:
        The files' names as the server is to be told them, by format.
    """
    files: dict[str, list[str]] = {name: [] for name in FORMATS}
    with database_at(conninfo).connect(autocommit=True) as connection:
        names = sql.SQL(", ").join(map(sql.Identifier, column_names(connection, "stop")))
        months = connection.execute(
            "SELECT force_code, month FROM stop GROUP BY 1, 2 HAVING count(*) > 1000 ORDER BY 1, 2"
        ).fetchall()
        for number, (force_code, month) in enumerate(months):
            for format_ in FORMATS:
                name = f"bench-{number:02d}.{format_}"
                rows = sql.SQL("SELECT {} FROM stop WHERE force_code = {} AND month = {} ORDER BY ctid").format(
                    names, sql.Literal(force_code), sql.Literal(month)
                )
                query = sql.SQL("COPY ({}) TO STDOUT (FORMAT {})").format(rows, sql.SQL(format_))
                path = Path(data_dir) / "postgres" / name
                with path.open("wb") as file, connection.cursor() as cursor, cursor.copy(query) as copy:
                    for data in copy:
                        file.write(data)
                os.chmod(path, 0o644)
                files[format_].append(name)
        connection.execute("TRUNCATE stop, stop_count, stop_total")
        connection.execute("VACUUM ANALYZE")
    return files


def copy_in(*, conninfo: str, files: list[str], format_: str) -> dict[str, Any]:
    """
    Case: have the server read the files.
    """
    with database_at(conninfo).connect(autocommit=True) as connection:
        names = sql.SQL(", ").join(map(sql.Identifier, column_names(connection, "stop")))
        with measured(connection) as took:
            for name in files:
                connection.execute(
                    sql.SQL("COPY stop ({}) FROM {} (FORMAT {})").format(names, sql.Literal(name), sql.SQL(format_))
                )
        row = connection.execute("SELECT count(*) FROM stop").fetchone()
    assert row is not None
    return {**took, "rows": row[0]}
