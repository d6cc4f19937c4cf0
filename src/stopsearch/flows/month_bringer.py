"""
What one process of a worker keeps open for months: the publisher's API, its limits, and the connections it stores on.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from types import TracebackType

from stopsearch.domain.states import Source
from stopsearch.flows.bring_in import BringIn
from stopsearch.flows.call_limits import call_limits
from stopsearch.flows.prepare_edition import RefusalLimits
from stopsearch.flows.runs import Job, RunReport
from stopsearch.settings import Settings
from stopsearch.source.api import PoliceApi
from stopsearch.store.batch_months import ClaimedMonth
from stopsearch.store.database import Database


class MonthBringer:
    """
    Brings force-months in that were claimed, one at a time, over connections that are kept.

    Use as an async context manager. After an error it is closed and made anew.

    Args:
        stopping: Set it to drop a force-month that is still being fetched; what is being stored is finished.
    """

    def __init__(self, database: Database, settings: Settings, *, stopping: asyncio.Event) -> None:
        self._database = database
        self._settings = settings
        self._stopping = stopping
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> MonthBringer:
        settings = self._settings
        async with AsyncExitStack() as stack:  # what was opened is closed again should the rest not open
            limits = await stack.enter_async_context(call_limits(self._database, settings))
            self._api = await stack.enter_async_context(
                PoliceApi.from_settings(settings, limiter=limits.limiter, breaker=limits.breaker)
            )
            self._bringing = stack.enter_context(
                BringIn(
                    self._database,
                    in_flight=1,
                    writers=1,
                    limits=RefusalLimits(share=settings.refuse_share, at_least=settings.refuse_min_records),
                    stopping=self._stopping,
                )
            )
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def bring_in(self, claimed: ClaimedMonth) -> RunReport:
        """
        Bring one claimed force-month in, as a run of its batch.

        Raises:
            StoreUnavailable: The database went away.
        """
        job = Job(
            force=claimed.force,
            month=claimed.month,
            source=Source.API,
            reason=claimed.reason,
            planned_at=claimed.planned_at,
            fetch=lambda: self._api.fetch_month(claimed.force, claimed.month),
        )
        return await self._bringing.run(job, batch_id=claimed.batch_id)
