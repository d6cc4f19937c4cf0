"""
Status tells at a glance what a count of the tables would tell, and whether a batch runs or was cut short.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from builders.ingests import TRIGGER, bring_in, edition, ingest_archives, settings_for
from builders.source_bodies import api_record, json_body
from stopsearch.domain.errors import SchemaOutOfDate
from stopsearch.domain.months import Month
from stopsearch.domain.states import BatchStatus, Cause, MonthFlag, MonthState, RunStatus
from stopsearch.flows.batches import Batch
from stopsearch.flows.plan import Wanted
from stopsearch.flows.prune import prune
from stopsearch.flows.status import status
from stopsearch.sample import sample_archives
from stopsearch.store.batch_months import PlannedMonth, plan_months
from stopsearch.store.batch_queue import queue_entry
from stopsearch.store.database import Database
from stopsearch.store.integrity import stale_batches
from stopsearch.store.ledger import begin_batch
from stopsearch.store.migrate import newest_revision

pytestmark = pytest.mark.integration

DURHAM = Wanted(forces=("durham",))


def counted(database: Database, query: str) -> int:
    with database.connect() as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def test_figures_are_those_of_the_tables(database: Database) -> None:
    ingest_archives(database, *sample_archives(), wanted=DURHAM)
    found = status(database)
    current = "SELECT count(*) FROM stop WHERE withdrawn_revision IS NULL"
    assert found.stops_current == counted(database, current)
    assert found.stops_total == counted(database, "SELECT count(*) FROM stop") == found.stops_current + 27 + 85
    assert found.force_months[MonthState.HELD] == counted(database, "SELECT count(*) FROM month_release")
    assert set(found.force_months) == set(MonthState)
    assert found.flags[MonthFlag.RESTATED] == 2
    assert found.revisions_by_cause == {
        Cause.UPSTREAM: found.force_months[MonthState.HELD] + 2,
        Cause.RULES: 0,
        Cause.REPLAY: 0,
        Cause.REVERT: 0,
    }
    assert found.schema == newest_revision()
    assert found.database_bytes > 1_000_000
    assert found.newest is not None
    assert (found.newest.month, found.newest.forces) == (Month(2020, 12), 1)
    assert found.listed_at is None


def test_revisions_of_long_ago_are_not_recent(database: Database) -> None:
    bring_in(database, edition(json_body(api_record())))
    with database.connect() as connection:
        connection.execute("UPDATE revision SET served_from = served_from - interval '31 days'")
    assert set(status(database).revisions_by_cause.values()) == {0}


def test_open_letters_are_counted_by_rule(database: Database) -> None:
    odd = api_record(gender="Unheard of", age_range="Unheard of")
    bring_in(database, edition(json_body(api_record(), odd, api_record(gender="Unheard of"))))
    found = status(database)
    assert found.open_letters == 2
    assert found.open_letters_by_rule == {"gender_is_known": 2, "age_range_is_known": 1}


def test_last_batch_says_how_it_went(database: Database) -> None:
    assert status(database).last_batch is None
    bring_in(database, edition(json_body(api_record())), edition(b"{", force="kent"))
    found = status(database)
    assert found.last_batch is not None
    assert found.last_batch.status is BatchStatus.FINISHED_WITH_FAILURES
    assert found.last_batch.runs == {RunStatus.REVISED: 1, RunStatus.FAILED: 1}
    assert found.last_batch.ended_at is not None
    assert found.running == []


def test_running_batch_is_told_from_one_that_was_cut_short(database: Database) -> None:
    with Batch(database, TRIGGER, {}) as batch:
        [running] = status(database).running
        assert (running.id, running.is_alive, running.status) == (batch.id, True, BatchStatus.RUNNING)
    with database.connect() as connection:
        connection.execute("UPDATE ingest_batch SET status = 'running', ended_at = NULL")
    # Not by a `Batch`, which would end the other.
    with database.connect(autocommit=True) as connection:
        second = begin_batch(connection, trigger="test", requested_by="a test", asked_for={}, at=datetime.now(UTC))
        assert {found.id: found.is_alive for found in status(database).running} == {batch.id: False, second: True}


def test_call_budget_tells_how_far_slots_are_given_out(database: Database) -> None:
    assert status(database).call_budgets == []
    with database.connect() as connection:
        connection.execute(
            """
            INSERT INTO call_budget VALUES
                ('data.police.uk', now() + interval '1 minute'), ('a.test', now() - interval '1 hour')
            """
        )
    idle, held_back = status(database).call_budgets
    assert (idle.upstream, idle.ahead_s) == ("a.test", 0)
    assert 50 < held_back.ahead_s <= 60


def test_database_without_schema_is_said(blank_database: Database) -> None:
    with pytest.raises(SchemaOutOfDate, match="no stopsearch schema"):
        status(blank_database)


def test_prune_deletes_what_no_revision_rests_on(database: Database) -> None:
    bring_in(database, edition(json_body(api_record())), edition(json_body(), force="kent"))
    bodies = "SELECT count(*) FROM published_body"
    assert counted(database, bodies) == 2
    later = datetime.now(UTC) + timedelta(days=11)
    kept_for_ever = prune(database, settings_for(), now=later)
    assert (kept_for_ever.bodies, kept_for_ever.kept_before) == (0, None)
    assert prune(database, settings_for(body_retention_days=12), now=later).bodies == 0
    assert prune(database, settings_for(body_retention_days=10), now=later).bodies == 1
    assert counted(database, bodies) == 1
    assert prune(database, settings_for(body_retention_days=10), now=later).bodies == 0


def test_batch_of_workers_runs_though_no_process_holds_it(database: Database) -> None:
    asked_for = {"kind": "replay", "source": "kept", "force": None, "month": None, "rule": None, "ids": None}
    now = datetime.now(UTC)
    with database.connect(autocommit=True) as connection:
        batch_id = queue_entry(
            connection, requested_by="a test", asked_for=asked_for, at=now, trigger="replay", is_distributed=True
        )
        month = PlannedMonth(force="durham", month=Month(2023, 7), queue="replay", reason="dead letters")
        assert plan_months(connection, batch_id, [month], at=now)
    [running] = status(database).running
    assert (running.id, running.is_alive, running.is_distributed) == (batch_id, True, True)
    with database.connect(autocommit=True) as connection:
        assert stale_batches(connection) == []
