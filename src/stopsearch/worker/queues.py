"""
The queues at the broker, in one list: what each is for is told in `stopsearch.settings.QUEUES`.
"""

from __future__ import annotations

from kombu import Exchange, Queue

from stopsearch.flows.dispatch import REDELIVERIES
from stopsearch.settings import QUEUES

_PREFIX = "stopsearch."
EXCHANGE = Exchange(f"{_PREFIX}tasks", type="direct", durable=True)
DEAD_EXCHANGE = Exchange(f"{_PREFIX}dead", type="direct", durable=True)

# Looking at the dead queue delivers its tasks and takes them back, which RabbitMQ counts; 4.0 gives up after 20.
_NO_LIMIT = 1_000_000


def broker_name(queue: str) -> str:
    """
    Give the name that one of our queues has at the broker.
    """
    return f"{_PREFIX}{queue}"


def task_queue(queue: str) -> Queue:
    """
    Give one of our queues: replicated where the broker is a cluster, and with an end to redelivery.

    A task that has ended its worker more often than the limit goes to the dead queue, and so do those that nobody
    can read.
    """
    name = broker_name(queue)
    return Queue(
        name,
        exchange=EXCHANGE,
        routing_key=name,
        durable=True,
        queue_arguments={
            "x-queue-type": "quorum",
            "x-delivery-limit": REDELIVERIES,
            "x-dead-letter-exchange": DEAD_EXCHANGE.name,
            "x-dead-letter-routing-key": DEAD_QUEUE.name,
        },
    )


DEAD_QUEUE = Queue(
    f"{_PREFIX}dead-tasks",
    exchange=DEAD_EXCHANGE,
    routing_key=f"{_PREFIX}dead-tasks",
    durable=True,
    queue_arguments={"x-queue-type": "quorum", "x-delivery-limit": _NO_LIMIT},
)
TASK_QUEUES = tuple(task_queue(queue) for queue in QUEUES)
