"""
Batches that a server is asked for: checked and queued in the ledger, and run one after another by whoever comes to it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime

import structlog

from stopsearch.domain.errors import RunAlreadyActive, StopSearchError, StoreUnavailable
from stopsearch.domain.states import BatchStatus, Source
from stopsearch.flows.asked_batches import AskedBatch, AskedIngest, AskedReplay, archive_path, checked, read_asked
from stopsearch.flows.batches import Batch, Trigger
from stopsearch.flows.dispatch import Dispatch
from stopsearch.flows.ingest_from_api import ingest_from_api
from stopsearch.flows.ingest_from_archives import ingest_from_archives
from stopsearch.flows.plan_batch import queue_for_workers, send_batch
from stopsearch.flows.rebuild import replay_letters
from stopsearch.flows.runs import RunReport, Unwatched
from stopsearch.settings import Settings
from stopsearch.store.batch_queue import QueuedEntry, queue_entry, unfinished_batches
from stopsearch.store.database import Database
from stopsearch.store.ledger import HTTP_TRIGGER
from stopsearch.store.troubles import is_store_gone, known_trouble, store_gone
from stopsearch.telemetry.events import Event
from stopsearch.telemetry.faults import describe_fault, format_frames

log = structlog.get_logger()


def queue_batch(database: Database, settings: Settings, asked: AskedBatch, *, requested_by: str) -> int:
    """
    Check what was asked for, and write it down as a queued batch.

    The same may be asked for twice: it is two batches, and the second finds nothing left to do.

    Returns:
        The batch's number.

    Raises:
        RequestError: What was asked for can't be meant. Nothing is written.
        RunAlreadyActive: Too many batches wait already.
    """
    asked = checked(database, settings, asked)
    with database.connect(autocommit=True) as connection:
        return queue_entry(connection, requested_by=requested_by, asked_for=asked.as_json(), at=datetime.now(UTC))


def take_on(
    database: Database, settings: Settings, asked: AskedBatch, *, requested_by: str, dispatch: Dispatch | None
) -> int:
    """
    Take on what a server is asked for: give it to workers where there are any, else queue it for the server itself.

    Archives are files of the server, which workers on other machines don't have: it always runs them itself. Where
    workers can't be told just now, the ledger remembers.

    Returns:
        The batch's number.

    Raises:
        RequestError: What was asked for can't be meant. Nothing is written.
        RunAlreadyActive: Too many batches wait already.
    """
    is_of_files = isinstance(asked, AskedIngest) and asked.source is Source.ARCHIVE
    if dispatch is None or is_of_files:
        return queue_batch(database, settings, asked, requested_by=requested_by)
    batch_id = queue_for_workers(database, settings, asked, trigger=HTTP_TRIGGER, requested_by=requested_by)
    send_batch(database, dispatch, batch_id)
    return batch_id


def waiting_batches(database: Database) -> list[QueuedEntry]:
    """
    Give the batches asked for over HTTP that nobody runs, queued or cut short, in the order asked for.
    """
    with database.connect(autocommit=True) as connection:
        return unfinished_batches(connection)


async def run_queued(
    database: Database, settings: Settings, entry: QueuedEntry, *, stopping: asyncio.Event
) -> BatchStatus | None:
    """
    Run a queued batch to its end, by the flows that the command line calls too.

    Args:
        stopping: Set it to end cleanly: what is being stored is finished, and the batch is queued again.

    Returns:
        How it ended, `queued` where it was stopped; None where another process has it, or it has ended.

    Raises:
        StoreUnavailable: The database went away. The batch waits to be gone on with.
    """
    try:
        batch = Batch(database, Trigger(name=HTTP_TRIGGER, requested_by=entry.requested_by), {}, queued_id=entry.id)
    except RunAlreadyActive:
        return None
    with batch:
        # Told to stop, the batch waits for the next server; cancelled, this one alone ends.
        async with batch.stopped_or_cancelled(stopping) as stop:
            try:
                runs = await _run(database, settings, entry, batch, stop)
            except StoreUnavailable:
                raise
            except Exception as error:  # whatever is wrong with one batch must not keep the next ones waiting
                if is_store_gone(error):
                    raise store_gone(error) from error
                batch.fail(_understood(error, entry.id))
            else:
                if not stop.is_set():
                    batch.finish(runs)
    return batch.status


async def _run(
    database: Database, settings: Settings, entry: QueuedEntry, batch: Batch, stopping: asyncio.Event
) -> list[RunReport]:
    under_way = asyncio.Event()
    running = asyncio.ensure_future(_bring_in(database, settings, entry, batch, stopping, under_way))
    stop = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait({running, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not running.done() and not under_way.is_set():
            # The publisher is still being asked what it lists, which may take minutes: there is nothing to finish.
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
            return []
        return await running
    finally:
        running.cancel()
        stop.cancel()


async def _bring_in(
    database: Database,
    settings: Settings,
    entry: QueuedEntry,
    batch: Batch,
    stopping: asyncio.Event,
    under_way: asyncio.Event,
) -> list[RunReport]:
    asked = read_asked(entry.asked_for)
    trigger = Trigger(name=HTTP_TRIGGER, requested_by=entry.requested_by)

    def watch(*_: object) -> Unwatched:
        under_way.set()
        return Unwatched()

    if isinstance(asked, AskedReplay):
        under_way.set()
        replayed = await asyncio.to_thread(
            replay_letters,
            database,
            settings,
            force=asked.force,
            month=asked.month,
            rule=asked.rule,
            ids=list(asked.ids) if asked.ids is not None else None,
            trigger=trigger,
            batch=batch,
            is_stopping=stopping.is_set,
        )
        return replayed.runs
    if asked.source is Source.ARCHIVE:
        paths = [str(archive_path(settings, name)) for name in asked.archives]
        report = await ingest_from_archives(
            database,
            settings,
            asked.wanted,
            paths=paths,
            trigger=trigger,
            batch=batch,
            watcher=watch,
            stopping=stopping,
        )
    else:
        report = await ingest_from_api(
            database, settings, asked.wanted, trigger=trigger, batch=batch, watcher=watch, stopping=stopping
        )
    return report.runs


def _understood(error: Exception, batch_id: int) -> StopSearchError:
    if isinstance(error, StopSearchError):
        return error
    known = known_trouble(error)
    if known is not None:
        return known
    log.error(Event.BATCH_BROKE, batch_id=batch_id, fault=describe_fault(error), exception=format_frames(error))
    return StopSearchError(
        f"Something that should not happen: {describe_fault(error)}.", remedy="What was stored stays. Please report it."
    )
