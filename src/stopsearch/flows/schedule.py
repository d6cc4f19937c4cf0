"""
Start what the clock says is due: each tick once, whoever looks and however often; a missed one is made up for.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from psycopg import Connection

from stopsearch.clean.clean_stops import RULES_VERSION
from stopsearch.domain.errors import BrokerUnavailable, RunAlreadyActive
from stopsearch.flows.asked_batches import AskedIngest, AskedReplay
from stopsearch.flows.dispatch import Dispatch
from stopsearch.flows.due_ticks import Schedule, Tick, latest_ticks
from stopsearch.flows.plan import Wanted
from stopsearch.flows.plan_batch import send_batch
from stopsearch.settings import Settings
from stopsearch.store.batch_queue import queue_entry
from stopsearch.store.database import Database
from stopsearch.store.outdated_letters import outdated_letters
from stopsearch.store.schedule_slots import (
    first_asked_at,
    is_taken,
    note_batch,
    store_clock,
    take_tick,
    unfinished_since,
)
from stopsearch.telemetry.events import Event
from stopsearch.telemetry.faults import describe_fault

log = structlog.get_logger()

# What the ledger says started the batch of each schedule.
TRIGGERS = {Schedule.DAILY: "daily", Schedule.RECHECK: "weekly-recheck", Schedule.REPLAY: "daily-replay"}

# So long a batch that has not ended puts the next one of its schedule off. A longer one is stuck, or so large that
# today's months must not wait for its end.
_PUTS_OFF = timedelta(days=3)


@dataclass(frozen=True, kw_only=True)
class StartedTick:
    """
    One tick that was taken. `batch_id` is None where there was nothing to start, or what it starts is no batch.
    """

    tick: Tick
    batch_id: int | None


def start_due(
    database: Database, settings: Settings, dispatch: Dispatch, *, now: datetime | None = None
) -> list[StartedTick]:
    """
    Take the latest tick of each schedule, unless somebody has, and start what is due then.

    A tick and its batch are written down together, so that neither is there without the other. A tick that can't be
    taken now, since too many batches wait, the last batch of its schedule has not ended, or the broker is away where
    nothing but a task is started, is left to the next look. Telling workers of a batch comes after: if that fails, the
    ledger remembers it.

    Args:
        now: The instant; None: that of the database's clock, so that machines whose clocks differ agree.

    Returns:
        The ticks that were taken by this look.

    Raises:
        StoreUnavailable: The database went away.
    """
    with database.connect(autocommit=True) as connection:
        at = now or store_clock(connection)
        started = [
            taken
            for tick in latest_ticks(settings, at)
            if (taken := _start(connection, settings, dispatch, tick, at=at)) is not None
        ]
    for taken in started:
        log.info(
            Event.SCHEDULE_STARTED,
            schedule=taken.tick.schedule,
            due_at=taken.tick.due_at.isoformat(),
            batch_id=taken.batch_id,
        )
        if taken.batch_id is not None:
            send_batch(database, dispatch, taken.batch_id)
    return started


def _start(
    connection: Connection, settings: Settings, dispatch: Dispatch, tick: Tick, *, at: datetime
) -> StartedTick | None:
    if is_taken(connection, tick.schedule, tick.due_at, at=at):
        return None
    unfinished = unfinished_since(connection, tick.schedule, taken_after=at - _PUTS_OFF)
    if unfinished is not None:
        _put_off(tick, reason=f"batch {unfinished} has not ended")
        return None
    try:
        with connection.transaction():
            if not take_tick(connection, tick.schedule, tick.due_at, at=at):
                return None
            if tick.schedule is Schedule.HOUSEKEEPING:
                # Before the commit, since nothing else remembers it: sent twice, the second finds nothing to do.
                dispatch.keep_house()
                return StartedTick(tick=tick, batch_id=None)
            asked_for = _asked_for(connection, settings, tick)
            if asked_for is None:
                return StartedTick(tick=tick, batch_id=None)
            batch_id = queue_entry(
                connection,
                requested_by=f"beat@{socket.gethostname()}",
                asked_for=asked_for,
                at=at,
                trigger=TRIGGERS[tick.schedule],
                is_distributed=True,
            )
            note_batch(connection, tick.schedule, tick.due_at, batch_id)
    except (RunAlreadyActive, BrokerUnavailable) as error:
        _put_off(tick, reason=describe_fault(error))
        return None
    return StartedTick(tick=tick, batch_id=batch_id)


def _asked_for(connection: Connection, settings: Settings, tick: Tick) -> dict[str, Any] | None:
    """
    Say what the batch of a tick is asked for; None where there is nothing to do.
    """
    if tick.schedule is Schedule.REPLAY:
        trigger = TRIGGERS[Schedule.REPLAY]
        letters = outdated_letters(connection, rules_version=RULES_VERSION, trigger=trigger)
        if not letters:
            return None
        return {**AskedReplay(ids=tuple(letters)).as_json(), "rules_version": RULES_VERSION}
    is_recheck = tick.schedule is Schedule.RECHECK
    if is_recheck:
        first = first_asked_at(connection)
        if first is None or first > tick.due_at:  # everything has come since, so nothing can have been restated
            return None
    return AskedIngest(wanted=Wanted(forces=settings.forces, recheck=is_recheck)).as_json()


def _put_off(tick: Tick, *, reason: str) -> None:
    log.info(Event.SCHEDULE_PUT_OFF, schedule=tick.schedule, due_at=tick.due_at.isoformat(), reason=reason)
