"""
A RabbitMQ whose address was given: one virtual host for all tests, which use it one after the other.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from amqp.exceptions import NotFound
from kombu import Connection

from builders.rabbitmq import QueueDepth
from stopsearch.store.embedded.locks import FileLock
from stopsearch.worker.queues import DEAD_QUEUE, TASK_QUEUES

_NAMES = [queue.name for queue in (*TASK_QUEUES, DEAD_QUEUE)]
_PATIENCE_S = 280.0


class GivenRabbitMQ:
    """
    Stands in for a node of one's own where tests do no more than use it.
    """

    def __init__(self, url: str, *, lock: Path) -> None:
        self.url = url
        self._lock = lock

    @contextmanager
    def vhost(self) -> Iterator[str]:
        """
        Give its address, with none of our queues there, for as long as the context lasts; nobody else has it meanwhile.
        """
        with FileLock(self._lock) as lock:
            lock.wait_exclusive(deadline=time.monotonic() + _PATIENCE_S)
            self._drop_queues()
            try:
                yield self.url
            finally:
                self._drop_queues()

    def queue_depths(self, url: str) -> dict[str, QueueDepth]:
        """
        Count the messages of our queues that wait; AMQP does not tell those that are with consumers.
        """
        depths = {}
        with Connection(url) as connection:
            for name in _NAMES:
                try:
                    answer = connection.default_channel.queue_declare(name, passive=True)
                except NotFound:
                    connection.close()  # the refusal has closed the channel; the next look opens another
                    continue
                depths[name] = QueueDepth(ready=answer.message_count, unacknowledged=0)
        return depths

    def _drop_queues(self) -> None:
        with Connection(self.url) as connection:
            for name in _NAMES:
                connection.default_channel.queue_delete(name)
