"""
What `ingest --distributed` does in place of bringing data in itself: it gives the batch to workers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopsearch.cli.following import follow_batch, tell_followed
from stopsearch.cli.opening import opened
from stopsearch.cli.terminal import note, program, say, say_json
from stopsearch.domain.errors import BrokerUnavailable
from stopsearch.flows.plan import Wanted
from stopsearch.settings import Settings

if TYPE_CHECKING:
    from stopsearch.worker.dispatch import CeleryDispatch


def ingest_by_workers(settings: Settings, wanted: Wanted, *, is_watched: bool, as_json: bool) -> int:
    """
    Have workers bring in what is due, and give the exit code.

    Args:
        is_watched: Whether to show how it goes on until it has ended.

    Raises:
        ConfigError: No broker is set.
        RequestError: What was asked for can't be meant. Nothing is queued.
    """
    from stopsearch.flows.asked_batches import AskedIngest
    from stopsearch.flows.batches import Trigger
    from stopsearch.flows.plan_batch import queue_for_workers, send_batch
    from stopsearch.worker.dispatch import CeleryDispatch

    dispatch = CeleryDispatch.from_settings(settings)
    trigger = Trigger(name="ingest")
    with opened(settings) as database:
        batch_id = queue_for_workers(
            database,
            settings,
            AskedIngest(wanted=wanted),
            trigger=trigger.name,
            requested_by=trigger.requested_by,
        )
        is_sent = send_batch(database, dispatch, batch_id)
        if not is_sent:
            note(
                f"RabbitMQ does not take it now; 'stopsearch doctor' tells why. Batch {batch_id} is in the ledger, "
                "and 'stopsearch beat' sends it once RabbitMQ does."
            )
        elif not _has_planner(dispatch):
            note(f"No worker serves the queue 'control' now; batch {batch_id} begins once a 'stopsearch worker' does.")
        if is_watched:
            return tell_followed(follow_batch(database, settings, batch_id), as_json=as_json)
    if as_json:
        say_json({"batch": batch_id, "status": "queued", "is_sent": is_sent})
    else:
        say(f"Batch {batch_id} is queued for workers. '{program()} batches follow {batch_id}' shows it.")
    return 0


def _has_planner(dispatch: CeleryDispatch) -> bool:
    """
    Tell whether a worker is there that plans batches, as far as can be known.
    """
    try:
        return dispatch.look()["control"].consumers > 0
    except BrokerUnavailable:  # it took the batch a moment ago; following it says more
        return True
