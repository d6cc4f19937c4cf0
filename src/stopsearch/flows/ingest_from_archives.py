"""
Bring in the members of archives: zips, folders or addresses. No upstream need be in reach.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import structlog

from stopsearch.domain.errors import SourceError
from stopsearch.domain.months import Month
from stopsearch.domain.published import PublishedMonth
from stopsearch.domain.states import BatchStatus, Source
from stopsearch.flows.batches import Batch, BatchReport, Trigger, as_asked, begun
from stopsearch.flows.plan import DueMonth, Wanted, check_wanted
from stopsearch.flows.runs import Job, Watcher
from stopsearch.settings import Settings
from stopsearch.source.archive.editions import Archive, Archives, Member
from stopsearch.source.archive.open_archives import open_archives
from stopsearch.store.database import Database
from stopsearch.store.forces import known_forces
from stopsearch.telemetry.events import Event

log = structlog.get_logger()

# Members on their way at once: one being read, one prepared, one stored.
_IN_FLIGHT = 3


async def ingest_from_archives(
    database: Database,
    settings: Settings,
    wanted: Wanted,
    *,
    paths: Sequence[str],
    trigger: Trigger,
    batch: Batch | None = None,
    published: datetime | None = None,
    watcher: Callable[[list[DueMonth]], Watcher] | None = None,
    stopping: asyncio.Event | None = None,
    dry_run: bool = False,
) -> BatchReport:
    """
    Bring in the members of archives: zips, folders or addresses. No upstream need be in reach.

    Archives go one after another, the oldest edition first, so that each is a revision of the one before.

    Args:
        batch: One that was queued and is run now: the runs are its, and members that it has read are not read again.
        published: When all of them were published, in place of what their names tell.
        dry_run: Only say what would be looked at.
    """
    started = time.monotonic()
    with database.connect(autocommit=True) as connection:
        check_wanted(wanted, forces=known_forces(connection), window=None)
    opened = await asyncio.to_thread(_open, settings, wanted, paths, published)
    due, refusals = _contents(opened)
    for refusal in refusals:
        # The report has them all, and whoever asked is told; here it would be said twice.
        log.info(Event.MEMBER_REFUSED, reason=str(refusal))
    if dry_run or (not due and batch is None):
        return BatchReport(batch_id=None, status=BatchStatus.FINISHED, due=due, refusals=refusals)
    jobs = [
        [
            _member_job(archive, member)
            for member in archive.members
            if batch is None or not batch.is_settled(member.force, member.month, origin=archive.origin_of(member))
        ]
        for archive in opened
    ]
    asked_for = {**as_asked(wanted), "source": "archive", "archives": [archive.name for archive in opened]}
    try:
        with begun(database, trigger, asked_for, batch, force_months=sum(map(len, jobs))) as batch:
            batch.refuse(refusals)
            runs = await batch.bring_in(
                jobs,
                in_flight=_IN_FLIGHT,
                settings=settings,
                watcher=watcher(due) if watcher else None,
                stopping=stopping,
            )
    finally:
        for archive in opened:
            archive.close()
    return batch.report(due=due, runs=runs, refusals=refusals, traffic=None, since=started)


def look_at_archives(
    settings: Settings, wanted: Wanted, *, paths: Sequence[str], published: datetime | None = None
) -> BatchReport:
    """
    Say what is in archives of what was asked for, as a dry run does, where no database need be yet.
    """
    opened = _open(settings, wanted, paths, published)
    for archive in opened:
        archive.close()
    due, refusals = _contents(opened)
    return BatchReport(batch_id=None, status=BatchStatus.FINISHED, due=due, refusals=refusals)


def _open(settings: Settings, wanted: Wanted, paths: Sequence[str], published: datetime | None) -> Archives:
    return open_archives(
        list(paths),
        now=datetime.now(UTC),
        member_max_bytes=settings.archive_member_max_mb * 1_000_000,
        published=published,
        forces=wanted.forces or None,
        months=(wanted.first or Month(2000, 1), wanted.last or Month(2999, 12)),
        contact=settings.contact,
    )


def _contents(opened: Archives) -> tuple[list[DueMonth], list[SourceError]]:
    due = [
        DueMonth(force=member.force, month=member.month, reason=f"in {archive.name}")
        for archive in opened
        for member in archive.members
    ]
    return due, [*opened.refused, *(refusal for archive in opened for refusal in archive.refusals)]


def _member_job(archive: Archive, member: Member) -> Job:
    async def fetch() -> PublishedMonth:
        return await asyncio.to_thread(archive.read, member)

    return Job(force=member.force, month=member.month, source=Source.ARCHIVE, reason=f"in {archive.name}", fetch=fetch)
