"""
Bring the bundled real sample in: its two archives, the earlier edition first, and its recorded answers of the API.
"""

from __future__ import annotations

import asyncio
import gzip
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from stopsearch.domain.months import Month
from stopsearch.domain.published import PublishedMonth
from stopsearch.domain.states import BatchStatus, Shape, Source
from stopsearch.flows.batches import Batch, BatchReport, Trigger
from stopsearch.flows.ingest_from_archives import ingest_from_archives
from stopsearch.flows.plan import DueMonth, Wanted
from stopsearch.flows.runs import Job, Watcher
from stopsearch.sample import sample_answers, sample_archives
from stopsearch.settings import Settings
from stopsearch.store.database import Database

_ANSWER = re.compile(r"stops-force_([a-z-]+)_(\d{4}-\d{2})\.json\.gz")
_IN_FLIGHT = 2
# The publisher takes about two months to publish one. When an answer was saved is not known, only that it was after.
_PUBLISHED_AFTER_MONTHS = 2


@dataclass(frozen=True, kw_only=True)
class SampleReport:
    """
    What bringing the sample in did: one batch for the archives, one for the recorded answers.
    """

    archives: BatchReport
    answers: BatchReport

    @property
    def duration_s(self) -> float:
        """
        Give the seconds that both took.
        """
        return self.archives.duration_s + self.answers.duration_s


async def bring_sample_in(
    database: Database,
    settings: Settings,
    *,
    trigger: Trigger,
    watcher: Callable[[int], Watcher] | None = None,
    stopping: asyncio.Event | None = None,
) -> SampleReport:
    """
    Bring the bundled sample in; where it is held already, nothing is written.

    Args:
        watcher: Makes whoever is told how it goes on, once it is known how many runs lie ahead; asked for each batch.
        stopping: Set it to end cleanly; the next call goes on from there.
    """
    archives = await ingest_from_archives(
        database,
        settings,
        Wanted(),
        paths=[str(path) for path in sample_archives()],
        trigger=trigger,
        watcher=(lambda due: watcher(len(due))) if watcher else None,
        stopping=stopping,
    )
    jobs = [_job(path) for path in sample_answers()]
    due = [DueMonth(force=job.force, month=job.month, reason=job.reason) for job in jobs]
    started = time.monotonic()
    if stopping is not None and stopping.is_set():
        return SampleReport(
            archives=archives, answers=BatchReport(batch_id=None, status=BatchStatus.CANCELLED, due=due)
        )
    asked_for = {"source": "sample", "force_months": len(jobs)}
    with Batch(database, trigger, asked_for) as batch:
        runs = await batch.bring_in(
            [jobs],
            in_flight=_IN_FLIGHT,
            settings=settings,
            watcher=watcher(len(jobs)) if watcher else None,
            stopping=stopping,
        )
    answers = batch.report(due=due, runs=runs, refusals=[], traffic=None, since=started)
    return SampleReport(archives=archives, answers=answers)


def _job(path: Path) -> Job:
    name = _ANSWER.fullmatch(path.name)
    assert name is not None  # the sample's own files are named so
    force, month = name[1], Month.parse(name[2])

    async def fetch() -> PublishedMonth:
        body = await asyncio.to_thread(lambda: gzip.decompress(path.read_bytes()))
        return PublishedMonth(
            force=force,
            month=month,
            shape=Shape.JSON,
            source=Source.API,
            origin=f"sample/{path.name}",
            body=body,
            fetched_at=datetime.now(UTC),
            published_at=month.plus(_PUBLISHED_AFTER_MONTHS).end,
        )

    return Job(force=force, month=month, source=Source.API, reason="in the sample", fetch=fetch)
