"""
Every force-month of the bundled sample, counted by the standard library alone, against what the database says.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from builders.archives import ForceMonth, csv_of, csv_rows, sample_members
from builders.ingests import bring_in, edition, ingest_archives
from builders.store_state import breaches_of
from stopsearch.sample import sample_answers, sample_archives, sample_folder
from stopsearch.store.database import Database, outside_database

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("sample")]

Row = dict[str, str]
Value = str | bool | date | None
LONDON = ZoneInfo("Europe/London")


def labels(column: str) -> Callable[[Row], Value]:
    return lambda row: row[column] or None


def truth(column: str) -> Callable[[Row], Value]:
    return lambda row: {"True": True, "False": False, "": None}[row[column]]


# What the rollup can tell apart, and what only the rows can: the file's column, and how its text is understood.
ROLLED_UP: dict[str, Callable[[Row], Value]] = {
    "type": labels("Type"),
    "gender": labels("Gender"),
    "age_range": labels("Age range"),
    "self_defined_ethnicity": labels("Self-defined ethnicity"),
    "officer_defined_ethnicity": labels("Officer-defined ethnicity"),
    "outcome": labels("Outcome"),
}
IN_ROWS: dict[str, Callable[[Row], Value]] = ROLLED_UP | {
    "legislation": labels("Legislation"),
    "object_of_search": labels("Object of search"),
    "operation": truth("Part of a policing operation"),
    "operation_name": labels("Policing operation"),
    "outcome_linked_to_object_of_search": truth("Outcome linked to object of search"),
    "removal_of_more_than_outer_clothing": truth("Removal of more than just outer clothing"),
    "local_date": lambda row: datetime.fromisoformat(row["Date"]).astimezone(LONDON).date(),
}


@pytest.fixture(scope="module")
def sample_database(postgres_server: Any, migrated_template: str, database_names: Iterator[str]) -> Iterator[Database]:
    """
    A database that both archives and both answers of the sample were brought into.
    """
    name = next(database_names)
    database = outside_database(postgres_server.create(name, template=migrated_template))
    ingest_archives(database, *sample_archives())
    for path in sample_answers():
        _, force, month = path.name.removesuffix(".json.gz").split("_")
        bring_in(database, edition(gzip.decompress(path.read_bytes()), force=force, month=month))
    yield database
    database.close()
    postgres_server.drop(name)


@pytest.fixture(scope="module")
def published() -> dict[ForceMonth, list[Row]]:
    """
    The rows of every force-month of the sample that an archive holds, of its latest edition.
    """
    return {key: csv_rows(body) for key, body in (sample_members("2020-02") | sample_members("2021-11")).items()}


def test_each_force_month_holds_as_many_stops_as_its_file_has_lines(sample_database: Database) -> None:
    with (sample_folder() / "MANIFEST.csv").open(newline="") as manifest:
        listed = [line for line in csv.DictReader(manifest) if line["rows"] and line["force"]]
    expected = {(line["edition"], line["force"], line["month"]): int(line["rows"]) for line in listed}

    with sample_database.connect() as connection:
        rows = connection.execute(
            """
            SELECT CASE WHEN source = 'api' THEN 'api' ELSE split_part(origin, '.zip', 1) END, force.id,
                to_char(month, 'YYYY-MM'), received, stored, rejected
            FROM revision JOIN force ON force.code = force_code
            """
        ).fetchall()
    assert {row[:3]: row[3:] for row in rows} == {key: (count, count, 0) for key, count in expected.items()}
    assert len(rows) == len(expected) > 220
    assert breaches_of(sample_database) == {}


@pytest.mark.parametrize("field", ROLLED_UP)
def test_rollup_totals_are_those_of_the_files(
    sample_database: Database, published: dict[ForceMonth, list[Row]], field: str
) -> None:
    expected = {key: Counter(map(ROLLED_UP[field], rows)) for key, rows in published.items()}

    with sample_database.connect() as connection:
        found = counted(
            connection.execute(
                f"""
                SELECT force.id, to_char(month, 'YYYY-MM'), vocabulary.label, sum(stops) FROM stop_count
                JOIN force ON force.code = force_code
                LEFT JOIN vocabulary ON vocabulary.field = '{field}' AND vocabulary.code = {field}_code
                WHERE withdrawn_revision IS NULL AND month < '2023-01-01' GROUP BY 1, 2, 3
                """
            )
        )
    assert found == expected


@pytest.mark.parametrize("field", IN_ROWS)
def test_the_rows_say_what_the_files_say(
    sample_database: Database, published: dict[ForceMonth, list[Row]], field: str
) -> None:
    expected = {key: Counter(map(IN_ROWS[field], rows)) for key, rows in published.items()}

    with sample_database.connect() as connection:
        found = counted(
            connection.execute(
                f"""
                SELECT force, month, {field}, count(*) FROM stop_in_words
                WHERE withdrawn_revision IS NULL AND month < '2023' GROUP BY 1, 2, 3
                """
            )
        )
    assert found == expected


def test_instants_and_points_are_those_of_the_files(
    sample_database: Database, published: dict[ForceMonth, list[Row]]
) -> None:
    def place(row: Row) -> tuple[float | None, float | None]:
        return (
            float(row["Latitude"]) if row["Latitude"] else None,
            float(row["Longitude"]) if row["Longitude"] else None,
        )

    expected = Counter(
        (*key, datetime.fromisoformat(row["Date"]), *place(row)) for key, rows in published.items() for row in rows
    )
    with sample_database.connect() as connection:
        rows = connection.execute(
            """
            SELECT force, month, datetime, latitude, longitude FROM stop_in_words
            WHERE withdrawn_revision IS NULL AND month < '2023'
            """
        )
        assert Counter(rows) == expected


@pytest.mark.parametrize("path", sample_answers(), ids=lambda path: path.name)
def test_the_answers_hold_as_many_of_each_outcome_as_the_json_says(sample_database: Database, path: Any) -> None:
    _, force, month = path.name.removesuffix(".json.gz").split("_")
    records = json.loads(gzip.decompress(path.read_bytes()))

    with sample_database.connect() as connection:
        outcomes = connection.execute(
            "SELECT outcome, count(*) FROM stop_in_words WHERE force = %s AND month = %s GROUP BY 1", [force, month]
        ).fetchall()
        located = connection.execute(
            "SELECT count(latitude), count(*) FROM stop_in_words WHERE force = %s AND month = %s", [force, month]
        ).fetchone()
    assert dict(outcomes) == Counter(record["outcome"] or None for record in records)
    assert located == (sum(record["location"] is not None for record in records), len(records))


# How archives of 2016 wrote what the later ones write: a part of the crosswalk, written down a second time here.
OLD_NAMES = {
    "A no further action disposal": "Nothing found - no further action",
    "Arrest": "Suspect arrested",
    "Khat or Cannabis warning": "Offender given drugs possession warning",
    "Penalty Notice for Disorder": "Offender given penalty notice",
    "Community resolution": "Local resolution",
    "Summons / charged by post": "Suspect summonsed to court",
    "Caution (simple or conditional)": "Offender cautioned",
    "White - English/Welsh/Scottish/Northern Irish/British": "White - White British (W1)",
    "White - Any other White background": "White - Any other White ethnic background (W9)",
    "Black/African/Caribbean/Black British - African": "Black or Black British - African (B2)",
    "Asian/Asian British - Chinese": "Chinese or other ethnic group - Chinese (O1)",
    "Other ethnic group - Not stated": "Not Stated (NS)",
}


def test_old_labels_are_counted_under_their_present_names(database: Database) -> None:
    rows = csv_rows(sample_members("2021-11")["btp", "2020-07"])
    fields = {"old_outcome": "Outcome", "old_ethnicity": "Self-defined ethnicity"}
    old = [row | {column: OLD_NAMES.get(row[column], row[column]) for column in fields.values()} for row in rows]

    [report] = bring_in(database, edition(csv_of(old), force="btp", month="2020-07"))

    assert (report.outcome.stored, report.outcome.rejected) == (len(rows), 0)
    assert report.outcome.mended == {
        rule: sum(row[column] in OLD_NAMES for row in rows) for rule, column in fields.items()
    }
    with database.connect() as connection:
        for field in ("outcome", "self_defined_ethnicity"):
            found = connection.execute(f"SELECT {field}, count(*) FROM stop_in_words GROUP BY 1").fetchall()
            assert dict(found) == Counter(map(ROLLED_UP[field], rows))


def counted(rows: Any) -> dict[ForceMonth, Counter[Value]]:
    found: dict[ForceMonth, Counter[Value]] = {}
    for force, month, value, count in rows:
        found.setdefault((force, month), Counter())[value] = int(count)
    return found
