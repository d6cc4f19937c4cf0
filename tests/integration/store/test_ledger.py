"""
The ledger: what a run left behind for the next one.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from builders.ingests import edition
from builders.standin import make_api_record
from stopsearch.domain.months import Month
from stopsearch.domain.states import RunStatus, Source
from stopsearch.store.bodies import compress
from stopsearch.store.database import Database
from stopsearch.store.forces import force_code
from stopsearch.store.ledger import (
    RunOutcome,
    begin_batch,
    begin_run,
    finish_run,
    keep_fetched,
    note_refused,
    unfinished_fetch,
)

pytestmark = pytest.mark.integration

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MONTH = Month(2023, 7)


def test_a_busy_run_does_not_hide_what_the_one_before_it_fetched(database: Database) -> None:
    published = edition([make_api_record()])
    with database.connect(autocommit=True) as connection:
        code = force_code(connection, "durham")
        batch = begin_batch(connection, trigger="test", requested_by="a test", asked_for={}, at=NOW)

        def begin() -> int:
            return begin_run(connection, batch_id=batch, force_code=code, month=MONTH, source=Source.API, at=NOW)

        fetched, busy = begin(), begin()
        body = compress(published)
        keep_fetched(connection, fetched, body, fetched_at=NOW, published_at=NOW, origin="http://publisher.test")
        for run, status in ((fetched, RunStatus.FAILED), (busy, RunStatus.BUSY)):
            finish_run(connection, run, RunOutcome(status=status), durations_s={}, at=NOW)
        left = unfinished_fetch(connection, code, MONTH, before_run=begin(), since=NOW - timedelta(hours=1))

    assert left == (body.digest, NOW, "http://publisher.test")


def test_names_that_no_text_can_hold_are_noted_as_far_as_it_can(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        batch = begin_batch(connection, trigger="test", requested_by="a test", asked_for={"forces": []}, at=NOW)
        note_refused(connection, batch, ["a\0b is refused", "c\udcff is refused"])
        asked_for = connection.execute("SELECT asked_for FROM ingest_batch").fetchone()

    assert asked_for == ({"forces": [], "refused": ["a?b is refused", "c? is refused"]},)
