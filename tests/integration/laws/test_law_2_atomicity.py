"""
Law 2, atomicity: a reader sees a force-month wholly at one revision or wholly at the next.
"""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest

from builders.archives import csv_of, csv_rows, sample_month
from builders.ingests import bring_in, bring_one_in, edition
from builders.standin import make_api_record
from builders.store_state import breaches_of, content_of
from stopsearch.domain.errors import StoreUnavailable
from stopsearch.flows import bring_in as bring_in_flow
from stopsearch.store.database import Database

pytestmark = pytest.mark.integration

# All that a reader can ask of a force-month, each as a statement of its own, in one snapshot.
_QUESTIONS = (
    """
    SELECT revision.number, stored, rejected FROM month_release AS release JOIN revision USING (force_code, month)
    WHERE revision.number = release.current_revision
    """,
    "SELECT max(first_revision), count(*) FROM stop WHERE withdrawn_revision IS NULL",
    "SELECT sum(stops) FROM stop_count WHERE withdrawn_revision IS NULL",
    "SELECT count(*) FROM dead_letter WHERE state = 'open'",
    "SELECT count(*) FROM revision WHERE standing = 'served' AND served_until IS NULL",
    "SELECT revision, stored, rejected FROM ingest_run WHERE status = 'revised' ORDER BY id DESC LIMIT 1",
)


class Reader(threading.Thread):
    """
    Reads one force-month over and over, each time in a snapshot of its own.
    """

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._database = database
        self.stopping = threading.Event()
        self.seen: list[tuple[Any, ...]] = []

    def run(self) -> None:
        with self._database.connect() as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            while not self.stopping.is_set():
                with connection.transaction():
                    answers = [connection.execute(question).fetchone() for question in _QUESTIONS]
                self.seen.append(tuple(answers))


def test_law_2_atomicity_rows_rollup_letters_and_ledger_agree_in_every_snapshot(database: Database) -> None:
    force, month = "south-yorkshire", "2020-01"
    bodies = [sample_month(force, month, edition=name) for name in ("2020-02", "2021-11")]
    rows = csv_rows(bodies[1])
    for row in rows[:50]:
        row["Gender"] = "No such label"
    bodies.append(csv_of(rows))
    stored = [2052, 2174, 2124]
    years = iter(range(2021, 2999))
    bring_one_in(database, edition(bodies[2], force=force, month=month, published="2020-06"))
    reader = Reader(database)
    reader.start()

    for body in bodies * 7:
        published = f"{next(years)}-01"
        assert bring_one_in(database, edition(body, force=force, month=month, published=published)).status == "revised"

    reader.stopping.set()
    reader.join()
    assert len({answers[0][0] for answers in reader.seen}) > 10, "it did not read while it was written"
    for current, of_rows, of_rollup, of_letters, of_revisions, of_ledger in reader.seen:
        number, count, rejected = current
        assert count == stored[(number - 2) % 3]
        newest, rows_seen = of_rows
        assert (newest <= number, rows_seen) == (True, count)
        assert of_rollup == (count,)
        assert of_letters == (rejected,)
        assert of_revisions == (1,)
        assert of_ledger == (number, count, rejected)
    assert breaches_of(database) == {}


# The last statements of the transaction that makes a revision, each failing in its turn.
@pytest.mark.parametrize("table", ["published_body", "revision", "stop", "stop_count", "dead_letter", "ingest_run"])
def test_law_2_atomicity_a_failure_at_any_table_leaves_the_last_revision(database: Database, table: str) -> None:
    bring_one_in(database, edition([make_api_record(), make_api_record(gender="?")]))
    before = content_of(database)
    ending = "WHEN (NEW.status = 'revised')" if table == "ingest_run" else ""
    with database.connect(autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'on order'; END $$"
        )
        connection.execute(
            f"CREATE TRIGGER fail BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW {ending} EXECUTE FUNCTION fail()"
        )

    outcome = bring_one_in(database, edition([make_api_record(gender="Female"), make_api_record(gender="??")]))

    assert outcome.status == "failed"
    assert outcome.error_text is not None
    assert "on order" in outcome.error_text
    with database.connect(autocommit=True) as connection:
        connection.execute("DROP FUNCTION fail CASCADE")
    after = content_of(database)
    assert after | {"published_body": None} == before | {"published_body": None}
    assert bring_one_in(database, edition([make_api_record(gender="Female")])).status == "revised"
    assert breaches_of(database) == {}


def test_law_2_atomicity_a_lost_connection_leaves_the_last_revision(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring_one_in(database, edition([make_api_record()]))
    before = content_of(database)
    finish_run = bring_in_flow.finish_run

    def lose(connection: psycopg.Connection[Any], *args: Any, **named: Any) -> None:
        with database.connect(autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s)", [connection.info.backend_pid])
        finish_run(connection, *args, **named)

    monkeypatch.setattr(bring_in_flow, "finish_run", lose)
    with pytest.raises(StoreUnavailable, match="went away"):
        bring_in(database, edition([make_api_record(gender="Female")]))

    monkeypatch.undo()
    after = content_of(database)
    assert {**after, "published_body": None} == {**before, "published_body": None}
    assert breaches_of(database) == {}
