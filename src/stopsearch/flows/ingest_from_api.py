"""
Bring in from the publisher's API what is due, and nothing else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from stopsearch.domain.errors import SourceError, UpstreamDown
from stopsearch.domain.months import Month
from stopsearch.domain.published import Availability, PublishedMonth
from stopsearch.domain.states import BatchStatus, Source
from stopsearch.flows.batches import Batch, BatchReport, Trigger, as_asked, begun
from stopsearch.flows.call_limits import call_limits
from stopsearch.flows.plan import DueMonth, RecheckAfter, Wanted, check_wanted, due_months
from stopsearch.flows.runs import Job, Watcher
from stopsearch.settings import Settings
from stopsearch.source.api import PoliceApi
from stopsearch.store.database import Database
from stopsearch.store.forces import any_unnamed, known_forces, name_forces
from stopsearch.store.known_months import known_months
from stopsearch.store.releases import record_listing


async def plan_from_api(
    database: Database, settings: Settings, wanted: Wanted, *, record: bool = True
) -> tuple[Availability, list[DueMonth]]:
    """
    Ask the publisher what it lists, record it, and say what is due of it.

    Args:
        record: Whether what it lists is recorded; else nothing is written but when the next slot falls due.

    Raises:
        SourceError: The publisher can't be asked.
        RequestError: What was asked for can't be meant.
    """
    async with (
        call_limits(database, settings) as limits,
        PoliceApi.from_settings(settings, limiter=limits.limiter, breaker=limits.breaker) as api,
    ):
        return await _plan(database, settings, wanted, api, record=record)


async def ingest_from_api(
    database: Database,
    settings: Settings,
    wanted: Wanted,
    *,
    trigger: Trigger,
    batch: Batch | None = None,
    watcher: Callable[[list[DueMonth], PoliceApi], Watcher] | None = None,
    stopping: asyncio.Event | None = None,
) -> BatchReport:
    """
    Bring in the force-months that are due of what was asked for, and nothing else.

    Args:
        batch: One that was queued and is run now: the runs are its, and what has settled in it is not due again.
        watcher: Makes whoever is told how it goes on, once it is known what is due.
        stopping: Set it to end cleanly: what is being stored is finished, the next call goes on from there.
    """
    started = time.monotonic()
    async with (
        call_limits(database, settings) as limits,
        PoliceApi.from_settings(settings, limiter=limits.limiter, breaker=limits.breaker) as api,
    ):
        planned_at = datetime.now(UTC)
        availability, due = await _plan(database, settings, wanted, api)
        if batch is not None:
            due = [month for month in due if not batch.is_settled(month.force, month.month)]
        if not due:
            return BatchReport(
                batch_id=batch.id if batch else None, status=BatchStatus.FINISHED, due=[], traffic=api.traffic
            )
        window = (availability.months[0], availability.months[-1])
        patience = _Patience(api, limit_s=settings.retry_time_s)
        jobs = [
            Job(
                force=month.force,
                month=month.month,
                source=Source.API,
                reason=month.reason,
                planned_at=planned_at,
                fetch=lambda month=month: patience.fetch(month, window),  # type: ignore[misc]  # bound now
            )
            for month in due
        ]
        asked_for = {**as_asked(wanted), "source": "api", "force_months": len(due)}
        with begun(database, trigger, asked_for, batch, force_months=len(due)) as batch:
            runs = await batch.bring_in(
                [jobs],
                in_flight=settings.requests_in_flight,
                settings=settings,
                watcher=watcher(due, api) if watcher else None,
                stopping=stopping,
            )
        return batch.report(due=due, runs=runs, refusals=[], traffic=api.traffic, since=started)


def recheck_after(settings: Settings) -> RecheckAfter:
    """
    Read from the settings how long an answer is good for.
    """
    return RecheckAfter(
        held=timedelta(days=settings.recheck_after_days) if settings.recheck_after_days else None,
        empty=timedelta(hours=settings.retry_empty_after_hours),
    )


async def _plan(
    database: Database, settings: Settings, wanted: Wanted, api: PoliceApi, *, record: bool = True
) -> tuple[Availability, list[DueMonth]]:
    # Asked for by name, a force must be known before the publisher is asked: a slip is told at once and costs no
    # request. One that is new to everybody becomes known by the first plan that names none.
    with database.connect(autocommit=True) as connection:
        known_before = set(known_forces(connection))
    check_wanted(wanted, forces=known_before, window=None)
    availability = await api.availability()
    window = (availability.months[0], availability.months[-1])
    check_wanted(wanted, forces=availability.forces | known_before, window=window)
    now = datetime.now(UTC)
    with database.connect(autocommit=True) as connection:
        if record:
            record_listing(connection, availability, at=now)
        known = known_months(connection)
        if record and any_unnamed(connection):
            name_forces(connection, await api.forces())
    return availability, due_months(availability, known, wanted=wanted, after=recheck_after(settings), now=now)


class _Patience:
    """
    Fetches months, and waits while the publisher is left alone, but not for ever.

    Once it has been down for the set time without one answer, every further fetch gives up at once, so that a long
    batch ends soon and says so; what it did not bring in is due again.
    """

    def __init__(self, api: PoliceApi, *, limit_s: float) -> None:
        self._api = api
        self._limit_s = limit_s
        self._down_since: float | None = None

    async def fetch(self, month: DueMonth, window: tuple[Month, Month]) -> PublishedMonth:
        """
        Fetch one force-month.
        """
        while True:
            try:
                published = await self._api.fetch_month(month.force, month.month, window=window)
            except UpstreamDown:
                now = time.monotonic()
                self._down_since = self._down_since if self._down_since is not None else now
                if now - self._down_since + self._api.pause_left_s > self._limit_s:
                    raise
                await asyncio.sleep(self._api.pause_left_s + 0.05)
            except SourceError:
                self._down_since = None  # it answers, if not well
                raise
            else:
                self._down_since = None
                return published
