"""
A batch of workers from its plan to its end, by the ledger alone: planned once, settled once, closed once; what fails in
passing is tried again, what is lost is sent again, and what ends its worker is given up.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from psycopg import Connection

from builders.ingests import settings_for
from builders.standin import RunningStandin, make_api_record, running_standin
from builders.store_state import breaches_of
from builders.worker_batches import (
    RecordingDispatch,
    outstanding,
    planned_by_worker,
    queued_for_workers,
    work_off,
    work_on,
)
from stopsearch.domain.errors import StoreUnavailable
from stopsearch.domain.months import Month
from stopsearch.domain.states import BatchStatus, RunStatus, Source
from stopsearch.flows.dispatch import REDELIVERIES
from stopsearch.flows.month_bringer import MonthBringer
from stopsearch.flows.plan_batch import plan_batch
from stopsearch.flows.run_month import cut_month, run_month
from stopsearch.flows.runs import RunReport
from stopsearch.flows.tend_batches import tend_batches
from stopsearch.settings import QUEUES, Settings
from stopsearch.standin.faults import Faults
from stopsearch.store.batch_months import PlannedMonth, claim_month, close_if_over
from stopsearch.store.batch_reports import find_batch
from stopsearch.store.batch_tending import reopen_month
from stopsearch.store.database import Database
from stopsearch.store.forces import force_code
from stopsearch.store.ledger import begin_run, end_stale_batches
from stopsearch.store.locks import try_lock_month

pytestmark = pytest.mark.integration

RECORDS = [make_api_record(datetime=f"2023-07-{day:02d}T10:00:00+00:00") for day in range(1, 6)]
FORCES = ("durham", "kent", "surrey")
MONTHS = {(force, f"2023-{month:02d}"): RECORDS for force in FORCES for month in range(4, 8)}
JULY = Month(2023, 7)


class EmptyQueues(RecordingDispatch):
    """
    A broker in whose queues no task waits.
    """

    def empty_queues(self) -> frozenset[str]:
        return frozenset(QUEUES)


class AwayDispatch(RecordingDispatch):
    """
    A broker that is away, and how often it was tried.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tries = 0
        self.is_away = True

    def _answer(self) -> None:
        self.tries += 1
        super()._answer()


@pytest.fixture
def standin() -> Iterator[RunningStandin]:
    with running_standin(MONTHS) as standin:
        yield standin


@pytest.fixture
def settings(standin: RunningStandin) -> Settings:
    return settings_for(standin.url, retry_attempts=1, tend_every_s=1)


@pytest.fixture
def dispatch() -> EmptyQueues:
    return EmptyQueues()


def age(database: Database, seconds: float) -> None:
    """
    Let what was sent, and what waits, be so much older.
    """
    with database.connect(autocommit=True) as connection:
        connection.execute(
            "UPDATE batch_month SET sent_at = sent_at - %(by)s, next_at = next_at - %(by)s, "
            "planned_at = planned_at - %(by)s",
            {"by": timedelta(seconds=seconds)},
        )
        connection.execute("UPDATE ingest_batch SET sent_at = sent_at - %s", [timedelta(seconds=seconds)])


def status_of(database: Database, batch_id: int) -> BatchStatus:
    with database.connect(autocommit=True) as connection:
        return find_batch(connection, batch_id).status


def deliver_and_die(database: Database, batch_id: int, force: str, month: Month) -> None:
    """
    Do what is left of a task whose worker is killed while it works: a delivery, and a run that never ended.
    """
    with database.connect(autocommit=True) as connection:
        assert claim_month(connection, batch_id, force, month)
        begin_run(
            connection,
            batch_id=batch_id,
            force_code=force_code(connection, force),
            month=month,
            source=Source.API,
            at=datetime.now(UTC),
        )


def test_plans_the_newest_month_of_every_force_first(
    database: Database, settings: Settings, dispatch: EmptyQueues
) -> None:
    planned_by_worker(database, settings, dispatch)
    sent = [(month.month, month.force, month.queue) for _, month in dispatch.sent]
    assert sent == [
        (Month(2023, month), force, "daily" if month >= 6 else "backfill") for month in (7, 6, 5, 4) for force in FORCES
    ]


def test_a_recheck_of_what_is_held_is_never_urgent(
    database: Database, settings: Settings, dispatch: EmptyQueues
) -> None:
    planned_by_worker(database, settings, dispatch)
    work_off(database, settings, dispatch)
    planned_by_worker(database, settings, dispatch, recheck=True)
    assert {month.queue for _, month in dispatch.sent} == {"backfill"}


def test_ends_with_its_last_force_month(database: Database, settings: Settings, dispatch: EmptyQueues) -> None:
    batch_id = planned_by_worker(database, settings, dispatch)
    *sent, last = dispatch.sent
    for _, month in sent:
        assert work_on(database, settings, batch_id, month).batch_status is None
    assert status_of(database, batch_id) is BatchStatus.RUNNING
    assert work_on(database, settings, batch_id, last[1]).batch_status is BatchStatus.FINISHED
    with database.connect(autocommit=True) as connection:
        batch = find_batch(connection, batch_id)
    assert (batch.force_months, batch.ended, batch.runs) == (12, 12, {RunStatus.REVISED: 12})
    assert breaches_of(database) == {}


def test_a_batch_with_nothing_to_do_ends_at_once(database: Database, settings: Settings, dispatch: EmptyQueues) -> None:
    planned_by_worker(database, settings, dispatch)
    work_off(database, settings, dispatch)
    again = planned_by_worker(database, settings, dispatch)
    assert (status_of(database, again), dispatch.sent) == (BatchStatus.FINISHED, [])


def test_planned_twice_is_planned_once(database: Database, settings: Settings, dispatch: EmptyQueues) -> None:
    batch_id = planned_by_worker(database, settings, dispatch)
    assert plan_batch(database, settings, dispatch, batch_id) == 0
    assert len(dispatch.sent) == 12


def test_a_task_that_comes_twice_does_nothing_the_second_time(
    database: Database, settings: Settings, dispatch: EmptyQueues, standin: RunningStandin
) -> None:
    batch_id = planned_by_worker(database, settings, dispatch)
    _, month = dispatch.sent[0]
    work_on(database, settings, batch_id, month)
    asked = len(standin.stats.arrivals)
    assert work_on(database, settings, batch_id, month).status is None
    assert len(standin.stats.arrivals) == asked


def test_closed_by_one_of_many_that_settle_at_once(
    database: Database, settings: Settings, dispatch: EmptyQueues
) -> None:
    batch_id = planned_by_worker(database, settings, dispatch)
    with database.connect(autocommit=True) as connection:
        connection.execute("UPDATE batch_month SET status = 'unchanged', ended_at = now()")
    ends: list[BatchStatus | None] = []
    start = threading.Barrier(8)

    def close() -> None:
        with database.connect(autocommit=True) as connection:
            start.wait()
            ends.append(close_if_over(connection, batch_id, at=datetime.now(UTC)))

    threads = [threading.Thread(target=close) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ends, key=str) == [None] * 7 + [BatchStatus.FINISHED]


def test_what_the_publisher_does_not_answer_is_tried_again_and_harms_nothing_else(
    database: Database, settings: Settings, dispatch: EmptyQueues
) -> None:
    with running_standin(MONTHS, faults=(faults := Faults())) as standin:
        failing = settings.model_copy(update={"upstream_url": standin.url})
        batch_id = planned_by_worker(database, failing, dispatch)
        faults.fail(503, force="kent", month="2023-07")
        work_off(database, failing, dispatch)
        assert outstanding(database, batch_id) == {("kent", JULY)}
        assert status_of(database, batch_id) is BatchStatus.RUNNING
        tend_batches(database, failing, dispatch)
        assert dispatch.sent == []  # its wait is not over
        faults.clear()
        age(database, 61)
        assert tend_batches(database, failing, dispatch).months_sent == 1
        work_off(database, failing, dispatch)
    assert status_of(database, batch_id) is BatchStatus.FINISHED
    assert breaches_of(database) == {}


def test_gives_a_failing_force_month_up_after_the_set_hours(
    database: Database, settings: Settings, dispatch: EmptyQueues
) -> None:
    with running_standin(MONTHS, faults=(faults := Faults())) as standin:
        failing = settings.model_copy(update={"upstream_url": standin.url, "month_retry_hours": 2})
        batch_id = planned_by_worker(database, failing, dispatch)
        faults.fail(503, force="kent", month="2023-07")
        work_off(database, failing, dispatch)
        age(database, 2 * 3600)
        tend_batches(database, failing, dispatch)
        work_off(database, failing, dispatch)
    assert status_of(database, batch_id) is BatchStatus.FINISHED_WITH_FAILURES


def test_sends_again_what_was_lost_once_its_queue_is_empty(
    database: Database, settings: Settings, dispatch: EmptyQueues
) -> None:
    batch_id = planned_by_worker(database, settings, dispatch)
    lost = [month for _, month in dispatch.sent]
    dispatch.sent.clear()
    assert tend_batches(database, settings, dispatch).months_sent == 0  # it may be on its way
    age(database, 61)
    full = RecordingDispatch()
    assert tend_batches(database, settings, full).months_sent == 0  # it may be in the queue
    with database.connect(autocommit=True) as connection:
        try_lock_month(connection, force_code(connection, "kent"), JULY)  # somebody works on it
        assert tend_batches(database, settings, dispatch).months_sent == 11
    assert [month for _, month in dispatch.sent] == [m for m in lost if (m.force, m.month) != ("kent", JULY)]
    assert len(outstanding(database, batch_id)) == 12


def test_sends_what_could_not_be_sent_while_the_broker_was_away(
    database: Database, settings: Settings, dispatch: EmptyQueues
) -> None:
    dispatch.is_away = True
    batch_id = queued_for_workers(database, settings, dispatch)
    tend_batches(database, settings, dispatch)
    dispatch.is_away = False
    assert tend_batches(database, settings, dispatch).planned_again == 1
    assert dispatch.batches == [batch_id]
    dispatch.is_away = True
    plan_batch(database, settings, dispatch, batch_id)
    dispatch.is_away = False
    assert tend_batches(database, settings, dispatch).months_sent == 12


def test_a_force_month_that_ends_its_worker_each_time_is_given_up_and_can_be_taken_up_again(
    database: Database, settings: Settings, dispatch: EmptyQueues
) -> None:
    batch_id = planned_by_worker(database, settings, dispatch)
    poison = next(month for _, month in dispatch.sent if (month.force, month.month) == ("kent", JULY))
    dispatch.sent.remove((batch_id, poison))
    work_off(database, settings, dispatch)
    for _ in range(REDELIVERIES):
        deliver_and_die(database, batch_id, "kent", JULY)
    assert tend_batches(database, settings, dispatch).abandoned == 0  # it is delivered once more
    deliver_and_die(database, batch_id, "kent", JULY)
    tended = tend_batches(database, settings, dispatch)
    assert (tended.abandoned, tended.closed) == (1, 1)
    assert status_of(database, batch_id) is BatchStatus.FINISHED_WITH_FAILURES
    with database.connect(autocommit=True) as connection:
        kinds = connection.execute(
            "SELECT status, error_kind, count(*) FROM ingest_run WHERE status <> 'revised' GROUP BY 1, 2 ORDER BY 1"
        ).fetchall()
        assert kinds == [("cancelled", "cancelled", REDELIVERIES), ("failed", "worker_lost", 1)]
        assert reopen_month(connection, batch_id, "kent", JULY, at=datetime.now(UTC))
    assert status_of(database, batch_id) is BatchStatus.RUNNING
    assert work_on(database, settings, batch_id, poison).batch_status is BatchStatus.FINISHED
    assert breaches_of(database) == {}


def test_a_database_that_comes_and_goes_does_not_make_a_force_month_poison(
    database: Database, settings: Settings, dispatch: EmptyQueues
) -> None:
    batch_id = planned_by_worker(database, settings, dispatch, forces=("kent",), first=JULY)

    def lose_the_database(_: object) -> RunReport:
        raise StoreUnavailable("The database went away.")

    with database.connect(autocommit=True) as connection:
        for attempt in range(3 * REDELIVERIES):
            with pytest.raises(StoreUnavailable):
                run_month(
                    connection,
                    settings,
                    lose_the_database,
                    batch_id=batch_id,
                    force="kent",
                    month=JULY,
                    is_delivery=attempt == 0,
                )
    assert tend_batches(database, settings, dispatch).abandoned == 0
    work_off(database, settings, dispatch)
    assert status_of(database, batch_id) is BatchStatus.FINISHED


def test_a_task_that_was_cut_is_tried_again_three_times(
    database: Database, settings: Settings, dispatch: EmptyQueues
) -> None:
    batch_id = planned_by_worker(database, settings, dispatch, forces=("kent",), first=JULY)
    with database.connect(autocommit=True) as connection:
        ends = [cut_month(connection, batch_id=batch_id, force="kent", month=JULY) for _ in range(4)]
    assert [end.next_at is None for end in ends] == [False, False, False, True]
    assert status_of(database, batch_id) is BatchStatus.FINISHED_WITH_FAILURES


def test_a_batch_that_cannot_be_planned_waits_and_then_says_why(
    database: Database, settings: Settings, dispatch: EmptyQueues
) -> None:
    away = settings_for("http://127.0.0.1:9/api", retry_attempts=1, month_retry_hours=1)
    batch_id = planned_by_worker(database, away, dispatch)
    assert status_of(database, batch_id) is BatchStatus.QUEUED
    age(database, 61)
    assert tend_batches(database, away, dispatch).planned_again == 1
    with database.connect(autocommit=True) as connection:
        connection.execute(
            "UPDATE ingest_batch SET asked_for = asked_for || "
            "jsonb_build_object('asked_at', (now() - interval '61 minutes')::text)"
        )
    plan_batch(database, away, dispatch, batch_id)
    with database.connect(autocommit=True) as connection:
        batch = find_batch(connection, batch_id)
    assert (batch.status, batch.error and batch.error["kind"]) == (
        BatchStatus.FINISHED_WITH_FAILURES,
        "source_unavailable",
    )


def test_two_batches_of_the_same_months_bring_each_in_once(
    database: Database, settings: Settings, dispatch: EmptyQueues, standin: RunningStandin
) -> None:
    one = planned_by_worker(database, settings, dispatch)
    two = planned_by_worker(database, settings, dispatch)
    assert len(dispatch.sent) == 24
    work_off(database, settings, dispatch)
    asked = [arrival for arrival in standin.stats.arrivals if arrival.path.endswith("stops-force")]
    assert (len(asked), status_of(database, one), status_of(database, two)) == (
        12,
        BatchStatus.FINISHED,
        BatchStatus.FINISHED,
    )
    assert breaches_of(database) == {}


def test_a_command_that_begins_does_not_take_a_batch_of_workers_for_cut_short(
    database: Database, settings: Settings, dispatch: EmptyQueues
) -> None:
    batch_id = planned_by_worker(database, settings, dispatch)
    with database.connect(autocommit=True) as connection:
        assert end_stale_batches(connection, at=datetime.now(UTC)) == 0
    assert status_of(database, batch_id) is BatchStatus.RUNNING


def test_taken_up_again_while_its_batch_is_being_closed_it_is_still_worked_on(
    database: Database, settings: Settings, dispatch: EmptyQueues
) -> None:
    batch_id = planned_by_worker(database, settings, dispatch, forces=("kent",), first=JULY)
    with (
        database.connect(autocommit=True) as closing,
        database.connect(autocommit=True) as operator,
        database.connect(autocommit=True) as look,
    ):
        operator.execute("UPDATE batch_month SET status = 'failed', ended_at = now()")
        closed: list[BatchStatus | None] = []
        closer = threading.Thread(target=lambda: closed.append(close_if_over(closing, batch_id, at=datetime.now(UTC))))
        with operator.transaction():
            assert reopen_month(operator, batch_id, "kent", JULY, at=datetime.now(UTC))
            closer.start()
            wait_until_locked_out(look, closing)
        closer.join()

    assert closed == [None]
    assert status_of(database, batch_id) is BatchStatus.RUNNING
    work_off(database, settings, dispatch)
    assert status_of(database, batch_id) is BatchStatus.FINISHED


def test_what_its_worker_stored_or_refused_before_it_was_lost_is_settled_as_that(
    database: Database, settings: Settings, dispatch: EmptyQueues
) -> None:
    bad = [make_api_record(type="Swimming search") for _ in range(30)]
    with running_standin({("kent", "2023-07"): RECORDS, ("surrey", "2023-07"): bad}) as standin:
        refusing = settings.model_copy(update={"upstream_url": standin.url, "refuse_min_records": 1})
        batch_id = planned_by_worker(database, refusing, dispatch)
        tasks = [month for _, month in dispatch.sent]
        for month in tasks:
            bring_in_and_die(database, refusing, batch_id, month)
        asked = len(standin.stats.arrivals)
        ends = {month.force: work_on(database, refusing, batch_id, month).status for month in tasks}
        assert len(standin.stats.arrivals) == asked
    assert ends == {"kent": RunStatus.REVISED, "surrey": RunStatus.REFUSED}
    assert status_of(database, batch_id) is BatchStatus.FINISHED_WITH_FAILURES
    assert breaches_of(database) == {}


def test_what_was_stored_by_the_last_delivery_is_not_given_up(
    database: Database, settings: Settings, dispatch: EmptyQueues
) -> None:
    batch_id = planned_by_worker(database, settings, dispatch, forces=("kent",), first=JULY)
    [(_, month)] = dispatch.sent
    dispatch.sent.clear()
    for _ in range(REDELIVERIES):
        deliver_and_die(database, batch_id, "kent", JULY)
    bring_in_and_die(database, settings, batch_id, month)
    age(database, 61)
    tended = tend_batches(database, settings, dispatch)
    assert (tended.abandoned, tended.months_sent) == (0, 1)
    work_off(database, settings, dispatch)
    assert status_of(database, batch_id) is BatchStatus.FINISHED


def test_what_was_stored_while_its_task_was_cut_has_not_failed(
    database: Database, settings: Settings, dispatch: EmptyQueues
) -> None:
    batch_id = planned_by_worker(database, settings, dispatch, forces=("kent",), first=JULY)
    [(_, month)] = dispatch.sent
    with database.connect(autocommit=True) as connection:
        for _ in range(3):
            cut_month(connection, batch_id=batch_id, force="kent", month=JULY)
        bring_in_and_die(database, settings, batch_id, month)
        assert cut_month(connection, batch_id=batch_id, force="kent", month=JULY).status is RunStatus.REVISED
    assert status_of(database, batch_id) is BatchStatus.FINISHED


def test_a_run_whose_task_was_cut_says_so(database: Database, settings: Settings, dispatch: EmptyQueues) -> None:
    batch_id = planned_by_worker(database, settings, dispatch, forces=("kent",), first=JULY)
    deliver_and_die(database, batch_id, "kent", JULY)
    with database.connect(autocommit=True) as connection:
        cut_month(connection, batch_id=batch_id, force="kent", month=JULY)
        runs = connection.execute("SELECT status, error_kind FROM ingest_run").fetchall()
    assert runs == [("failed", "task_cut")]


def test_delivered_twice_it_has_not_failed_however_late_it_is(
    database: Database, settings: Settings, dispatch: EmptyQueues
) -> None:
    hasty = settings.model_copy(update={"month_retry_hours": 0})
    batch_id = planned_by_worker(database, hasty, dispatch, forces=("kent",), first=JULY)
    [(_, month)] = dispatch.sent
    second: list[bool] = []

    def deliver_again() -> None:
        with database.connect(autocommit=True) as first:
            assert try_lock_month(first, force_code(first, "kent"), JULY)
            second.append(work_on(database, hasty, batch_id, month).next_at is not None)

    work_on(database, hasty, batch_id, month, meanwhile=deliver_again)
    assert second == [True]
    assert status_of(database, batch_id) is BatchStatus.FINISHED


@pytest.mark.parametrize(("hours", "status"), [(1, BatchStatus.QUEUED), (0, BatchStatus.FINISHED_WITH_FAILURES)])
def test_a_batch_that_nobody_understands_waits_for_whoever_does_but_not_for_ever(
    database: Database, settings: Settings, dispatch: EmptyQueues, hours: float, status: BatchStatus
) -> None:
    batch_id = queued_for_workers(database, settings, dispatch)
    with database.connect(autocommit=True) as connection:
        connection.execute("""UPDATE ingest_batch SET asked_for = asked_for || '{"source": "a newer one"}'""")
    assert plan_batch(database, settings.model_copy(update={"month_retry_hours": hours}), dispatch, batch_id) == 0
    assert status_of(database, batch_id) is status


def test_a_broker_that_does_not_answer_is_asked_once_a_look_and_not_for_every_batch(
    database: Database, settings: Settings
) -> None:
    away = AwayDispatch()
    for first in ("kent", "surrey", "durham"):
        planned_by_worker(database, settings, away, forces=(first,))  # its months wait to be sent
    for _ in range(3):
        queued_for_workers(database, settings, away)
    age(database, 61)
    away.tries = 0
    assert (tend_batches(database, settings, away).planned_again, away.tries) == (0, 1)


def bring_in_and_die(database: Database, settings: Settings, batch_id: int, month: PlannedMonth) -> None:
    """
    Do what is left of a task whose worker is killed right after its run has ended.
    """
    with database.connect(autocommit=True) as connection:
        claimed = claim_month(connection, batch_id, month.force, month.month)
    assert claimed is not None

    async def bring_in() -> None:
        async with MonthBringer(database, settings, stopping=asyncio.Event()) as bringer:
            await bringer.bring_in(claimed)

    asyncio.run(bring_in())


def wait_until_locked_out(look: Connection, other: Connection) -> None:
    """
    Wait until a statement on another connection waits for a lock.
    """
    until = time.monotonic() + 10
    while time.monotonic() < until:
        row = look.execute(
            "SELECT wait_event_type FROM pg_stat_activity WHERE pid = %s", [other.info.backend_pid]
        ).fetchone()
        if row == ("Lock",):
            return
        time.sleep(0.01)
    raise AssertionError("it waits for no lock")
