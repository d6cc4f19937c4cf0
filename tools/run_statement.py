"""
Run SQL on the database that the settings name, embedded or outside, and show what it answers as a table.

Run as `python tools/run_statement.py "SELECT …"`. What it changes is kept when all of it went well.
"""

from __future__ import annotations

import sys
from typing import Any

import psycopg

from stopsearch.cli.exit_codes import INTERRUPTED
from stopsearch.cli.failures import tell_failure
from stopsearch.cli.opening import begin, opened
from stopsearch.cli.terminal import Align, safe, table
from stopsearch.domain.errors import StopSearchError

_REFUSED = 2


def main(command: str) -> int:
    """
    Run one statement, or several with semicolons between, in one transaction.

    Returns:
        0, or the exit code that `stopsearch` has for what went wrong; 2 where PostgreSQL refused the SQL.
    """
    try:
        with opened(begin()) as database, database.connect() as connection:
            answer: psycopg.Cursor[Any] | None = connection.execute(command.encode())
            while answer is not None:
                _show(answer)
                answer = answer if answer.nextset() else None
    except StopSearchError as error:
        return tell_failure(error, debug=False)
    except psycopg.Error as error:
        sys.stderr.write(f"error: PostgreSQL says: {str(error).strip()}\n")
        return _REFUSED
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _show(answer: psycopg.Cursor[Any]) -> None:
    if answer.description is None:
        sys.stderr.write(f"{answer.statusmessage}\n")
        return
    rows = answer.fetchall()
    aligned: list[Align] = [
        "right" if all(isinstance(row[place], int | float) for row in rows) else "left"
        for place in range(len(answer.description))
    ]
    columns = [(column.name, align) for column, align in zip(answer.description, aligned, strict=True)]
    table(columns, [[safe(_said(value)) for value in row] for row in rows])
    sys.stderr.write(f"({len(rows)} row{'' if len(rows) == 1 else 's'})\n")


def _said(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    # What a value holds must not steer the terminal, nor break the table's lines.
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in str(value))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
