"""
Cancel a batch, whoever runs it: what is being stored is finished, and the rest is left.
"""

from __future__ import annotations

from datetime import UTC, datetime

import structlog

from stopsearch.flows.run_month import close_batch
from stopsearch.store.batch_cancel import ask_to_cancel
from stopsearch.store.batch_reports import BatchEntry, find_batch
from stopsearch.store.database import Database
from stopsearch.telemetry.events import Event

log = structlog.get_logger()


def cancel_batch(database: Database, batch_id: int, *, requested_by: str) -> BatchEntry:
    """
    Ask for the end of a batch. Asked again, nothing more happens.

    What waits ends at once, and so does a batch of which nothing is being stored. A process that runs one looks about
    once a second whether it is to end. What was brought in stays, and what was not is due again.

    Returns:
        The batch as it stands now: `cancelled`, or `running` until what is being stored is finished.

    Raises:
        UnknownBatch: There is none of this number.
        BatchEnded: It has ended otherwise.
        StoreUnavailable: The database is away.
    """
    with database.connect(autocommit=True) as connection:
        if ask_to_cancel(connection, batch_id, by=requested_by, at=datetime.now(UTC)):
            log.info(Event.BATCH_CANCELLED, batch_id=batch_id, requested_by=requested_by)
        close_batch(connection, batch_id)
        return find_batch(connection, batch_id)
