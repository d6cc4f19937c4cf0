"""
Failures that a straightforward implementation with workers was seen to have, each got right here; the numbers are
those of the list that the design was made from. All parts are real.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from builders.ingests import settings_for
from builders.rabbitmq import RunningRabbitMQ
from builders.standin import make_api_record, running_standin
from builders.store_state import breaches_of, content_of, count_rows
from builders.workers import running_worker
from stopsearch.domain.months import Month
from stopsearch.flows.asked_batches import AskedIngest
from stopsearch.flows.plan import Wanted
from stopsearch.flows.plan_batch import plan_batch, queue_for_workers, send_batch
from stopsearch.standin.limit import Limit
from stopsearch.store.database import Database
from stopsearch.worker.app import declare_queues, make_celery
from stopsearch.worker.dispatch import CeleryDispatch
from stopsearch.worker.queues import TASK_QUEUES

if TYPE_CHECKING:
    from chaos.stack import Stack

pytestmark = pytest.mark.integration

PATIENCE_S = 120.0
DAYS = [make_api_record(datetime=f"2023-07-{day:02d}T10:00:00+00:00") for day in range(1, 31)]


def wait_until(holds: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < until, f"waited in vain: {what}"
        time.sleep(0.1)


def ended(database: Database) -> bool:
    with database.connect() as connection:
        row = connection.execute("SELECT count(*) FROM ingest_batch WHERE ended_at IS NULL").fetchone()
    return row == (0,)


def held(database: Database) -> set[tuple[str, str]]:
    with database.connect() as connection:
        rows = connection.execute(
            """
            SELECT force.id, to_char(month, 'YYYY-MM') FROM month_release JOIN force ON force.code = force_code
            WHERE state = 'held'
            """
        )
        return {(row[0], row[1]) for row in rows}


def begin(stack: Stack, **wanted: Any) -> None:
    """
    Ask for a batch on emptied services.
    """
    stack.empty()
    stack.wait_for_workers()
    ask(stack, **wanted)


def ask(stack: Stack, **wanted: Any) -> None:
    asked = AskedIngest(wanted=Wanted(**wanted))
    batch_id = queue_for_workers(stack.database(), stack.settings, asked, trigger="test", requested_by="a test")
    assert send_batch(stack.database(), stack.dispatch, batch_id)


def test_3_a_failing_force_month_harms_only_itself(stack: Stack) -> None:
    from chaos.publisher import EMPTY, UNCHANGED, force_months

    failing = ("gwent", "2023-07")
    stack.empty()
    stack.wait_for_workers()
    stack.standin.faults.fail(503, force=failing[0], month=failing[1])
    ask(stack)

    others = set(force_months()) - {EMPTY, failing}
    assert UNCHANGED in others
    wait_until(lambda: held(stack.database()) == others, "every other force-month is held")
    assert not ended(stack.database()), "it is tried again, and its batch runs on"

    stack.standin.faults.clear()
    wait_until(lambda: ended(stack.database()), "its batch ends once the publisher answers")
    assert held(stack.database()) == {*others, failing}
    assert breaches_of(stack.database()) == {}


def test_4_a_retry_starts_from_what_was_kept_and_success_is_what_the_database_says(stack: Stack) -> None:
    from chaos.inject import inject
    from chaos.plans import Fault, Kind
    from chaos.publisher import LARGE

    begin(stack, forces=(LARGE[0],))
    inject(stack, Fault(kind=Kind.CUT_COPY))  # waits for a COPY of stops, and cuts it

    wait_until(lambda: ended(stack.database()), "the batch ends")
    expected = [row for row in stack.expected(None)["stop"] if row[1] == LARGE[0]]
    assert [row for row in content_of(stack.database())["stop"] if row[1] == LARGE[0]] == expected
    assert len(expected) > 2000
    assert stack.standin.stats.asked(*LARGE) == 1, "the body was kept, and is not asked for again"


def test_9_a_force_month_that_appears_late_is_brought_in(stack: Stack) -> None:
    late = ("kent", "2023-05")  # older than the newest that is held
    stack.standin.publication.hide(late[1], late[0])
    try:
        begin(stack)
        wait_until(lambda: ended(stack.database()), "the first batch ends")
        assert late not in held(stack.database())
    finally:
        stack.standin.publication.release(late[1], late[0])

    ask(stack)
    wait_until(lambda: ended(stack.database()), "the second batch ends")
    assert late in held(stack.database())


def test_10_two_triggers_at_once_store_everything_once(stack: Stack) -> None:
    begin(stack, recheck=True)
    ask(stack, recheck=True)

    wait_until(lambda: ended(stack.database()), "both batches end")
    assert content_of(stack.database())["stop"] == stack.expected(None)["stop"]
    assert breaches_of(stack.database()) == {}


def test_11_a_killed_process_breaks_neither_its_own_force_month_nor_the_others(stack: Stack) -> None:
    from chaos.plans import Fault, Kind
    from chaos.trial import run_trial, single

    for kind in (Kind.KILL_PROCESS, Kind.KILL_WORKER):
        assert run_trial(stack, single(Fault(kind=kind, after=2, delay_s=0.3))).wrong == []


def test_14_many_processes_stay_within_the_publishers_limit_together(
    database_url: str, broker_url: str, redis_url: str, tmp_path: Path
) -> None:
    months = {
        (force, str(Month(2023, 7).plus(-back))): DAYS[:3]
        for force in ("durham", "kent", "gwent")
        for back in range(36)
    }
    with ExitStack() as opened:
        standin = opened.enter_context(running_standin(months, limit=Limit()))
        environment = {
            "STOPSEARCH_DATABASE_URL": database_url,
            "STOPSEARCH_BROKER_URL": broker_url,
            "STOPSEARCH_REDIS_URL": redis_url,
            "STOPSEARCH_UPSTREAM_URL": standin.url,
        }
        for number in range(2):
            opened.enter_context(running_worker(environment, tmp_path / f"{number}.log", "--concurrency", "4"))
        settings = settings_for(standin.url, database_url=database_url, broker_url=broker_url, redis_url=redis_url)
        database = Database(conninfo=database_url, place="test")
        batch_id = queue_for_workers(
            database, settings, AskedIngest(wanted=Wanted()), trigger="test", requested_by="a test"
        )
        send_batch(database, CeleryDispatch.from_settings(settings), batch_id)
        wait_until(lambda: ended(database), "the backfill ends")

        assert standin.stats.by_status == {200: len(months) + 1}
        assert count_rows(database, "stop") == 3 * len(months)


def test_15_tasks_carry_ids_and_no_path(
    database: Database, database_url: str, broker_url: str, rabbitmq: RunningRabbitMQ
) -> None:
    with running_standin({("kent", "2023-07"): DAYS}) as standin:
        settings = settings_for(standin.url, database_url=database_url, broker_url=broker_url)
        app = make_celery(settings)
        declare_queues(app)
        dispatch = CeleryDispatch(app)
        batch_id = queue_for_workers(
            database, settings, AskedIngest(wanted=Wanted()), trigger="test", requested_by="a test"
        )
        assert send_batch(database, dispatch, batch_id)
        assert plan_batch(database, settings, dispatch, batch_id) == 1

    carried = []
    with app.connection_for_read() as connection:
        channel = connection.channel()
        for queue in TASK_QUEUES:
            while (message := channel.basic_get(queue.name, no_ack=True)) is not None:
                carried.append(message.headers["argsrepr"])
    assert sorted(carried) == [f"[{batch_id}, 'kent', '2023-07']", f"[{batch_id}]"]


def test_19_the_ledger_counts_what_is_stored_also_after_a_copy_that_failed(stack: Stack) -> None:
    from chaos.inject import inject
    from chaos.plans import Fault, Kind
    from chaos.publisher import LARGE

    begin(stack, forces=(LARGE[0],))
    inject(stack, Fault(kind=Kind.CUT_COPY))
    wait_until(lambda: ended(stack.database()), "the batch ends")

    with stack.database().connect() as connection:
        stored, added = connection.execute(
            """
            SELECT sum(stored), sum(added) FROM ingest_run JOIN force ON force.code = force_code WHERE force.id = %s
            """,
            [LARGE[0]],
        ).fetchone() or (None, None)
        stops = connection.execute(
            "SELECT count(*) FROM stop JOIN force ON force.code = force_code WHERE force.id = %s", [LARGE[0]]
        ).fetchone()
    assert (stored, added) == (stops[0] if stops else None,) * 2
