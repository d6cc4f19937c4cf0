"""
The name of every log event, past tense, with the fields that it carries.

No personal detail is ever logged: a rejection's column and rule, never its value.
"""

from __future__ import annotations

from enum import StrEnum


class Event(StrEnum):
    """
    One log event; the comment lists its fields beside those bound to a run (`run_id`, `force`, `month`).
    """

    RUN_FINISHED = "run_finished"  # status revision received stored rejected added withdrawn mended duration_s stages
    RUN_BROKE = "run_broke"  # fault exception (its frames alone): a fault of ours, to be reported
    STORE_RETRIED = "store_retried"  # fault: the transaction met another one, and is tried once more
    ENDING_UNWRITTEN = "ending_unwritten"  # fault: how a run ended is in its report, but not in the ledger
    BATCH_FINISHED = "batch_finished"  # batch_id status runs duration_s
    BATCH_BROKE = "batch_broke"  # batch_id fault exception (its frames alone): a fault of ours, to be reported
    RUNNER_WAITS = "runner_waits"  # fault exception (its frames alone): no batch can run now; it looks again
    REQUEST_RETRIED = "request_retried"  # path attempt wait_s reason
    BREAKER_OPENED = "breaker_opened"  # failures pause_s
    BREAKER_CLOSED = "breaker_closed"  # no field
    MEMBER_REFUSED = "member_refused"  # archive member reason
    SERVER_STARTED = "server_started"  # data_dir version duration_s
    SERVER_STOPPED = "server_stopped"  # data_dir
    SERVER_ADOPTED = "server_adopted"  # data_dir pid
    REQUEST_FAILED = "request_failed"  # path kind status: a request that could not be answered
    REQUEST_BROKE = "request_broke"  # path fault exception (its frames alone): a fault of ours, to be reported
    READER_UNMADE = "reader_unmade"  # reason remedy: reads go without a role that can only read
    CACHE_LEFT = "cache_left"  # fault pause_s: Redis fails, and is left alone for a while
    CACHE_BACK = "cache_back"  # no field
    EXPORT_CUT = "export_cut"  # path reason rows bytes: a stream that its client did not get to its end
    EXPORT_BUILT = "export_built"  # file rows bytes duration_s
    BATCH_PLANNED = "batch_planned"  # batch_id force_months queues: workers have been given what is due
    BATCH_SENT = "batch_sent"  # batch_id: workers are told to plan it
    BATCH_CANCELLED = "batch_cancelled"  # batch_id requested_by
    SCHEDULE_STARTED = "schedule_started"  # schedule due_at batch_id
    SCHEDULE_PUT_OFF = "schedule_put_off"  # schedule due_at reason: its tick is looked at again
    BEAT_STARTED = "beat_started"  # ticks: the names of what it sends
    BEAT_STOPPED = "beat_stopped"  # no field
    TICK_LEFT_OUT = "tick_left_out"  # task: many tasks wait for a worker already
    HOUSE_KEPT = "house_kept"  # bodies ticks duration_s
    MONTH_LEFT = "month_left"  # batch_id reason next_at: a force-month that is tried again later
    MONTH_ABANDONED = "month_abandoned"  # batch_id deliveries: it ended its worker each time, and is dead-lettered
    MONTHS_SENT_AGAIN = "months_sent_again"  # batch_id months: their tasks were lost, or their wait is over
    BROKER_AWAY = "broker_away"  # fault: nothing can be sent now; the ledger remembers
    STORE_AWAY = "store_away"  # fault wait_s: a task waits for the database
    TASK_CUT = "task_cut"  # task reason: its time was over
    WORKER_STARTED = "worker_started"  # queues concurrency
    WORKER_STOPPED = "worker_stopped"  # no field
    LIMITER_FELL_BACK = "limiter_fell_back"  # fault rate_per_second: Redis is away, the database hands out slots
    LIMITER_BACK = "limiter_back"  # no field
    BREAKER_FELL_BACK = "breaker_fell_back"  # fault: Redis is away, each process has a breaker of its own
    BREAKER_BACK = "breaker_back"  # no field
    LIBRARY_SAID = "library_said"  # logger message exception (its frames alone): what Celery and others log
    TASK_BROKE = "task_broke"  # task fault exception (its frames alone): a fault of ours, to be reported
