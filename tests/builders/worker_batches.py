"""
Batches of workers without a broker: what is sent is written down, and is run by whoever asks for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from stopsearch.domain.errors import BrokerUnavailable
from stopsearch.domain.months import Month
from stopsearch.flows.asked_batches import AskedBatch, AskedIngest
from stopsearch.flows.month_bringer import MonthBringer
from stopsearch.flows.plan import Wanted
from stopsearch.flows.plan_batch import plan_batch, queue_for_workers, send_batch
from stopsearch.flows.run_month import MonthEnd, replay_month, run_month
from stopsearch.flows.runs import RunReport
from stopsearch.settings import Settings
from stopsearch.store.batch_months import ClaimedMonth, PlannedMonth
from stopsearch.store.database import Database


class RecordingDispatch:
    """
    A `Dispatch` that keeps what it is given. While `is_away`, it is a broker that does not answer.
    """

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.sent: list[tuple[int, PlannedMonth]] = []
        self.is_away = False

    def plan(self, batch_id: int) -> None:
        """
        Keep that a batch is to be planned.
        """
        self._answer()
        self.batches.append(batch_id)

    def months(self, batch_id: int, months: Sequence[PlannedMonth]) -> None:
        """
        Keep that force-months are to be brought in.
        """
        self._answer()
        self.sent += [(batch_id, month) for month in months]

    def keep_house(self) -> None:
        """
        Keep nothing of it: no batch is about it.
        """
        self._answer()

    def empty_queues(self) -> frozenset[str]:
        """
        Name no queue: nothing is taken for lost.
        """
        self._answer()
        return frozenset()

    def _answer(self) -> None:
        if self.is_away:
            raise BrokerUnavailable("RabbitMQ does not answer.")


def queued_for_workers(
    database: Database, settings: Settings, dispatch: RecordingDispatch, asked: AskedBatch | None = None, **wanted: Any
) -> int:
    """
    Queue a batch for workers, and give its number.
    """
    asked = asked or AskedIngest(wanted=Wanted(**wanted))
    batch_id = queue_for_workers(database, settings, asked, trigger="ingest", requested_by="a test")
    send_batch(database, dispatch, batch_id)
    return batch_id


def planned_by_worker(
    database: Database, settings: Settings, dispatch: RecordingDispatch, asked: AskedBatch | None = None, **wanted: Any
) -> int:
    """
    Queue a batch for workers and plan it, and give its number.
    """
    batch_id = queued_for_workers(database, settings, dispatch, asked, **wanted)
    plan_batch(database, settings, dispatch, batch_id)
    return batch_id


def work_on(
    database: Database,
    settings: Settings,
    batch_id: int,
    month: PlannedMonth,
    *,
    meanwhile: Callable[[], None] | None = None,
) -> MonthEnd:
    """
    Run the task of one force-month, as a worker would.

    Args:
        meanwhile: Done once the force-month is claimed, before it is brought in.
    """
    with database.connect(autocommit=True) as connection:

        def run(claimed: ClaimedMonth) -> RunReport:
            if meanwhile is not None:
                meanwhile()
            if month.queue == "replay":
                return replay_month(connection, settings, claimed)
            return asyncio.run(_bring_in(database, settings, claimed))

        return run_month(connection, settings, run, batch_id=batch_id, force=month.force, month=month.month)


def work_off(database: Database, settings: Settings, dispatch: RecordingDispatch) -> None:
    """
    Run every task that was sent, one after another.
    """
    while dispatch.sent:
        batch_id, month = dispatch.sent.pop(0)
        work_on(database, settings, batch_id, month)


def outstanding(database: Database, batch_id: int) -> set[tuple[str, Month]]:
    """
    Give the force-months of a batch that have not ended.
    """
    with database.connect(autocommit=True) as connection:
        rows = connection.execute(
            """
            SELECT force.id, month FROM batch_month JOIN force ON force.code = force_code
            WHERE batch_id = %s AND ended_at IS NULL
            """,
            [batch_id],
        )
        return {(force, Month.of(month)) for force, month in rows}


async def _bring_in(database: Database, settings: Settings, claimed: ClaimedMonth) -> RunReport:
    async with MonthBringer(database, settings, stopping=asyncio.Event()) as bringer:
        return await bringer.bring_in(claimed)
