"""
Bringing answers in that are in memory already, by the package's own flow: what load and unchanged both measure.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import structlog

from bench.real_months import FIRST_MONTH, FORCE
from stopsearch.domain.months import Month
from stopsearch.domain.published import PublishedMonth
from stopsearch.domain.states import RunStatus, Shape, Source
from stopsearch.flows.bring_in import BringIn
from stopsearch.flows.prepare_edition import RefusalLimits
from stopsearch.flows.runs import Job, RunReport
from stopsearch.store.database import Database
from stopsearch.store.ledger import begin_batch

LIMITS = RefusalLimits(share=0.2, at_least=20)
_WARM_FORCE = "city-of-london"
_WARM_BYTES = 200_000


def read_bodies(paths: Sequence[str]) -> dict[Month, bytes]:
    """
    Read answers into memory, for as many months in a row.
    """
    return {FIRST_MONTH.plus(number): Path(path).read_bytes() for number, path in enumerate(paths)}


def say_little() -> None:
    """
    Log as the package does where nothing else is set: warnings.
    """
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))


def begin(database: Database) -> int:
    """
    Begin a batch.
    """
    with database.connect(autocommit=True) as connection:
        return begin_batch(connection, trigger="bench", requested_by="bench", asked_for={}, at=datetime.now(UTC))


def warm(database: Database, batch_id: int, bodies: Mapping[Month, bytes]) -> None:
    """
    Bring a few hundred records in for another force, so that nothing is measured that happens once a process.
    """
    body = next(iter(bodies.values()))
    few = body[: body.rindex(b'},{"age_range"', 0, _WARM_BYTES) + 1] + b"]"
    bring_months_in(database, batch_id, {next(iter(bodies)): few}, force=_WARM_FORCE)


def bring_months_in(
    database: Database, batch_id: int, bodies: Mapping[Month, bytes], *, force: str = FORCE, in_flight: int = 3
) -> list[RunReport]:
    """
    Bring answers in, from bytes to committed rows, connections and threads included.
    """

    async def bring() -> list[RunReport]:
        with BringIn(database, in_flight=in_flight, limits=LIMITS) as bringing:
            return await bringing.bring_in(
                [_job(force, month, body) for month, body in bodies.items()], batch_id=batch_id
            )

    return asyncio.run(bring())


def _job(force: str, month: Month, body: bytes) -> Job:
    async def fetch() -> PublishedMonth:
        now = datetime.now(UTC)
        return PublishedMonth(
            force=force,
            month=month,
            shape=Shape.JSON,
            source=Source.API,
            origin="memory",
            body=body,
            fetched_at=now,
            published_at=now,
        )

    return Job(force=force, month=month, source=Source.API, reason="bench", fetch=fetch)


def stage_seconds(reports: Sequence[RunReport]) -> dict[str, float]:
    """
    Add up what the stages of all runs took. They overlap, so that their sum is more than the time that passed.
    """
    stages: dict[str, float] = {}
    for report in reports:
        for stage, seconds in report.durations_s.items():
            stages[stage] = stages.get(stage, 0.0) + seconds
    return stages


def require(reports: Sequence[RunReport], *statuses: RunStatus) -> None:
    """
    Make sure that every run ended as the benchmark means it to.
    """
    odd = [report for report in reports if report.outcome.status not in statuses]
    if odd:
        first = odd[0]
        raise RuntimeError(
            f"{len(odd)} runs did not end as {statuses}: {first.force} {first.month} ended as "
            f"{first.outcome.status}, {first.outcome.error_text}"
        )
