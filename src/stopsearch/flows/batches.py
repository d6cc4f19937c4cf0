"""
A batch: the runs that one trigger asked for, from its ledger entry to its report.
"""

from __future__ import annotations

import asyncio
import getpass
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import psycopg
import structlog

from stopsearch.domain.errors import RunAlreadyActive, SourceError, StopSearchError
from stopsearch.domain.months import Month
from stopsearch.domain.states import BatchStatus, RunStatus
from stopsearch.flows.bring_in import BringIn
from stopsearch.flows.plan import DueMonth, Wanted
from stopsearch.flows.prepare_edition import RefusalLimits
from stopsearch.flows.runs import Job, RunReport, Watcher
from stopsearch.settings import Settings
from stopsearch.source.api import Traffic
from stopsearch.store.batch_cancel import cancel_asked_by
from stopsearch.store.batch_queue import SettledRun, claim_entry, settled_runs
from stopsearch.store.database import Database
from stopsearch.store.ledger import begin_batch, end_batch, end_stale_batches, note_asked, note_refused
from stopsearch.store.snapshots import keep_current
from stopsearch.store.statistics import refresh_statistics
from stopsearch.store.troubles import store_gone
from stopsearch.telemetry.events import Event

log = structlog.get_logger()

_WENT_WRONG = (RunStatus.FAILED, RunStatus.REFUSED, RunStatus.BUSY)
# How often a batch looks whether somebody asks for its end.
_LOOK_EVERY_S = 1.0


@dataclass(frozen=True, kw_only=True)
class BatchReport:
    """
    How a batch ended. `batch_id` is None where nothing was due, so that there was no batch.
    """

    batch_id: int | None
    status: BatchStatus
    due: list[DueMonth]
    runs: list[RunReport] = field(default_factory=list)
    refusals: list[SourceError] = field(default_factory=list)  # archives and members that were refused by name
    traffic: Traffic | None = None
    duration_s: float = 0.0
    cancelled_by: str | None = None  # who asked for its end in the ledger, where it has ended for that
    force_months: int | None = None  # of how many it is, where `due` does not list them

    @property
    def left(self) -> int:
        """
        Count the force-months that it was about and has not done.
        """
        total = len(self.due) if self.force_months is None else self.force_months
        return max(0, total - self.count(*(status for status in RunStatus if status is not RunStatus.CANCELLED)))

    def count(self, *statuses: RunStatus) -> int:
        """
        Count the runs that ended in one of some ways.
        """
        return sum(run.outcome.status in statuses for run in self.runs)


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """
    What started a batch, and for whom.
    """

    name: str
    requested_by: str = field(default_factory=lambda: f"{_user()}@{socket.gethostname()}")


class Batch:
    """
    One batch's ledger entry, from its beginning to its end, whatever happens between.

    Args:
        queued_id: The batch that was queued, to be taken over in place of a new one: cut short, it goes back among
            those that wait, and what of it has settled is not done again.

    Raises:
        RunAlreadyActive: The queued batch was taken over by another process.
    """

    def __init__(
        self, database: Database, trigger: Trigger, asked_for: dict[str, Any], *, queued_id: int | None = None
    ) -> None:
        self._database = database
        self._connection = database.connect(autocommit=True)
        self.status = BatchStatus.CANCELLED if queued_id is None else BatchStatus.QUEUED
        self._settled: list[SettledRun] = []
        self._is_settled: set[tuple[str, Month, str | None]] = set()
        self._has_refusals = False
        self._cancelled_by: str | None = None
        try:
            end_stale_batches(self._connection, at=datetime.now(UTC))
            if queued_id is None:
                self.id = begin_batch(
                    self._connection,
                    trigger=trigger.name,
                    requested_by=trigger.requested_by,
                    asked_for=asked_for,
                    at=datetime.now(UTC),
                )
            else:
                self.id = queued_id
                self._take_over()
        except BaseException:  # whatever ended it: a batch that did not begin holds no connection
            self._connection.close()
            raise

    def __enter__(self) -> Batch:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.status = end_batch(self._connection, self.id, self.status, at=datetime.now(UTC))
            refresh_statistics(self._connection)
            keep_current(self._connection)  # with the states that this batch left, so that it can be cited
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            raise store_gone(error) from error  # the next batch finds this one cut short, and says so
        finally:
            self._connection.close()

    def _take_over(self) -> None:
        if not claim_entry(self._connection, self.id, at=datetime.now(UTC)):
            raise RunAlreadyActive(
                f"Batch {self.id} is run by another process, or has ended.", remedy="Look at how it goes on."
            )
        self._settled = settled_runs(self._connection, self.id)
        for run in self._settled:
            self._is_settled |= {(run.force, run.month, None), (run.force, run.month, run.origin)}

    def is_settled(self, force: str, month: Month, *, origin: str | None = None) -> bool:
        """
        Tell whether a force-month, or that of one origin, ended in this batch before it was cut short.
        """
        return (force, month, origin) in self._is_settled

    def expect(self, force_months: int) -> None:
        """
        Note how many force-months the batch is about: those that have settled, and those still to be brought in.
        """
        note_asked(self._connection, self.id, {"force_months": len(self._settled) + force_months})

    def fail(self, error: StopSearchError) -> None:
        """
        Note what ended the batch as a whole, as an unreachable publisher does.
        """
        note_asked(self._connection, self.id, {"error": {"kind": error.kind, "text": str(error)}})
        self.status = BatchStatus.FINISHED_WITH_FAILURES

    def refuse(self, refusals: Sequence[SourceError]) -> None:
        """
        Note in the ledger which files were refused by name: the batch ends with failures.
        """
        if refusals:
            self._has_refusals = True
            note_refused(self._connection, self.id, [str(refusal) for refusal in refusals])

    def is_cancelled(self) -> bool:
        """
        Look in the ledger whether somebody asks for the end of this batch. From any thread.
        """
        if self._cancelled_by is None:
            self._cancelled_by = cancel_asked_by(self._connection, self.id)
        return self._cancelled_by is not None

    @property
    def cancelled_by(self) -> str | None:
        """
        Tell who asked for its end, where it has ended for that.
        """
        return self._cancelled_by if self.status is BatchStatus.CANCELLED else None

    @asynccontextmanager
    async def stopped_or_cancelled(self, stopping: asyncio.Event | None) -> AsyncIterator[asyncio.Event]:
        """
        Give what to stop the batch by: it is set once `stopping` is, and once somebody asks for its end in the ledger.
        """
        stop = asyncio.Event()
        watches = [asyncio.ensure_future(self._watch_ledger(stop))]
        if stopping is not None:
            if stopping.is_set():
                stop.set()
            watches.append(asyncio.ensure_future(_pass_on(stopping, stop)))
        try:
            yield stop
        finally:
            for watch in watches:
                watch.cancel()
            # A look may still be under way in its thread; the connection lets in one statement at a time.
            await asyncio.gather(*watches, return_exceptions=True)

    async def _watch_ledger(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                if await asyncio.to_thread(self.is_cancelled):
                    stop.set()
                    return
            except psycopg.Error:  # the batch's own work meets it too, and says so
                return
            await asyncio.sleep(_LOOK_EVERY_S)

    async def bring_in(
        self,
        groups: Sequence[Sequence[Job]],
        *,
        in_flight: int,
        settings: Settings,
        watcher: Watcher | None,
        stopping: asyncio.Event | None,
    ) -> list[RunReport]:
        """
        Bring groups of jobs in, one group after another.
        """
        limits = RefusalLimits(share=settings.refuse_share, at_least=settings.refuse_min_records)
        runs: list[RunReport] = []
        async with self.stopped_or_cancelled(stopping) as stop:
            with BringIn(
                self._database,
                in_flight=in_flight,
                limits=limits,
                watcher=watcher,
                stopping=stop,
            ) as bringing:
                for jobs in groups:
                    if not stop.is_set():
                        runs += await bringing.bring_in(jobs, batch_id=self.id)
            if not stop.is_set():
                self.finish(runs)
        return runs

    def finish(self, runs: Sequence[RunReport]) -> None:
        """
        Say that every run has ended; a batch that never says so is cancelled, or queued again.
        """
        ended = [*(run.status for run in self._settled), *(run.outcome.status for run in runs)]
        went_wrong = self._has_refusals or any(status in _WENT_WRONG for status in ended)
        self.status = BatchStatus.FINISHED_WITH_FAILURES if went_wrong else BatchStatus.FINISHED

    def report(
        self,
        *,
        due: list[DueMonth],
        runs: list[RunReport],
        refusals: list[SourceError],
        traffic: Traffic | None,
        since: float,
    ) -> BatchReport:
        """
        Say how the batch ended, also in one closing log line.
        """
        duration_s = time.monotonic() - since
        log.info(
            Event.BATCH_FINISHED,
            batch_id=self.id,
            status=self.status,
            runs=len(runs),
            duration_s=round(duration_s, 3),
        )
        return BatchReport(
            batch_id=self.id,
            status=self.status,
            due=due,
            runs=runs,
            refusals=refusals,
            traffic=traffic,
            duration_s=duration_s,
            cancelled_by=self.cancelled_by,
        )


async def _pass_on(stopping: asyncio.Event, stop: asyncio.Event) -> None:
    await stopping.wait()
    stop.set()


def begun(
    database: Database, trigger: Trigger, asked_for: dict[str, Any], batch: Batch | None, *, force_months: int
) -> AbstractContextManager[Batch]:
    """
    Begin a batch; or go on with one that was taken over, which whoever took it over ends.
    """
    if batch is None:
        return Batch(database, trigger, asked_for)
    batch.expect(force_months)
    return nullcontext(batch)


def as_asked(wanted: Wanted) -> dict[str, Any]:
    """
    Write down what was asked for, for the batch's ledger entry.
    """
    return {
        "forces": list(wanted.forces),
        "from": str(wanted.first) if wanted.first else None,
        "to": str(wanted.last) if wanted.last else None,
        "recheck": wanted.recheck,
    }


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as containers have
        return "unknown"
