"""
What a batch is made of: the jobs asked for, the reports of its runs, and who is told how it goes on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import structlog

from stopsearch.domain.months import Month
from stopsearch.domain.published import PublishedMonth
from stopsearch.domain.states import Source
from stopsearch.store.ledger import RunOutcome
from stopsearch.telemetry.events import Event

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Job:
    """
    One force-month to bring in: where from, why, and how to fetch it.
    """

    force: str
    month: Month
    source: Source
    reason: str
    fetch: Callable[[], Awaitable[PublishedMonth]]
    planned_at: datetime | None = None  # a month that was checked since then needs no further look


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """
    How one run ended.
    """

    force: str
    month: Month
    source: Source
    outcome: RunOutcome
    durations_s: dict[str, float] = field(default_factory=dict)


def report_run(
    *, force: str, month: Month, source: Source, outcome: RunOutcome, durations_s: dict[str, float]
) -> RunReport:
    """
    Say how a run ended, in its one log line and in its report.
    """
    log.info(
        Event.RUN_FINISHED,
        status=outcome.status,
        source=source,
        revision=outcome.revision,
        received=outcome.received,
        stored=outcome.stored,
        rejected=outcome.rejected,
        added=outcome.added,
        withdrawn=outcome.withdrawn,
        mended=outcome.mended,
        rejected_by_rule=outcome.rejected_by_rule,
        error_kind=outcome.error_kind,
        duration_s=round(sum(durations_s.values()), 3),
        stages={stage: round(seconds, 4) for stage, seconds in durations_s.items()},
    )
    return RunReport(force=force, month=month, source=source, outcome=outcome, durations_s=dict(durations_s))


class Watcher(Protocol):
    """
    Somebody who is told how a batch goes on; a progress display, say.
    """

    def run_started(self, job: Job) -> None:
        """
        A run has begun.
        """

    def run_finished(self, report: RunReport) -> None:
        """
        A run has ended.
        """


class Unwatched:
    """
    Nobody is told.
    """

    def run_started(self, job: Job) -> None:
        """
        Say nothing.
        """

    def run_finished(self, report: RunReport) -> None:
        """
        Say nothing.
        """
