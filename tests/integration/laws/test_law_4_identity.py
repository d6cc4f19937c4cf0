"""
Law 4, identity: a stop's id is made from what was published, and is the same on any machine, in any order, for ever.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from builders.archives import csv_of, csv_rows, sample_month
from builders.ingests import bring_in, bring_one_in, edition
from builders.standin import make_api_record, make_csv
from stopsearch.store.database import Database

pytestmark = pytest.mark.integration

# Golden: the ids of these records, as the database gives them out. They are cited by others: never change them.
GOLDEN_RECORDS = [make_api_record(), make_api_record(), make_api_record(outcome=False, location=None, operation=True)]
GOLDEN_IDS = (
    "5edaec91-476d-8796-bed3-6323c35bc90d",
    "5edaec91-d6f5-8297-9b19-f3ab14609545",
    "5edaec91-fd95-83f5-b0d7-e4eea4edddc2",
)
# Golden: of all ids of a real month, sorted.
GOLDEN_MONTH = ("cumbria", "2019-03", "af42497dbd780db9846a808a7071139ae998afc633b64355573335791d39466e")


def ids_in(database: Database) -> list[str]:
    with database.connect() as connection:
        return [str(row[0]) for row in connection.execute("SELECT id FROM stop ORDER BY record_number")]


def digest_of_ids(database: Database) -> str:
    return hashlib.sha256("\n".join(sorted(ids_in(database))).encode()).hexdigest()


def id_as_written_down(force: str, month: str, row: dict[str, str], ordinal: int) -> UUID:
    """
    Make an id as the decision record tells it, from a row of a file whose values are in normal form.
    """
    values = list(row.values())
    values[1] = values[1].replace("+00:00", "Z") if "." in values[1] else values[1].replace("+00:00", ".000000Z")
    digest = hashlib.sha256("\x1f".join([force, month, *values, str(ordinal)]).encode()).digest()
    months = int(month[:4]) * 12 + int(month[5:]) - 1
    made = bytearray(months.to_bytes(2, "big") + hashlib.sha256(force.encode()).digest()[:2] + digest[:12])
    made[6] = made[6] & 0x0F | 0x80
    made[8] = made[8] & 0x3F | 0x80
    return UUID(bytes=bytes(made))


def test_law_4_identity_golden_ids(database: Database) -> None:
    bring_one_in(database, edition(GOLDEN_RECORDS))

    assert tuple(ids_in(database)) == GOLDEN_IDS


def test_law_4_identity_golden_month(database: Database) -> None:
    force, month, golden = GOLDEN_MONTH
    bring_one_in(database, edition(sample_month(force, month), force=force, month=month))

    assert digest_of_ids(database) == golden


def test_law_4_identity_is_what_the_decision_record_says(database: Database) -> None:
    force, month = "cambridgeshire", "2019-01"  # each of its lines occurs more than once
    rows = csv_rows(sample_month(force, month))
    met: Counter[str] = Counter()
    expected = []
    for row in rows:
        text = ",".join(row.values())
        expected.append(str(id_as_written_down(force, month, row, met[text])))
        met[text] += 1
    assert max(met.values()) > 1

    bring_one_in(database, edition(sample_month(force, month), force=force, month=month))

    assert ids_in(database) == expected


def test_law_4_identity_is_the_same_in_either_shape_and_any_order(database: Database) -> None:
    records: list[Any] = [*GOLDEN_RECORDS, make_api_record(gender=None, location=None)]
    records[2] = make_api_record(outcome="", location=None)
    bring_one_in(database, edition(records))
    as_answer = sorted(ids_in(database))
    with database.connect(autocommit=True) as connection:
        connection.execute("TRUNCATE stop, stop_count, dead_letter, revision, month_release CASCADE")

    bring_one_in(database, edition(make_csv(list(reversed(records)))))

    assert sorted(ids_in(database)) == as_answer


def test_law_4_identity_differs_by_force_and_month(database: Database) -> None:
    places = [("durham", "2023-07"), ("durham", "2023-08"), ("kent", "2023-07")]
    bring_in(database, *(edition([make_api_record()], force=force, month=month) for force, month in places))

    assert len(set(ids_in(database))) == 3


def test_law_4_identity_stays_with_a_stop_that_goes_and_comes_back(database: Database) -> None:
    rows = csv_rows(sample_month("durham", "2019-01"))
    for published, some in (("2019-03", rows), ("2019-04", rows[1:]), ("2019-05", rows)):
        bring_one_in(database, edition(csv_of(some), month="2019-01", published=published))

    with database.connect() as connection:
        lives = connection.execute(
            """
            SELECT id, array_agg(ARRAY[first_revision, withdrawn_revision] ORDER BY first_revision) FROM stop
            GROUP BY id HAVING count(*) > 1
            """
        ).fetchall()
    assert [life[1] for life in lives] == [[[1, 2], [3, None]]]


@pytest.mark.parametrize(
    "machine",
    [
        {"TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "1"},
        {"TZ": "America/St_Johns", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "2", "POLARS_MAX_THREADS": "1"},
    ],
    ids=["Tokyo", "St John's"],
)
def test_law_4_identity_is_the_same_on_another_machine(database_url: str, database: Database, machine: Any) -> None:
    force, month, golden = GOLDEN_MONTH
    script = (
        "import sys; from builders.ingests import *; from builders.archives import *; "
        "from stopsearch.store.database import outside_database; "
        f"bring_one_in(outside_database(sys.argv[1]), edition(sample_month('{force}', '{month}'), "
        f"force='{force}', month='{month}'))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **machine}
    subprocess.run([sys.executable, "-c", script, database_url], env=environment, check=True, capture_output=True)

    assert digest_of_ids(database) == golden
    with database.connect() as connection:
        first = connection.execute("SELECT min(datetime)::text, min(local_date)::text FROM stop").fetchone()
    written = min(row["Date"] for row in csv_rows(sample_month(force, month)))
    assert first == (written.replace("T", " ").replace("+00:00", "+00"), written[:10])
