"""
How each fault is done to a running stack, and how it is undone.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import ExitStack, suppress

import psycopg

from builders.workers import RunningProcess
from chaos.plans import Fault, Kind
from chaos.stack import Stack
from stopsearch.domain.errors import BrokerUnavailable
from stopsearch.domain.months import Month
from stopsearch.flows.asked_batches import AskedIngest
from stopsearch.flows.plan import Wanted
from stopsearch.flows.plan_batch import queue_for_workers, send_batch
from stopsearch.store.batch_months import PlannedMonth
from stopsearch.worker.queues import broker_name

# Ends a fault, after it has lasted as long as the plan says.
Undo = Callable[[], None]

_END_S = 30.0

_CUT_COPIES = """
DO $$
DECLARE
    until timestamptz := clock_timestamp() + make_interval(secs => 12);
    cut integer;
BEGIN
    WHILE clock_timestamp() < until LOOP
        PERFORM pg_stat_clear_snapshot();
        SELECT count(pg_terminate_backend(pid)) INTO cut
        FROM pg_stat_progress_copy JOIN pg_class ON pg_class.oid = relid WHERE relname IN ('stop', 'staged_stop');
        IF cut > 0 THEN
            RETURN;
        END IF;
    END LOOP;
    RAISE EXCEPTION 'no stops were copied';
END $$
"""
_REFUSE_ROWS = (
    "SET lock_timeout = '2s'",
    """
    CREATE FUNCTION refuse_rows() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        RAISE EXCEPTION 'no room' USING ERRCODE = 'disk_full';
    END $$
    """,
    "CREATE TRIGGER refuse_rows BEFORE INSERT ON stop EXECUTE FUNCTION refuse_rows()",
)
_CUT_BACKENDS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
_CLOSE_ALL = "[exit(Pid, kill) || Pid <- rabbit_networking:connections()]"


class NotYet(Exception):
    """
    A fault that can't be done before something has happened.
    """


def inject(stack: Stack, fault: Fault) -> Undo | None:
    """
    Do a fault.

    Returns:
        What ends it, for those that last.

    Raises:
        psycopg.Error, StopSearchError, NotYet: It can't be done now: what it needs is away, or no stops are copied.
    """
    return _ACTS[fault.kind](stack, fault)


def ask_for_all(stack: Stack) -> int:
    """
    Ask for a batch of everything that is listed, as whoever stands outside does.
    """
    database = stack.database()
    batch_id = queue_for_workers(
        database, stack.settings, AskedIngest(wanted=Wanted(recheck=True)), trigger="chaos", requested_by="a trial"
    )
    send_batch(database, stack.dispatch, batch_id)
    return batch_id


def _nothing(_stack: Stack, _fault: Fault) -> None:
    return None


def _kill_worker(stack: Stack, fault: Fault) -> None:
    _chosen(stack, fault).kill()
    stack.run_workers()


def _kill_workers(stack: Stack, _fault: Fault) -> None:
    for worker in stack.workers:
        worker.kill()
    stack.run_workers()


def _kill_process(stack: Stack, fault: Fault) -> None:
    children = _chosen(stack, fault).children
    if children:
        os.kill(children[fault.target // 2 % len(children)], signal.SIGKILL)


def _kill_parent(stack: Stack, fault: Fault) -> Undo:
    worker = _chosen(stack, fault)
    worker.process.kill()
    worker.process.wait(_END_S)
    # What it has forked goes on for as long as the fault lasts; then a new one takes its place.
    return stack.run_workers


def _stop_worker(stack: Stack, fault: Fault) -> None:
    _chosen(stack, fault).terminate(timeout_s=_END_S)
    stack.run_workers()


def _freeze_worker(stack: Stack, fault: Fault) -> Undo:
    return _frozen(_chosen(stack, fault))


def _forget_worker(stack: Stack, fault: Fault) -> Undo:
    thaw = _frozen(_chosen(stack, fault))
    stack.rabbitmq.evaluate(_CLOSE_ALL)
    return thaw


def _close_connections(stack: Stack, _fault: Fault) -> None:
    stack.rabbitmq.evaluate(_CLOSE_ALL)


def _restart_rabbitmq(stack: Stack, _fault: Fault) -> Undo:
    stack.rabbitmq.stop()
    return stack.rabbitmq.start


def _kill_rabbitmq(stack: Stack, _fault: Fault) -> Undo:
    stack.rabbitmq.kill()
    return stack.rabbitmq.start


def _reset_rabbitmq(stack: Stack, _fault: Fault) -> None:
    stack.rabbitmq.reset()


def _lose_redis(stack: Stack, _fault: Fault) -> Undo:
    stack.valkey.kill()
    return stack.valkey.start


def _freeze_redis(stack: Stack, _fault: Fault) -> Undo:
    held = ExitStack()
    held.enter_context(stack.valkey.frozen())
    return held.close


def _restart_postgres(stack: Stack, _fault: Fault) -> Undo:
    stack.postgres.stop()
    return stack.postgres.start


def _kill_postgres(stack: Stack, _fault: Fault) -> Undo:
    stack.postgres.kill()
    return stack.postgres.start


def _cut_copy(stack: Stack, _fault: Fault) -> None:
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        connection.execute(_CUT_COPIES)


def _cut_backends(stack: Stack, _fault: Fault) -> None:
    with psycopg.connect(stack.postgres.url, autocommit=True) as connection:
        connection.execute(_CUT_BACKENDS, [psycopg.conninfo.conninfo_to_dict(stack.database_url)["dbname"]])


def _fill_disk(stack: Stack, fault: Fault) -> Undo:
    held = ExitStack()
    held.enter_context(stack.postgres.full_disk(left_kb=(0, 64, 512)[fault.target % 3]))

    def make_room() -> None:
        held.close()
        stack.postgres.recover()

    return make_room


def _no_room(stack: Stack, _fault: Fault) -> Undo:
    with psycopg.connect(stack.database_url) as connection:
        for statement in _REFUSE_ROWS:
            connection.execute(statement)

    def make_room() -> None:
        with psycopg.connect(stack.database_url, autocommit=True) as connection:
            connection.execute("DROP FUNCTION refuse_rows CASCADE")

    return make_room


def _storm(stack: Stack, fault: Fault) -> None:
    after = (None, 1, 2)[fault.target % 3]
    as_date = after is not None and fault.target % 2 == 0
    stack.standin.faults.storm(retry_after_s=after, as_date=as_date, for_s=fault.lasts_s)


def _upstream_down(stack: Stack, fault: Fault) -> None:
    # Longer than a request is tried for, so that the breaker opens and force-months are left for later.
    lasts_s = 2 * fault.lasts_s
    if fault.target % 3 == 0:
        stack.standin.faults.fail(503, for_s=lasts_s)
    elif fault.target % 3 == 1:
        stack.standin.faults.drop(for_s=lasts_s)
    else:
        stack.standin.faults.hang(3.0, for_s=lasts_s)


def _spoil_answers(stack: Stack, fault: Fault) -> None:
    faults = stack.standin.faults
    (faults.truncate, faults.cut_off, faults.html, faults.drop)[fault.target % 4](times=3, path="/api/stops-force")


def _deliver_twice(stack: Stack, fault: Fault) -> None:
    with stack.database().connect() as connection:
        rows = connection.execute(
            """
            SELECT batch_id, force.id, to_char(month, 'YYYY-MM'), queue, reason
            FROM batch_month JOIN force ON force.code = force_code ORDER BY batch_id, ordinal
            """
        ).fetchall()
    if not rows:
        raise NotYet("nothing is planned")
    at_once = fault.target % 2 == 1
    if at_once:
        for queue in ("daily", "backfill"):
            stack.purge(broker_name(queue))
    with suppress(BrokerUnavailable):
        for batch_id, force, month, queue, reason in rows:
            planned = PlannedMonth(force=force, month=Month.parse(month), queue=queue, reason=reason)
            # At once: side by side, so that two processes take the two; else behind all that wait.
            stack.dispatch.months(batch_id, [planned] * (1 + at_once))
        for batch_id in {row[0] for row in rows}:
            stack.dispatch.plan(batch_id)


def _second_batch(stack: Stack, _fault: Fault) -> None:
    ask_for_all(stack)


def _kill_beat(stack: Stack, _fault: Fault) -> Undo:
    stack.beat.kill()
    return stack.run_workers


def _chosen(stack: Stack, fault: Fault) -> RunningProcess:
    return stack.workers[fault.target % len(stack.workers)]


def _frozen(worker: RunningProcess) -> Undo:
    def signal_all(number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(worker.process.pid, number)

    signal_all(signal.SIGSTOP)
    return lambda: signal_all(signal.SIGCONT)


_ACTS: dict[Kind, Callable[[Stack, Fault], Undo | None]] = {
    Kind.NONE: _nothing,
    Kind.KILL_WORKER: _kill_worker,
    Kind.KILL_WORKERS: _kill_workers,
    Kind.KILL_PROCESS: _kill_process,
    Kind.KILL_PARENT: _kill_parent,
    Kind.STOP_WORKER: _stop_worker,
    Kind.FREEZE_WORKER: _freeze_worker,
    Kind.FORGET_WORKER: _forget_worker,
    Kind.CLOSE_CONNECTIONS: _close_connections,
    Kind.RESTART_RABBITMQ: _restart_rabbitmq,
    Kind.KILL_RABBITMQ: _kill_rabbitmq,
    Kind.RESET_RABBITMQ: _reset_rabbitmq,
    Kind.LOSE_REDIS: _lose_redis,
    Kind.FREEZE_REDIS: _freeze_redis,
    Kind.RESTART_POSTGRES: _restart_postgres,
    Kind.KILL_POSTGRES: _kill_postgres,
    Kind.CUT_COPY: _cut_copy,
    Kind.CUT_BACKENDS: _cut_backends,
    Kind.FILL_DISK: _fill_disk,
    Kind.NO_ROOM: _no_room,
    Kind.STORM: _storm,
    Kind.UPSTREAM_DOWN: _upstream_down,
    Kind.SPOIL_ANSWERS: _spoil_answers,
    Kind.POISON: _nothing,  # it is in the force-month from the beginning
    Kind.DELIVER_TWICE: _deliver_twice,
    Kind.SECOND_BATCH: _second_batch,
    Kind.KILL_BEAT: _kill_beat,
}
