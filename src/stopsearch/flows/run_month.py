"""
One task of a worker: bring in, or replay, one force-month of a batch, and say in the ledger how it ended.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from psycopg import Connection

from stopsearch.domain.errors import SourceUnavailable, UpstreamDown
from stopsearch.domain.months import Month
from stopsearch.domain.states import BatchStatus, Cause, RunStatus
from stopsearch.flows.dispatch import REDELIVERIES
from stopsearch.flows.prepare_edition import RefusalLimits
from stopsearch.flows.rebuild_month import Rebuild
from stopsearch.flows.runs import RunReport
from stopsearch.settings import Settings
from stopsearch.store.batch_cancel import drop_cancelled_months, end_lost_runs
from stopsearch.store.batch_months import (
    ClaimedMonth,
    claim_month,
    close_if_over,
    ended_as,
    is_spent,
    leave_month,
    settle_month,
)
from stopsearch.store.batch_reports import find_batch
from stopsearch.store.batch_tending import fail_unended_run
from stopsearch.store.kept_editions import editions_of
from stopsearch.store.ledger import RunOutcome
from stopsearch.store.snapshots import keep_current
from stopsearch.store.statistics import refresh_statistics
from stopsearch.telemetry.events import Event

log = structlog.get_logger()

# Brings one claimed force-month in, or replays it, as a run of its batch.
RunMonth = Callable[[ClaimedMonth], RunReport]

_FIRST_WAIT = timedelta(minutes=1)
_LONGEST_WAIT = timedelta(hours=1)
_CUTS = 3
_BUSY_WAIT = timedelta(seconds=20)
# Twenty minutes of waiting at least: no task takes as long, by its hard limit.
_BUSY_TRIES = 60
# The publisher is left alone for a while: nobody has asked, so it counts as no try.
_DOWN_WAIT = timedelta(seconds=20)


@dataclass(frozen=True, kw_only=True)
class MonthEnd:
    """
    How a task ended: what the run came to, None where there was nothing to do; when it is tried again, if it is; and
    how the batch ended, if this was its last.
    """

    status: RunStatus | None = None
    next_at: datetime | None = None
    batch_status: BatchStatus | None = None
    is_spent: bool = False  # it has ended its worker too often: its task belongs in the dead queue


def run_month(
    connection: Connection,
    settings: Settings,
    run: RunMonth,
    *,
    batch_id: int,
    force: str,
    month: Month,
    is_delivery: bool = True,
) -> MonthEnd:
    """
    Work on one force-month of a batch. Safe to do twice, also at once.

    Args:
        connection: In autocommit: every step is committed before the next.
        run: Does the work. It raises for a database that went away, and for nothing else.
        is_delivery: False where the same delivery is worked on again, after the database was away.

    Raises:
        StoreUnavailable: The database went away. The force-month stays outstanding.
    """
    most = REDELIVERIES + 1
    claimed = claim_month(connection, batch_id, force, month, is_delivery=is_delivery, most_deliveries=most)
    if claimed is None:
        if not is_spent(connection, batch_id, force, month, most_deliveries=most):
            return MonthEnd(batch_status=close_batch(connection, batch_id))
        # Nobody works on it any more; but the last who did may have stored it, and died before it could be settled.
        claimed = claim_month(connection, batch_id, force, month, is_delivery=False)
        if claimed is None or ended_as(connection, claimed) is None:
            return MonthEnd(is_spent=True, batch_status=close_batch(connection, batch_id))
    ended = ended_as(connection, claimed)
    if ended is not None:
        settle_month(connection, claimed, ended, at=_now())
        return MonthEnd(status=ended, batch_status=close_batch(connection, batch_id))
    outcome = run(claimed).outcome
    next_at = next_try(outcome, claimed, now=_now(), retry_for=timedelta(hours=settings.month_retry_hours))
    if next_at is not None:
        is_try = outcome.error_kind == SourceUnavailable.kind or outcome.status is RunStatus.BUSY
        leave_month(connection, claimed, outcome.status, next_at=next_at, is_try=is_try)
        log.info(
            Event.MONTH_LEFT,
            batch_id=batch_id,
            force=force,
            month=str(month),
            reason=outcome.error_kind,
            next_at=next_at.isoformat(),
        )
        return MonthEnd(status=outcome.status, next_at=next_at, batch_status=close_batch(connection, batch_id))
    settle_month(connection, claimed, outcome.status, at=_now())
    return MonthEnd(status=outcome.status, batch_status=close_batch(connection, batch_id))


def cut_month(connection: Connection, *, batch_id: int, force: str, month: Month) -> MonthEnd:
    """
    Leave a force-month whose task took too long; after a few times it has failed.
    """
    claimed = claim_month(connection, batch_id, force, month, is_delivery=False)
    if claimed is None:
        return MonthEnd(batch_status=close_batch(connection, batch_id))
    text = f"{force} {month} took longer than STOPSEARCH_TASK_SOFT_LIMIT_S. The last revision stays."
    fail_unended_run(connection, batch_id, force, month, kind="task_cut", text=text, at=_now())
    ended = ended_as(connection, claimed)  # it may have been stored while its task was being cut
    if ended is None and claimed.tries >= _CUTS:
        ended = RunStatus.FAILED
    if ended is not None:
        settle_month(connection, claimed, ended, at=_now())
        return MonthEnd(status=ended, batch_status=close_batch(connection, batch_id))
    next_at = _now() + _FIRST_WAIT
    leave_month(connection, claimed, RunStatus.CANCELLED, next_at=next_at, is_try=True)
    return MonthEnd(status=RunStatus.FAILED, next_at=next_at, batch_status=close_batch(connection, batch_id))


def next_try(outcome: RunOutcome, claimed: ClaimedMonth, *, now: datetime, retry_for: timedelta) -> datetime | None:
    """
    Decide when a force-month is tried again; None where it has ended: in success, or in what a retry cannot help.

    What was stopped is tried again at once, and what another process writes soon; what the publisher did not answer
    after a minute, then after twice as long each time, up to an hour; and all that until `retry_for` has passed since
    it was planned. Even then what another process writes is waited for as long as any task may take: it may be the same
    task, delivered twice.
    """
    if outcome.status is RunStatus.CANCELLED:
        return now
    is_over = now - claimed.planned_at >= retry_for
    if outcome.status is RunStatus.BUSY and not (is_over and claimed.tries >= _BUSY_TRIES):
        return now + _BUSY_WAIT
    if is_over:
        return None
    if outcome.status is RunStatus.FAILED and outcome.error_kind == UpstreamDown.kind:
        return now + _DOWN_WAIT
    if outcome.status is RunStatus.FAILED and outcome.error_kind == SourceUnavailable.kind:
        return now + min(_LONGEST_WAIT, _FIRST_WAIT * (1 << min(claimed.tries, 10)))
    return None


def replay_month(connection: Connection, settings: Settings, claimed: ClaimedMonth) -> RunReport:
    """
    Replay the open dead letters of a claimed force-month.
    """
    limits = RefusalLimits(share=settings.refuse_share, at_least=settings.refuse_min_records)
    edition = next(e for e in editions_of(connection, claimed.force, claimed.month) if e.is_current)
    return Rebuild(connection, edition, Cause.REPLAY, limits).run(claimed.batch_id)


def close_batch(connection: Connection, batch_id: int) -> BatchStatus | None:
    """
    End a batch if it is over, and keep what is served now as a snapshot that can be cited.

    Of one that is to be cancelled, what nobody works on is over.

    Returns:
        How it ended, if it ended now.
    """
    drop_cancelled_months(connection, batch_id, at=_now())
    status = close_if_over(connection, batch_id, at=_now())
    end_lost_runs(connection, batch_id, at=_now())
    if status is not None:
        refresh_statistics(connection)
        keep_current(connection)
        _tell_end(connection, batch_id)
    return status


def _tell_end(connection: Connection, batch_id: int) -> None:
    batch = find_batch(connection, batch_id)
    seconds = (batch.ended_at - batch.started_at).total_seconds() if batch.ended_at and batch.started_at else 0.0
    bound = structlog.contextvars.get_contextvars()
    structlog.contextvars.clear_contextvars()  # its last force-month is not what it is about
    log.info(
        Event.BATCH_FINISHED,
        batch_id=batch_id,
        status=batch.status,
        runs=sum(batch.runs.values()),
        duration_s=round(seconds, 3),
    )
    structlog.contextvars.bind_contextvars(**bound)


def _now() -> datetime:
    return datetime.now(UTC)
