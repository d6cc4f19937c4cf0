"""
The data dictionary holds against the database that the migrations build, and its queries run there.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stopsearch.store.database import Database

pytestmark = pytest.mark.integration

DICTIONARY = (Path(__file__).parents[3] / "docs" / "database.md").read_text()


def sections() -> dict[str, list[str]]:
    """
    Give the columns of each table and view, as the dictionary lists them.
    """
    parts = re.split(r"^### `(\w+)`$", DICTIONARY, flags=re.MULTILINE)[1:]
    return {
        name: re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE)
        for name, text in zip(parts[::2], parts[1::2], strict=True)
    }


def test_every_table_and_view_of_the_database_is_described(database: Database) -> None:
    with database.connect() as connection:
        found: dict[str, list[str]] = {}
        for table, column in connection.execute(
            """
            SELECT table_name, column_name FROM information_schema.columns
            WHERE table_schema = 'public' AND table_name <> 'alembic_version' ORDER BY table_name, ordinal_position
            """
        ):
            found.setdefault(table, []).append(column)

    assert {name: sorted(columns) for name, columns in sections().items()} == {
        name: sorted(columns) for name, columns in found.items()
    }


@pytest.mark.parametrize("query", re.findall(r"```sql\n(.*?)```", DICTIONARY, flags=re.DOTALL))
def test_its_queries_run(database: Database, query: str) -> None:
    with database.connect() as connection:
        assert connection.execute(query).fetchall() == []
