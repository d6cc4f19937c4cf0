"""
Work for workers, as Celery tasks through RabbitMQ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from amqp.exceptions import AMQPError, NotFound
from kombu.exceptions import KombuError, OperationalError

from stopsearch.domain.errors import BrokerUnavailable
from stopsearch.settings import QUEUES, Settings
from stopsearch.worker.access import REFUSALS
from stopsearch.worker.queues import broker_name
from stopsearch.worker.tasks import BRING_IN_MONTH, KEEP_HOUSE, PLAN_BATCH, REPLAY_MONTH

if TYPE_CHECKING:
    from celery import Celery

    from stopsearch.store.batch_months import PlannedMonth

# A broker that has no room left takes connections, and leaves what is published unconfirmed.
_CONFIRM_S = 10.0
_AWAY = (OperationalError, KombuError, AMQPError, OSError)


@dataclass(frozen=True, kw_only=True)
class QueueState:
    """
    One queue: how many tasks wait to be delivered, and how many workers serve it. One that is not there has none.
    """

    waiting: int
    consumers: int


class CeleryDispatch:
    """
    The `Dispatch` of flows, on a Celery app.

    Each task says that its result is ignored: a task that is sent by its name alone would else ask the Redis of results
    to listen for it, and could not be sent while that is away.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app

    @classmethod
    def from_settings(cls, settings: Settings) -> CeleryDispatch:
        """
        Set it up as the settings say.

        Raises:
            ConfigError: No broker is set.
        """
        from stopsearch.worker.app import make_celery, only_send

        return cls(only_send(make_celery(settings)))

    def plan(self, batch_id: int) -> None:
        """
        Tell workers to plan a batch.
        """
        with in_our_words():
            self._app.send_task(PLAN_BATCH, args=[batch_id], queue=broker_name("control"), ignore_result=True)

    def months(self, batch_id: int, months: Sequence[PlannedMonth]) -> None:
        """
        Tell workers to bring in, or replay, force-months of a batch, over one connection.
        """
        with in_our_words(), self._app.producer_or_acquire() as producer:
            for month in months:
                self._app.send_task(
                    REPLAY_MONTH if month.queue == "replay" else BRING_IN_MONTH,
                    args=[batch_id, month.force, str(month.month)],
                    queue=broker_name(month.queue),
                    producer=producer,
                    ignore_result=True,
                )

    def keep_house(self) -> None:
        """
        Tell workers to keep house.
        """
        self.send(KEEP_HOUSE)

    def send(self, task: str) -> None:
        """
        Send a task that carries nothing.

        Raises:
            BrokerUnavailable: It could not be sent.
        """
        with in_our_words():
            self._app.send_task(task, queue=broker_name("control"), ignore_result=True)

    def send_tick(self, task: str, *, waiting: int) -> bool:
        """
        Send a task that says "look again", unless many tasks wait for a worker already: it would only join them.

        Over a connection of its own, since one that lay idle between two ticks may be dead without anybody's knowing.

        Args:
            waiting: How many tasks in the queue of control are many.

        Returns:
            Whether it was sent.

        Raises:
            BrokerUnavailable: It could not be sent.
        """
        queue = broker_name("control")
        with in_our_words(), self._app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1)
            if _count(connection, queue) >= waiting:
                return False
            self._app.send_task(
                task,
                queue=queue,
                connection=connection,
                retry=False,
                confirm_timeout=_CONFIRM_S,
                ignore_result=True,
            )
        return True

    def empty_queues(self) -> frozenset[str]:
        """
        Name the queues in which no task waits to be delivered; one that is not there holds none.
        """
        return frozenset(queue for queue, waiting in self.waiting().items() if waiting == 0)

    def waiting(self) -> dict[str, int]:
        """
        Count the tasks that wait in each queue.

        Raises:
            BrokerUnavailable: The broker can't be asked.
        """
        with in_our_words(), self._app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1)
            return {queue: _count(connection, broker_name(queue)) for queue in QUEUES}

    def look(self) -> dict[str, QueueState]:
        """
        Look at every queue, also that of dead tasks.

        Raises:
            BrokerUnavailable: The broker can't be asked.
        """
        with in_our_words(), self._app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1)
            return {queue: _state(connection, broker_name(queue)) for queue in (*QUEUES, "dead-tasks")}


def _count(connection: Any, name: str) -> int:
    return _state(connection, name).waiting


def _state(connection: Any, name: str) -> QueueState:
    channel = connection.channel()
    try:
        found = channel.queue_declare(queue=name, passive=True)
        return QueueState(waiting=int(found.message_count), consumers=int(found.consumer_count))
    except NotFound:  # it ends the channel, which is why each queue has its own
        return QueueState(waiting=0, consumers=0)
    finally:
        if channel.is_open:
            channel.close()


@contextmanager
def in_our_words() -> Iterator[None]:
    """
    Say of whatever the broker's client raises that the broker is away.
    """
    try:
        yield
    except REFUSALS as error:
        raise BrokerUnavailable(
            f"RabbitMQ refuses us ({type(error).__name__}).",
            remedy="See the user, the password, the virtual host and the user's rights in STOPSEARCH_BROKER_URL.",
        ) from error
    except _AWAY as error:
        raise BrokerUnavailable(
            f"RabbitMQ does not answer ({type(error).__name__}).",
            remedy="See that it runs, and that STOPSEARCH_BROKER_URL is right. What was asked for is in the ledger and "
            "is sent once it is back.",
        ) from error
