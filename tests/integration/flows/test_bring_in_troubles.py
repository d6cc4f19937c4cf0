"""
Trouble with the database while a run is stored: nobody's record is quoted, and no other run suffers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from psycopg.conninfo import make_conninfo
from structlog.testing import capture_logs

from builders.ingests import TRIGGER, bring_one_in, edition, settings_for
from builders.standin import make_api_record, running_standin
from builders.store_state import breaches_of, count_rows
from builders.worker_batches import RecordingDispatch, planned_by_worker
from stopsearch.domain.errors import StoreUnavailable
from stopsearch.domain.published import PublishedMonth
from stopsearch.domain.states import RunStatus
from stopsearch.flows import bring_in as bring_in_flow
from stopsearch.flows.batches import Batch
from stopsearch.flows.month_bringer import MonthBringer
from stopsearch.flows.runs import Job, RunReport
from stopsearch.store.batch_months import claim_month
from stopsearch.store.database import Database

pytestmark = pytest.mark.integration

DAYS = [make_api_record(datetime=f"2023-07-{day:02d}T10:00:00+00:00") for day in range(1, 31)]


def bring_in_together(database: Database, *editions: PublishedMonth) -> dict[str, RunReport]:
    """
    Bring editions of different forces in, all at once, and give their reports by force.
    """

    def job(published: PublishedMonth) -> Job:
        async def fetch() -> PublishedMonth:
            return published

        return Job(force=published.force, month=published.month, source=published.source, reason="test", fetch=fetch)

    async def all_of_them() -> list[RunReport]:
        with Batch(database, TRIGGER, {}) as batch:
            jobs = [job(published) for published in editions]
            return await batch.bring_in([jobs], in_flight=3, settings=settings_for(), watcher=None, stopping=None)

    return {report.force: report for report in asyncio.run(all_of_them())}


@pytest.fixture
def impatient(database: Database) -> Iterator[Database]:
    """
    The same database, whose locks are waited for 0.2 seconds at most.
    """
    other = Database(conninfo=make_conninfo(database.conninfo, options="-c lock_timeout=200"), place=database.place)
    yield other
    other.close()


def test_a_refused_row_is_quoted_nowhere(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        connection.execute("ALTER TABLE stop ADD CONSTRAINT only_the_north CHECK (latitude > 53)")

    with capture_logs() as logs:
        outcome = bring_one_in(database, edition(DAYS))

    assert outcome.status is RunStatus.FAILED
    assert outcome.error_text is not None
    assert "23514" in outcome.error_text
    assert "only_the_north" in outcome.error_text
    [broke] = [line for line in logs if line["event"] == "run_broke"]
    assert "in _store" in broke["exception"]
    with database.connect() as connection:
        ledger = connection.execute("SELECT error_text FROM ingest_run").fetchall()
    for told in (outcome.error_text, repr(ledger), repr(logs)):
        assert "52.629729" not in told
        assert "Failing row" not in told


def test_trouble_that_cannot_be_noted_harms_no_other_run(database: Database, impatient: Database) -> None:
    assert bring_one_in(database, edition(b"<html>", published="2023-08")).status is RunStatus.FAILED
    with database.connect() as other, capture_logs() as logs:
        other.execute("SELECT * FROM month_release FOR UPDATE")

        reports = bring_in_together(
            impatient,
            edition(b"<html>", published="2023-08"),
            edition(DAYS, force="kent"),
            edition(DAYS, force="gwent"),
        )

    assert {force: report.outcome.status for force, report in reports.items()} == {
        "durham": RunStatus.FAILED,
        "kent": RunStatus.REVISED,
        "gwent": RunStatus.REVISED,
    }
    assert "ending_unwritten" in [line["event"] for line in logs]
    assert breaches_of(database) == {}


@pytest.mark.parametrize("code", ["40P01", "40001", "55P03"])
def test_trouble_that_passes_is_tried_once_more(database: Database, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The counter is a sequence, which no rollback takes back. The one writer took its streets for kept the first time.
    """
    monkeypatch.setattr(bring_in_flow, "_WRITERS", 1)
    with database.connect(autocommit=True) as connection:
        connection.execute("CREATE SEQUENCE tries")
        connection.execute(
            "CREATE FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"IF nextval('tries') = 1 THEN RAISE 'met another' USING ERRCODE = '{code}'; END IF; RETURN NULL; END $$"
        )
        connection.execute(
            "CREATE TRIGGER fail_once AFTER INSERT ON revision FOR EACH STATEMENT EXECUTE FUNCTION fail_once()"
        )

    with capture_logs() as logs:
        outcome = bring_one_in(database, edition(DAYS))

    assert outcome.status is RunStatus.REVISED
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == ["store_retried"]
    assert (count_rows(database, "stop"), count_rows(database, "street")) == (30, 1), "the streets went with the try"
    assert breaches_of(database) == {}


def test_a_connection_that_was_lost_between_two_tasks_fails_no_force_month(database: Database) -> None:
    with running_standin({("kent", "2023-07"): DAYS}) as standin:
        settings = settings_for(standin.url, retry_attempts=1)
        dispatch = RecordingDispatch()
        batch_id = planned_by_worker(database, settings, dispatch)
        [(_, month)] = dispatch.sent

        async def bring_in_on_a_lost_connection() -> None:
            async with MonthBringer(database, settings, stopping=asyncio.Event()) as bringer:
                with database.connect(autocommit=True) as connection:
                    claimed = claim_month(connection, batch_id, month.force, month.month)
                    assert claimed is not None
                    connection.execute(
                        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
                await bringer.bring_in(claimed)

        with pytest.raises(StoreUnavailable):
            asyncio.run(bring_in_on_a_lost_connection())
