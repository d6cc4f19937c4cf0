"""
Bring force-months in: fetch, keep, prepare and store, several on their way at once, each one whole or not at all.

Fetching waits in asyncio; preparing runs in one thread and storing in another, so that the next force-month is
decoded and cleaned while the server works on the last one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import psycopg
import structlog
from psycopg import Connection

from stopsearch.domain.errors import (
    BodyGone,
    MonthNotPublished,
    MonthRefused,
    RunAlreadyActive,
    StopSearchError,
    StoreUnavailable,
)
from stopsearch.domain.published import PublishedMonth
from stopsearch.domain.states import MonthState, RunStatus, Shape, Source
from stopsearch.flows.desk import Desk
from stopsearch.flows.prepare_edition import Prepared, RefusalLimits, Stopwatch, prepare_edition
from stopsearch.flows.run_troubles import understood
from stopsearch.flows.runs import Job, RunReport, Unwatched, Watcher, report_run
from stopsearch.flows.write_prepared import write_prepared
from stopsearch.flows.writers import Writers
from stopsearch.store.bodies import compress, read_body
from stopsearch.store.database import Database
from stopsearch.store.edition import KeptBody
from stopsearch.store.forces import force_code
from stopsearch.store.ledger import (
    RunOutcome,
    begin_run,
    finish_run,
    keep_fetched,
    unfinished_fetch,
)
from stopsearch.store.locks import try_lock_month, unlock_month
from stopsearch.store.operations import operation_codes
from stopsearch.store.releases import Held, look, note_state
from stopsearch.store.statistics import refresh_statistics
from stopsearch.store.streets import StreetBook
from stopsearch.store.troubles import is_passing, is_store_gone, store_gone
from stopsearch.telemetry.events import Event
from stopsearch.telemetry.faults import describe_fault

_T = TypeVar("_T")
log = structlog.get_logger()

# A body that a killed run left is used by the next one while it is younger than this: older, it is fetched again.
_UNFINISHED_FOR = timedelta(hours=24)
_BUSY_TRIES = 3
_WRITERS = 2
_BUSY_WAIT_S = 2.0


class BringIn:
    """
    Brings jobs in. Use as a context manager: it holds its connections and threads.

    Args:
        in_flight: How many force-months may be on their way at once, which bounds the memory.
        limits: When a whole month is refused.
        stopping: Set it to take no further job and drop those that are still being fetched.
        writers: How many force-months may be stored at the same time.
    """

    def __init__(
        self,
        database: Database,
        *,
        in_flight: int,
        limits: RefusalLimits,
        watcher: Watcher | None = None,
        stopping: asyncio.Event | None = None,
        writers: int = _WRITERS,
    ) -> None:
        self._in_flight = in_flight
        self._limits = limits
        self._watcher = watcher or Unwatched()
        self._stopping = stopping or asyncio.Event()
        self._revised = 0
        self._desk = Desk(database)  # locks, looks and ledger
        self._writers = Writers(database, writers)
        self._preparing = ThreadPoolExecutor(1, thread_name_prefix="prepare")
        self._storing = ThreadPoolExecutor(writers, thread_name_prefix="store")

    def __enter__(self) -> BringIn:
        return self

    def __exit__(self, *_: object) -> None:
        self._preparing.shutdown(cancel_futures=True)
        self._storing.shutdown()
        self._writers.close()
        self._desk.close()

    async def bring_in(self, jobs: Iterable[Job], *, batch_id: int) -> list[RunReport]:
        """
        Bring every job in; a job whose force-month is busy is queued again, a few times.

        Args:
            batch_id: The batch that the runs belong to.

        Returns:
            One report a job that was begun. A failing force-month harms only itself.

        Raises:
            StoreUnavailable: The database went away.
        """
        reports: list[RunReport] = []
        waiting = list(jobs)
        for attempt in range(1, _BUSY_TRIES + 1):
            busy: list[Job] = []
            queue = iter(waiting)
            is_last = attempt == _BUSY_TRIES
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(self._in_flight, len(waiting))):
                        group.create_task(self._work(batch_id, queue, reports, busy, is_last=is_last))
            except ExceptionGroup as errors:
                raise errors.exceptions[0] from errors  # all of them lost the same database: one error says so
            if not busy or self._stopping.is_set():
                break
            waiting = busy
            await asyncio.sleep(_BUSY_WAIT_S * attempt)
        return reports

    async def _work(
        self, batch_id: int, queue: Iterator[Job], reports: list[RunReport], busy: list[Job], *, is_last: bool
    ) -> None:
        for job in queue:
            if self._stopping.is_set():
                return
            report = await self.run(job, batch_id=batch_id)
            if report.outcome.status is RunStatus.BUSY and not is_last:
                busy.append(job)
                continue
            reports.append(report)
            self._watcher.run_finished(report)

    async def run(self, job: Job, *, batch_id: int) -> RunReport:
        """
        Bring one force-month in, and say how it ended: in the ledger, in one log line, and in the report.

        Raises:
            StoreUnavailable: The database went away.
        """
        watch = Stopwatch()
        code = run_id = None
        is_locked = False
        with structlog.contextvars.bound_contextvars(force=job.force, month=str(job.month)):
            try:
                code = await self._ask(lambda desk: force_code(desk, job.force))
                is_locked = await self._try_lock(job, code)
                run_id = await self._begin(job, code, batch_id)
                if is_locked:
                    structlog.contextvars.bind_contextvars(run_id=run_id)
                    self._watcher.run_started(job)
                    outcome = await self._bring_one_in(job, code, run_id, watch)
                    await self._keep_statistics(outcome)
                else:
                    outcome = _busy(job)
                    await self._finish(run_id, outcome, watch)
            except _Stopped:
                outcome = RunOutcome(
                    status=RunStatus.CANCELLED, error_kind="cancelled", error_text="Stopped before it was stored."
                )
                await self._finish(run_id, outcome, watch)
            except StoreUnavailable:
                raise
            except Exception as error:  # one force-month must never harm the others, whatever is wrong with it
                if is_store_gone(error):
                    raise store_gone(error) from error
                outcome = await self._note_trouble(job, code, run_id, understood(error), watch)
            finally:
                structlog.contextvars.unbind_contextvars("run_id")
                if is_locked and code is not None:
                    await self._unlock(job, code)
            return self._report(job, outcome, watch)

    async def _try_lock(self, job: Job, code: int) -> bool:
        return await self._ask(lambda desk: try_lock_month(desk, code, job.month))

    async def _unlock(self, job: Job, code: int) -> None:
        await self._ask_in_passing(lambda desk: unlock_month(desk, code, job.month))

    async def _begin(self, job: Job, code: int, batch_id: int) -> int:
        return await self._ask(
            lambda desk: begin_run(
                desk, batch_id=batch_id, force_code=code, month=job.month, source=job.source, at=_now()
            )
        )

    async def _bring_one_in(self, job: Job, code: int, run_id: int, watch: Stopwatch) -> RunOutcome:
        held = await self._ask(lambda desk: look(desk, job.force, job.month))
        if job.planned_at is not None and held.checked_at is not None and held.checked_at > job.planned_at:
            # Another command brought it in between the plan and the lock: to ask again would ask for what is held.
            outcome = RunOutcome(status=RunStatus.UNCHANGED, revision=held.revision)
            await self._finish(run_id, outcome, watch)
            return outcome
        with watch.stage("fetch"):
            unfinished = await self._unfinished(job, code, run_id)
            published = unfinished if unfinished is not None else await self._unless_stopping(job.fetch())
        body = await self._keep(published, run_id, watch) if published.source is Source.API else None
        loop = asyncio.get_running_loop()
        prepared = await loop.run_in_executor(
            self._preparing,
            lambda: prepare_edition(
                published,
                held,
                limits=self._limits,
                compress=lambda published: body or compress(published),
                name_operations=lambda names: self._desk.call(lambda desk: operation_codes(desk, names)),
                watch=watch,
            ),
        )

        def store(streets: StreetBook | None = None) -> RunOutcome:
            return self._store(published, prepared, held, run_id=run_id, watch=watch, streets=streets)

        try:
            return await loop.run_in_executor(self._storing, store)
        except psycopg.Error as error:
            if not is_passing(error):
                raise
            log.warning(Event.STORE_RETRIED, fault=describe_fault(error))
            # The writer's own book takes the streets that went with the failed transaction for kept.
            return await loop.run_in_executor(self._storing, store, StreetBook())

    async def _keep(self, published: PublishedMonth, run_id: int, watch: Stopwatch) -> KeptBody:
        """
        Keep what the publisher sent, as it came, before anything can go wrong with it.
        """
        with watch.stage("keep"):
            body = await asyncio.to_thread(compress, published)
            await self._ask(
                lambda desk: keep_fetched(
                    desk,
                    run_id,
                    body,
                    fetched_at=published.fetched_at,
                    published_at=published.published_at,
                    origin=published.origin,
                )
            )
        return body

    def _store(
        self,
        published: PublishedMonth,
        prepared: Prepared,
        held: Held,
        *,
        run_id: int,
        watch: Stopwatch,
        streets: StreetBook | None,
    ) -> RunOutcome:
        with self._writers.lend() as writer, watch.stage("store"), writer.connection.transaction():
            outcome = write_prepared(
                writer.connection, published, prepared, held, run_id=run_id, streets=streets or writer.streets
            )
            finish_run(writer.connection, run_id, outcome, durations_s=watch.seconds, at=_now())
        return outcome

    async def _unfinished(self, job: Job, code: int, run_id: int) -> PublishedMonth | None:
        """
        Give what an earlier run fetched and could not use, so that nothing is downloaded twice.
        """
        if job.source is not Source.API:
            return None
        since = _now() - _UNFINISHED_FOR
        left = await self._ask(lambda desk: unfinished_fetch(desk, code, job.month, before_run=run_id, since=since))
        if left is None:
            return None
        digest, fetched_at, origin = left
        try:
            body, kept = await self._ask(lambda desk: read_body(desk, digest))
        except BodyGone:  # pruned since: it is fetched again
            return None
        return PublishedMonth(
            force=job.force,
            month=job.month,
            shape=Shape(kept.shape),
            source=Source.API,
            origin=origin,
            body=body,
            fetched_at=fetched_at,
            published_at=fetched_at,
        )

    async def _keep_statistics(self, outcome: RunOutcome) -> None:
        """
        Look after the planner's statistics each time that as much again has been stored.
        """
        if outcome.status is not RunStatus.REVISED:
            return
        self._revised += 1
        if self._revised.bit_count() == 1:
            await self._ask_in_passing(refresh_statistics)

    async def _unless_stopping(self, fetching: Awaitable[_T]) -> _T:
        """
        Wait for a fetch, and drop it when the batch is told to stop.
        """
        fetch = asyncio.ensure_future(fetching)
        stop = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({fetch, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not fetch.done():
                raise _Stopped
            return fetch.result()
        finally:
            fetch.cancel()
            stop.cancel()

    async def _note_trouble(
        self, job: Job, code: int | None, run_id: int | None, error: StopSearchError, watch: Stopwatch
    ) -> RunOutcome:
        status, state = RunStatus.FAILED, MonthState.FAILED
        if isinstance(error, MonthRefused):
            status, state = RunStatus.REFUSED, MonthState.REFUSED
        if isinstance(error, RunAlreadyActive):
            status = RunStatus.BUSY
        outcome = RunOutcome(status=status, error_kind=error.kind, error_text=str(error))
        if code is not None and status is not RunStatus.BUSY and not isinstance(error, MonthNotPublished):
            of_force: int = code
            await self._ask_in_passing(
                lambda desk: note_state(desk, of_force, job.month, state, at=_now(), is_look=job.source is Source.API)
            )
        await self._finish(run_id, outcome, watch)
        return outcome

    async def _finish(self, run_id: int | None, outcome: RunOutcome, watch: Stopwatch) -> None:
        if run_id is not None:
            run = run_id
            await self._ask_in_passing(
                lambda desk: finish_run(desk, run, outcome, durations_s=watch.seconds, at=_now())
            )

    async def _ask_in_passing(self, question: Callable[[Connection], object]) -> None:
        """
        Ask what must not end the batch: only a lost database does. A batch's end closes runs that were left open.
        """
        try:
            await self._ask(question)
        except psycopg.Error as error:
            log.warning(Event.ENDING_UNWRITTEN, fault=describe_fault(error))

    async def _ask(self, question: Callable[[Connection], _T]) -> _T:
        try:
            return await asyncio.to_thread(self._desk.call, question)
        except psycopg.Error as error:
            if is_store_gone(error):
                raise store_gone(error) from error
            raise

    def _report(self, job: Job, outcome: RunOutcome, watch: Stopwatch) -> RunReport:
        return report_run(
            force=job.force, month=job.month, source=job.source, outcome=outcome, durations_s=watch.seconds
        )


class _Stopped(Exception):
    """
    The batch was told to stop while this run was still being fetched.
    """


def _busy(job: Job) -> RunOutcome:
    return RunOutcome(
        status=RunStatus.BUSY,
        error_kind=RunAlreadyActive.kind,
        error_text=f"{job.force} {job.month} is being brought in by another process.",
    )


def _now() -> datetime:
    return datetime.now(UTC)
