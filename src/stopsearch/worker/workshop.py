"""
What one process of a worker keeps from task to task, and how a task goes: wait for the database, work, hand on.

Imported in the processes that run tasks, and never in the one that forks them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

import psycopg
import structlog
from celery.exceptions import SoftTimeLimitExceeded
from psycopg import Connection

from stopsearch.domain.errors import ConfigError, SchemaOutOfDate, StopSearchError, StoreUnavailable
from stopsearch.domain.months import Month
from stopsearch.domain.states import RunStatus
from stopsearch.flows.keep_house import keep_house
from stopsearch.flows.month_bringer import MonthBringer
from stopsearch.flows.open_store import open_store
from stopsearch.flows.plan_batch import plan_batch
from stopsearch.flows.run_month import MonthEnd, cut_month, replay_month, run_month
from stopsearch.flows.runs import RunReport
from stopsearch.flows.schedule import start_due
from stopsearch.flows.tend_batches import send_outstanding, tend_batches
from stopsearch.settings import Settings
from stopsearch.store.batch_months import ClaimedMonth
from stopsearch.store.database import Database
from stopsearch.store.troubles import is_store_gone
from stopsearch.telemetry.events import Event
from stopsearch.telemetry.faults import describe_fault
from stopsearch.worker.app import only_send
from stopsearch.worker.dispatch import CeleryDispatch
from stopsearch.worker.shutdown import is_stopping

if TYPE_CHECKING:
    from celery import Celery

log = structlog.get_logger()
_T = TypeVar("_T")

_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 10.0
_LOOK_EVERY_S = 0.2
_SOFTER = 0.95

_made: dict[int, Workshop] = {}


def workshop(app: Celery, settings: Settings) -> Workshop:
    """
    Give this process's workshop, made when first needed.
    """
    if id(app) not in _made:
        _made[id(app)] = Workshop(app, settings)
    return _made[id(app)]


class Workshop:
    """
    The database, the publisher's API and an event loop, kept open; closed and made anew after any trouble.
    """

    def __init__(self, app: Celery, settings: Settings) -> None:
        self._settings = settings
        self._dispatch = CeleryDispatch(only_send(app))
        self._open = ExitStack()
        self._database: Database | None = None
        self._desk: Connection | None = None
        self._runner: asyncio.Runner | None = None
        self._bringer: MonthBringer | None = None
        self._stopping = asyncio.Event()

    def plan(self, batch_id: int) -> int:
        """
        Plan a batch and send its tasks.
        """
        return self._patiently(lambda: plan_batch(self.database, self._settings, self._dispatch, batch_id)) or 0

    def bring_in(self, batch_id: int, force: str, month: Month) -> MonthEnd | None:
        """
        Bring one force-month of a batch in.
        """
        return self._work_on(batch_id, force, month, self._bring_in)

    def replay(self, batch_id: int, force: str, month: Month) -> MonthEnd | None:
        """
        Replay the dead letters of one force-month of a batch.
        """

        def replay(claimed: ClaimedMonth) -> RunReport:
            return replay_month(self.desk, self._settings, claimed)

        return self._work_on(batch_id, force, month, replay)

    def tend(self) -> None:
        """
        Look after the batches of workers.
        """
        self._patiently(lambda: tend_batches(self.database, self._settings, self._dispatch))

    def start_due(self) -> None:
        """
        Start what the schedule says is due.
        """
        self._patiently(lambda: start_due(self.database, self._settings, self._dispatch))

    def keep_house(self) -> None:
        """
        Throw away what may go.
        """
        self._patiently(lambda: keep_house(self.database, self._settings))

    @property
    def database(self) -> Database:
        """
        Give the database, opened when first asked for.
        """
        if self._database is None:
            with _refused_as_away():
                self._database = self._open.enter_context(open_store(self._settings))
        return self._database

    @property
    def desk(self) -> Connection:
        """
        Give the connection for the ledger of tasks, in autocommit.
        """
        if self._desk is None:
            with _refused_as_away():
                self._desk = self.database.connect(autocommit=True, application_name="stopsearch worker")
            self._open.callback(self._desk.close)
        return self._desk

    def close(self) -> None:
        """
        Close everything; what is needed next is opened anew.
        """
        runner, bringer = self._runner, self._bringer
        self._runner = self._bringer = self._database = self._desk = None
        opened, self._open = self._open, ExitStack()
        with opened, suppress(StopSearchError, psycopg.Error):  # what is closed after trouble may be in trouble
            if runner is not None:
                opened.callback(runner.close)
                if bringer is not None:
                    runner.run(bringer.__aexit__(None, None, None))

    def _work_on(
        self, batch_id: int, force: str, month: Month, run: Callable[[ClaimedMonth], RunReport]
    ) -> MonthEnd | None:
        is_delivery = True

        def work() -> MonthEnd:
            nonlocal is_delivery
            is_first, is_delivery = is_delivery, False
            return run_month(
                self.desk,
                self._settings,
                run,
                batch_id=batch_id,
                force=force,
                month=month,
                is_delivery=is_first,
            )

        with structlog.contextvars.bound_contextvars(batch_id=batch_id, force=force, month=str(month)):
            try:
                end = self._patiently(work)
            except (SoftTimeLimitExceeded, TimeoutError):
                log.warning(Event.TASK_CUT, reason="it took longer than STOPSEARCH_TASK_SOFT_LIMIT_S")
                self.close()
                return self._patiently(lambda: cut_month(self.desk, batch_id=batch_id, force=force, month=month))
            if end is not None and end.status is RunStatus.CANCELLED:
                self._hand_on(batch_id)
        return end

    def _bring_in(self, claimed: ClaimedMonth) -> RunReport:
        if self._runner is None:
            self._runner = asyncio.Runner()
            self._stopping = asyncio.Event()  # one serves the loop alone in which it was first waited for
        return self._runner.run(self._bring_in_until_stopped(claimed))

    async def _bring_in_until_stopped(self, claimed: ClaimedMonth) -> RunReport:
        if self._bringer is None:
            self._bringer = await MonthBringer(self.database, self._settings, stopping=self._stopping).__aenter__()
        watch = asyncio.ensure_future(self._watch_for_the_end())
        try:
            # Before Celery's own limit, whose error might come up anywhere.
            async with asyncio.timeout(self._settings.task_soft_limit_s * _SOFTER):
                return await self._bringer.bring_in(claimed)
        finally:
            watch.cancel()

    async def _watch_for_the_end(self) -> None:
        while not is_stopping():
            await asyncio.sleep(_LOOK_EVERY_S)
        self._stopping.set()

    def _hand_on(self, batch_id: int) -> None:
        """
        Send what this worker leaves at its end to the others.
        """
        self._patiently(lambda: send_outstanding(self.database, self._dispatch, batch_id))

    def _patiently(self, step: Callable[[], _T]) -> _T | None:
        """
        Do a step, again and again while the database is away: the task is kept, and so nobody else waits for it too.

        Returns:
            None where the worker is told to stop meanwhile: the ledger remembers what is outstanding.
        """
        wait_s = _FIRST_WAIT_S
        while True:
            try:
                return step()
            except (StoreUnavailable, psycopg.Error) as error:
                if isinstance(error, psycopg.Error) and not is_store_gone(error):
                    raise
                self.close()
                log.warning(Event.STORE_AWAY, fault=describe_fault(error), wait_s=wait_s)
            until = time.monotonic() + wait_s
            while time.monotonic() < until:
                if is_stopping():
                    return None
                time.sleep(_LOOK_EVERY_S)
            wait_s = min(_LONGEST_WAIT_S, 2 * wait_s)


@contextmanager
def _refused_as_away() -> Iterator[None]:
    """
    Take a database that refuses this worker, or has tables of another version, for one that is away.

    Other workers may be well: one that failed its tasks at once would use up theirs, faster than they do them.
    """
    try:
        yield
    except (ConfigError, SchemaOutOfDate) as error:
        raise StoreUnavailable(error.message, remedy=error.remedy) from error
