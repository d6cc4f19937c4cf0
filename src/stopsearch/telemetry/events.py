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
