"""
Chunks of an export: what one statement reads, how, and that it is written as the server would write it.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from psycopg import sql

from builders.ingests import bring_in, edition, ingest_archives
from builders.source_bodies import api_record, json_body
from stopsearch.clean.identity import id_prefix
from stopsearch.domain.months import Month
from stopsearch.flows.plan import Wanted
from stopsearch.sample import sample_archives
from stopsearch.store.as_of import ServedRevision, id_range, served_revisions
from stopsearch.store.database import Database, outside_database
from stopsearch.store.export_rows import CHUNK_STOPS, COLUMNS, MonthRows, RowReader, chunks_of
from stopsearch.store.row_lines import RowText, _written

pytestmark = pytest.mark.integration

# Every text of the sample's labels, and names that CSV, JSON or a spreadsheet might stumble over.
NAMES = (
    "=1+1",
    '"quoted" first',
    'a "b", c',
    "line\nfeed",
    "\\.",
    "tab\there",
    "Ünïcödé 😀",
    "'",
    ";",
    "%s %(a)s",
    "\\n",
    "-",
    "null",
)


@pytest.fixture(scope="module")
def held(postgres_server: Any, migrated_template: str, database_names: Iterator[str]) -> Iterator[Database]:
    """
    A database with small and large months of some forces; no test writes to it.
    """
    name = next(database_names)
    database = outside_database(postgres_server.create(name, template=migrated_template))
    ingest_archives(database, *sample_archives(), wanted=Wanted(forces=("durham", "cumbria", "cambridgeshire")))
    yield database
    database.close()
    postgres_server.drop(name)


def months_of(database: Database) -> list[MonthRows]:
    with database.connect(autocommit=True) as connection:
        return [month_rows(revision) for revision in served_revisions(connection)]


def month_rows(revision: ServedRevision) -> MonthRows:
    low, high = id_range(id_prefix(revision.force, revision.month))
    return MonthRows(revision=revision, low=low, high=high)


def revision(force_code: int, month: Month, stored: int) -> ServedRevision:
    return ServedRevision(
        force=f"force-{force_code}",
        force_code=force_code,
        month=month,
        number=1,
        content_digest=bytes(32),
        rules_version=1,
        received=stored,
        stored=stored,
        rejected=0,
        is_restated=False,
        is_doubled=False,
        is_date_only=False,
        served_from=datetime(2020, 1, 1, tzinfo=UTC),
        first_datetime=None,
        last_datetime=None,
        first_number=1,
    )


def read_all(database: Database, text: RowText, stops: int = CHUNK_STOPS) -> bytes:
    reader = RowReader(COLUMNS, text)
    with database.connect(autocommit=True) as connection:
        found = [reader.read(connection, chunk) for chunk in chunks_of(months_of(database), stops=stops)]
    return b"".join(piece for chunk in found for piece in chunk.pieces)


def test_chunks_hold_a_force_each_and_no_more_stops_than_they_may() -> None:
    sizes = [(1, 5), (1, 6), (1, 0), (1, 30), (1, 2), (2, 3), (2, 9)]
    months = [month_rows(revision(force, Month(2020, 1 + place), size)) for place, (force, size) in enumerate(sizes)]
    chunks = list(chunks_of(months, stops=10))
    assert [month for chunk in chunks for month in chunk] == months
    told = [[(month.revision.force_code, month.revision.stored) for month in chunk] for chunk in chunks]
    assert told == [[(1, 5)], [(1, 6), (1, 0)], [(1, 30)], [(1, 2)], [(2, 3)], [(2, 9)]]
    assert list(chunks_of([])) == []


@pytest.mark.parametrize("text", RowText)
def test_text_is_the_same_however_it_is_chunked(held: Database, text: RowText) -> None:
    assert read_all(held, text, stops=1) == read_all(held, text, stops=700) == read_all(held, text)


def test_lines_are_as_the_server_itself_writes_them(held: Database) -> None:
    """
    The view in words, written by the server's own CSV and JSON, says the same but for how instants are written.
    """
    names = [name for name in COLUMNS if name not in ("datetime", "is_month_doubled", "is_month_date_only")]
    words = sql.SQL(
        """
        SELECT {} FROM stop_in_words WHERE withdrawn_revision IS NULL
        ORDER BY force COLLATE "C", month, datetime, id
        """
    ).format(sql.SQL(", ").join(map(sql.Identifier, names)))
    with held.connect(autocommit=True) as connection, connection.cursor() as cursor:
        with cursor.copy(sql.SQL("COPY ({}) TO STDOUT (FORMAT csv, HEADER)").format(words)) as copy:
            cells = list(csv.DictReader(io.StringIO(b"".join(map(bytes, copy)).decode(), newline="")))
        objects = [row[0] for row in cursor.execute(sql.SQL("SELECT row_to_json(w) FROM ({}) AS w").format(words))]
    rows = list(csv.DictReader(io.StringIO(read_all(held, RowText.CSV).decode(), newline=""), fieldnames=COLUMNS))
    booleans = {"t": "true", "f": "false"}
    expected = [
        {
            name: f"{float(value):.6f}" if name in ("latitude", "longitude") and value else booleans.get(value, value)
            for name, value in row.items()
        }
        for row in cells
    ]
    assert [{name: row[name] for name in names} for row in rows] == expected
    lines = [json.loads(line) for line in read_all(held, RowText.NDJSON).splitlines()]
    assert [{name: line[name] for name in names} for line in lines] == objects


@pytest.mark.parametrize("name", NAMES)
def test_any_text_of_the_publisher_comes_through(database: Database, name: str) -> None:
    bring_in(database, edition(json_body(api_record(operation_name=name)), month="2023-07"))
    [row] = csv.DictReader(io.StringIO(read_all(database, RowText.PLAIN_CSV).decode(), newline=""), fieldnames=COLUMNS)
    assert row["operation_name"] == name
    [row] = csv.DictReader(io.StringIO(read_all(database, RowText.CSV).decode(), newline=""), fieldnames=COLUMNS)
    assert row["operation_name"] == ("'" + name if name[0] in "=+-@\t\r" else name)
    assert json.loads(read_all(database, RowText.NDJSON))["operation_name"] == name
    assert json.loads(read_all(database, RowText.GEOJSON)[1:])["properties"]["operation_name"] == name


def test_instants_have_six_decimals_or_none(database: Database) -> None:
    times = ("10:00:00", "10:00:00.5", "10:00:00.000001", "23:59:59.999999")
    records = [api_record(datetime=f"2023-07-02T{time}+00:00") for time in times]
    bring_in(database, edition(json_body(*records), month="2023-07"))
    told = [json.loads(line)["datetime"] for line in read_all(database, RowText.NDJSON).splitlines()]
    assert told == [
        "2023-07-02T10:00:00+00:00",
        "2023-07-02T10:00:00.000001+00:00",
        "2023-07-02T10:00:00.500000+00:00",
        "2023-07-02T23:59:59.999999+00:00",
    ]


def test_each_month_is_one_range_of_the_index_of_ids(held: Database) -> None:
    """
    By force code and id the planner would go through all stops of the force, for each of its months: not even where
    nothing else is left may it do that.
    """
    reader = RowReader(COLUMNS, RowText.CSV)
    months = [month for month in months_of(held) if month.revision.force == "cambridgeshire"]
    with held.connect() as connection:
        connection.execute("ANALYZE stop")
        connection.execute("SET LOCAL enable_seqscan = off")
        statement = reader.statement(connection, months).as_string(connection)
        select = statement[statement.index("(") + 1 : statement.rindex(") TO STDOUT")]
        with_it = [row[0] for row in connection.execute(f"EXPLAIN {select}")]
        connection.execute("DROP INDEX uq_stop_id_withdrawn_revision")
        without = [row[0] for row in connection.execute(f"EXPLAIN {select}")]
        connection.rollback()
    assert any("uq_stop_id_withdrawn_revision" in line for line in with_it)
    assert not any("Index Cond" in line and "force_code" in line for line in with_it + without)


@pytest.mark.parametrize("text", RowText)
def test_text_depends_on_no_preference_of_the_connection(held: Database, text: RowText) -> None:
    reader = RowReader(COLUMNS, text)
    [chunk, *_] = chunks_of(months_of(held))
    pieces = []
    for settings in (
        "SELECT 1",
        "SET DateStyle = 'SQL, DMY'; SET TimeZone = 'Asia/Tokyo'; SET extra_float_digits = -9",
    ):
        with held.connect(autocommit=True) as connection:
            connection.execute(settings)
            pieces.append(reader.read(connection, chunk).pieces)
            told = connection.execute("SHOW TimeZone").fetchone()
    assert told == ("Asia/Tokyo",)  # what was set for the export was set for it alone
    assert pieces[0] == pieces[1]


@pytest.mark.parametrize("word", ["a, b", 'a "b"', "a\nb", "a\rb", "plain", ""])
def test_label_that_is_yet_to_come_would_be_quoted(word: str) -> None:
    """
    No label of today needs it.
    """
    assert next(csv.reader(io.StringIO(_written(word, RowText.CSV) + ",x", newline=""))) == [word, "x"]
    assert json.loads(_written(word, RowText.NDJSON)) == word
