"""
Law 10, everything says what it did: each run ends with one ledger row and one log line, and a refusal says what to do.
"""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from builders.ingests import TRIGGER, bring_in, edition, ingest_api, settings_for
from builders.standin import make_api_record, make_csv, running_standin
from stopsearch.flows.plan import Wanted
from stopsearch.flows.rebuild import reprocess
from stopsearch.store.database import Database

pytestmark = pytest.mark.integration

DAYS = [make_api_record(datetime=f"2023-07-{day:02d}T10:00:00+00:00") for day in range(1, 29)]
GOOD = [*DAYS, make_api_record(outcome=False)]
COUNTS = ("status", "revision", "received", "stored", "rejected", "added", "withdrawn")


def ledger(database: Database) -> list[dict[str, Any]]:
    with database.connect() as connection:
        cursor = connection.execute(
            """
            SELECT run.*, force.id AS force, to_char(month, 'YYYY-MM') AS of_month FROM ingest_run AS run
            JOIN force ON force.code = force_code ORDER BY run.id
            """
        )
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor]


def test_law_10_every_run_ends_with_one_ledger_row_and_one_log_line(database: Database) -> None:
    editions = [
        edition(GOOD, force="durham"),  # revised
        edition(GOOD, force="durham"),  # unchanged
        edition([*GOOD, make_api_record(gender="?")], force="durham"),  # revised, one dead letter
        edition(make_csv(DAYS), force="durham", published="2023-08"),  # historic
        edition([], force="kent"),  # empty
        edition([make_api_record(type="?")] * 30, force="kent"),  # refused
        edition(b"<html>", force="gwent", published="2023-08"),  # failed
    ]

    with capture_logs() as logs:
        reports = bring_in(database, *editions)

    expected = ["revised", "unchanged", "revised", "historic", "empty", "refused", "failed"]
    assert [report.outcome.status for report in reports] == expected
    lines = [line for line in logs if line["event"] == "run_finished"]
    rows = ledger(database)
    assert len(lines) == len(rows) == len(editions)
    for row, line, report in zip(rows, lines, reports, strict=True):
        for name in COUNTS:
            assert row[name] == line[name] == getattr(report.outcome, name)
        assert row["mended"] == line["mended"] == report.outcome.mended
        assert row["rejected_by_rule"] == line["rejected_by_rule"] == report.outcome.rejected_by_rule
        assert row["error_kind"] == line["error_kind"] == report.outcome.error_kind
        assert row["ended_at"] >= row["started_at"]
        assert row["durations_s"].keys() <= line["stages"].keys()
        assert row["durations_s"]
        assert line["duration_s"] == pytest.approx(sum(line["stages"].values()), abs=0.01)
    assert rows[0]["mended"] == {"outcome_false": 1, "old_outcome": 1}
    assert rows[2]["rejected_by_rule"] == {"gender_is_known": 1}


def test_law_10_log_lines_name_the_run_and_tell_nothing_personal(database: Database) -> None:
    with capture_logs(processors=[_with_context]) as logs:
        bring_in(database, edition([*GOOD, make_api_record(gender="Somebody's name", age_range="41")]))

    [line] = [line for line in logs if line["event"] == "run_finished"]
    assert (line["force"], line["month"]) == ("durham", "2023-07")
    assert line["rejected_by_rule"] == {"gender_is_known": 1, "age_range_is_known": 1}
    assert "Somebody" not in repr(logs)


def test_law_10_each_refusal_says_what_was_wrong_and_what_to_do(database: Database) -> None:
    without_gender = [{key: value for key, value in record.items() if key != "gender"} for record in GOOD]
    bring_in(
        database,
        edition([make_api_record(type="?")] * 30, force="kent"),
        edition(without_gender, force="gwent"),
        edition(b"[{", force="durham"),
        edition(make_csv(GOOD).replace(b"Outcome,", b"Result,"), force="surrey"),
    )

    texts = {row["force"]: row["error_text"] for row in ledger(database)}
    assert "30 of 30 records were rejected" in texts["kent"]
    assert "type_is_known 30" in texts["kent"]
    assert "gender" in texts["gwent"]
    assert "not a JSON array" in texts["durham"]
    assert "Outcome" in texts["surrey"]
    assert all("The last revision stays" in text for text in texts.values())


def test_law_10_a_batch_says_what_was_asked_and_how_it_ended(database: Database) -> None:
    months = {("durham", "2023-06"): GOOD, ("durham", "2023-07"): GOOD}
    with running_standin(months) as standin:
        standin.faults.fail(500, month="2023-06")
        with capture_logs() as logs:
            report = ingest_api(database, standin.url, Wanted(forces=("durham",)), retry_attempts=1)

    with database.connect() as connection:
        batch = connection.execute(
            "SELECT id, trigger, requested_by, asked_for, status, ended_at >= started_at FROM ingest_batch"
        ).fetchone()
    assert batch is not None
    assert (batch[0], batch[1], batch[2]) == (report.batch_id, "test", "a test")
    assert (batch[3]["forces"], batch[3]["source"]) == (["durham"], "api")
    assert (batch[4], batch[5]) == ("finished_with_failures", True)
    [line] = [line for line in logs if line["event"] == "batch_finished"]
    assert (line["batch_id"], line["status"], line["runs"]) == (report.batch_id, "finished_with_failures", 2)


def test_law_10_a_rebuild_says_so_too(database: Database) -> None:
    bring_in(database, edition(GOOD))

    with capture_logs() as logs:
        reprocess(database, settings_for(), Wanted(), trigger=TRIGGER)

    assert [(row["source"], row["status"]) for row in ledger(database)] == [("api", "revised"), ("kept", "unchanged")]
    assert [line["status"] for line in logs if line["event"] == "run_finished"] == ["unchanged"]


def test_law_10_a_batch_that_was_cut_short_is_said_to_be_cancelled_by_the_next(database: Database) -> None:
    bring_in(database, edition(GOOD))
    with database.connect(autocommit=True) as connection:  # as a kill leaves it
        connection.execute("UPDATE ingest_batch SET status = 'running', ended_at = NULL")
        connection.execute("UPDATE ingest_run SET status = 'running', ended_at = NULL")

    bring_in(database, edition(GOOD))

    with database.connect() as connection:
        batches = connection.execute("SELECT status, ended_at IS NULL FROM ingest_batch ORDER BY id").fetchall()
    assert batches == [("cancelled", False), ("finished", False)]
    assert [row["status"] for row in ledger(database)] == ["cancelled", "unchanged"]


def _with_context(logger: object, method: str, event: Any) -> Any:
    import structlog

    return structlog.contextvars.merge_contextvars(logger, method, event)
