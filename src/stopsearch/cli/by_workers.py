"""
What `ingest --distributed` does in place of bringing data in itself: it gives the batch to workers.
"""

from __future__ import annotations

from stopsearch.cli.following import follow_batch, tell_followed
from stopsearch.cli.opening import opened
from stopsearch.cli.terminal import note, program, say, say_json
from stopsearch.flows.plan import Wanted
from stopsearch.settings import Settings


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
            note(f"RabbitMQ does not answer. Batch {batch_id} is in the ledger, and is sent once it is back.")
        if is_watched:
            return tell_followed(follow_batch(database, settings, batch_id), as_json=as_json)
    if as_json:
        say_json({"batch": batch_id, "status": "queued", "is_sent": is_sent})
    else:
        say(f"Batch {batch_id} is queued for workers. '{program()} batches follow {batch_id}' shows it.")
    return 0
