"""
Ingests as a test asks for them: editions given as bytes, archives by path, or a stand-in's API.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stopsearch.domain.months import Month
from stopsearch.domain.published import PublishedMonth
from stopsearch.domain.states import Shape, Source
from stopsearch.flows.batches import Batch, BatchReport, Trigger
from stopsearch.flows.ingest_from_api import ingest_from_api
from stopsearch.flows.ingest_from_archives import ingest_from_archives
from stopsearch.flows.plan import Wanted
from stopsearch.flows.runs import Job, RunReport
from stopsearch.settings import Settings
from stopsearch.store.database import Database
from stopsearch.store.ledger import RunOutcome

TRIGGER = Trigger(name="test", requested_by="a test")


def settings_for(upstream_url: str = "http://127.0.0.1:9/api", **changes: Any) -> Settings:
    """
    Give settings that no file and no environment has a say in. The default upstream answers nothing.
    """
    return Settings(_env_file=None, upstream_url=upstream_url, **changes)  # type: ignore[call-arg]  # of pydantic


def edition(
    body: bytes | Sequence[Any],
    *,
    force: str = "durham",
    month: str = "2023-07",
    published: str | None = None,
    fetched: str | None = None,
) -> PublishedMonth:
    """
    Give one force-month as it came: bytes or records; a CSV as of an archive's member, else as of the API's answer.
    """
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    is_json = content.lstrip().startswith(b"[") or content.lstrip().startswith(b"{")
    fetched_at = _instant(fetched) if fetched else datetime.now(UTC)
    return PublishedMonth(
        force=force,
        month=Month.parse(month),
        shape=Shape.JSON if is_json else Shape.CSV,
        source=Source.API if is_json else Source.ARCHIVE,
        origin="http://publisher.test/api" if is_json else "2021-11.zip",
        body=content,
        fetched_at=fetched_at,
        published_at=_instant(published) if published else fetched_at,
    )


def bring_in(database: Database, *editions: PublishedMonth, **changes: Any) -> list[RunReport]:
    """
    Bring editions in, one after another, in one batch. `changes` are settings.
    """
    jobs = [[_job(published)] for published in editions]
    return asyncio.run(_bring_in(database, jobs, settings_for(**changes)))


def bring_jobs_in(database: Database, *jobs: Job) -> list[RunReport]:
    """
    Bring jobs in, one after another, in one batch.
    """
    return asyncio.run(_bring_in(database, [[job] for job in jobs], settings_for()))


def bring_one_in(database: Database, published: PublishedMonth, **changes: Any) -> RunOutcome:
    """
    Bring one edition in, and give how its run ended.
    """
    [report] = bring_in(database, published, **changes)
    return report.outcome


def ingest_archives(
    database: Database, *paths: Path, wanted: Wanted | None = None, published: str | None = None, **changes: Any
) -> BatchReport:
    """
    Bring archives in, as `ingest --source archive` does.
    """
    return asyncio.run(
        ingest_from_archives(
            database,
            settings_for(**changes),
            wanted or Wanted(),
            paths=[str(path) for path in paths],
            trigger=TRIGGER,
            published=_instant(published) if published else None,
        )
    )


def ingest_api(database: Database, url: str, wanted: Wanted | None = None, **changes: Any) -> BatchReport:
    """
    Bring in what is due, as `ingest` does.
    """
    return asyncio.run(ingest_from_api(database, settings_for(url, **changes), wanted or Wanted(), trigger=TRIGGER))


async def _bring_in(database: Database, groups: list[list[Job]], settings: Settings) -> list[RunReport]:
    with Batch(database, TRIGGER, {}) as batch:
        return await batch.bring_in(groups, in_flight=3, settings=settings, watcher=None, stopping=None)


def _job(published: PublishedMonth) -> Job:
    async def fetch() -> PublishedMonth:
        return published

    return Job(force=published.force, month=published.month, source=published.source, reason="test", fetch=fetch)


def _instant(text: str) -> datetime:
    at = datetime.fromisoformat(text if len(text) > 7 else f"{text}-01")
    return at if at.tzinfo else at.replace(tzinfo=UTC)
