"""
The tasks that keep dying: looked at where they lie, given back to their queues, or thrown away.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from stopsearch.domain.errors import BadMonth, RequestError
from stopsearch.domain.months import Month
from stopsearch.settings import Settings
from stopsearch.store.database import Database
from stopsearch.store.dead_months import TakenUp, take_up_again
from stopsearch.worker.app import declare_queues, make_celery
from stopsearch.worker.dispatch import in_our_words
from stopsearch.worker.queues import DEAD_QUEUE, EXCHANGE, TASK_QUEUES, broker_name
from stopsearch.worker.tasks import BRING_IN_MONTH, REPLAY_MONTH

if TYPE_CHECKING:
    from celery import Celery

# So many are looked at: each look takes every one of them in hand.
MOST_SHOWN = 1000
# What the broker has noted of a task's death, and would take for the history of the new one.
_OF_DEATH = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-count")
_SHORTEST_ID = 4


@dataclass(frozen=True, kw_only=True)
class DeadTask:
    """
    One task in the dead queue. What a message that is none of ours does not tell is empty or None.
    """

    id: str
    task: str
    batch_id: int | None
    force: str | None
    month: str | None  # YYYY-MM
    queue: str  # that it died in, by our name
    reason: str  # as the broker tells it: `delivery_limit`, `rejected`, `expired` or `maxlen`
    deaths: int
    died_at: datetime | None

    @property
    def force_month(self) -> tuple[int, str, Month] | None:
        """
        Give the batch, the force and the month that it is about, where it is a task of one.
        """
        if self.task not in (BRING_IN_MONTH, REPLAY_MONTH):
            return None
        if self.batch_id is None or self.force is None or self.month is None:
            return None
        try:
            return self.batch_id, self.force, Month.parse(self.month)
        except BadMonth:
            return None


@dataclass(frozen=True, kw_only=True)
class Requeued:
    """
    What became of the dead tasks that were to be given back: those that were, and those that stay, with why.
    """

    given_back: list[DeadTask]
    left: list[tuple[DeadTask, str]]


class DeadTasks:
    """
    The dead queue, through a Celery app.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app

    @classmethod
    def from_settings(cls, settings: Settings) -> DeadTasks:
        """
        Set it up as the settings say.

        Raises:
            ConfigError: No broker is set.
        """
        return cls(make_celery(settings))

    def look(self) -> list[DeadTask]:
        """
        Give the dead tasks, the one that lies longest first, and leave them where they are.

        While they are looked at, another look finds none.

        Raises:
            BrokerUnavailable: The broker can't be asked.
        """
        with self._taken() as (_, messages):
            return [_read(message) for message in messages]

    def requeue(self, database: Database, ids: Sequence[str] | None) -> Requeued:
        """
        Take dead tasks up again: in the ledger first, then in their queue; only then do they leave the dead queue.

        Should anything go wrong between, the task lies in both queues, which does no harm: a second one finds nothing
        left to do.

        Args:
            ids: Their ids, or the first digits of each; None: all.

        Raises:
            RequestError: No dead task has one of the ids, or several share it.
            BrokerUnavailable: The broker went away. What was given back before is in its queue.
            StoreUnavailable: The database is away.
        """
        given_back: list[DeadTask] = []
        left: list[tuple[DeadTask, str]] = []
        with self._taken() as (connection, messages), database.connect(autocommit=True) as desk:
            declare_queues(self._app)
            # Publishing waits until the broker has confirmed it: the app's connections are made so.
            with connection.Producer() as producer:
                for message in _chosen(messages, ids):
                    dead = _read(message)
                    refusal = _why_not(dead, lambda *month: take_up_again(desk, *month, at=datetime.now(UTC)))
                    if refusal:
                        left.append((dead, refusal))
                        continue
                    producer.publish(
                        message.body,
                        exchange=EXCHANGE.name,
                        routing_key=broker_name(dead.queue),
                        headers=_living(message.headers),
                        content_type=message.content_type,
                        content_encoding=message.content_encoding,
                        correlation_id=message.properties.get("correlation_id"),
                        delivery_mode=2,
                    )
                    message.ack()
                    given_back.append(dead)
        return Requeued(given_back=given_back, left=left)

    def discard(self, ids: Sequence[str] | None) -> list[DeadTask]:
        """
        Throw dead tasks away. What they were about stays as the ledger has it, and is due again.

        Args:
            ids: Their ids, or the first digits of each; None: all.

        Raises:
            RequestError: No dead task has one of the ids, or several share it.
            BrokerUnavailable: The broker went away.
        """
        with self._taken() as (_, messages):
            chosen = _chosen(messages, ids)
            for message in chosen:
                message.ack()
            return [_read(message) for message in chosen]

    @contextmanager
    def _taken(self) -> Iterator[tuple[Any, list[Any]]]:
        """
        Take all dead tasks in hand, and give those back at the end that were not acknowledged, in their order.
        """
        with in_our_words(), self._app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1)
            channel = connection.default_channel
            queue = DEAD_QUEUE(channel)
            queue.declare()
            messages: list[Any] = []
            try:
                while len(messages) < MOST_SHOWN and (message := queue.get(no_ack=False)) is not None:
                    messages.append(message)
                yield connection, messages
            finally:
                # In the order in which they came, so that they lie as they lay. A connection that is gone has given
                # them back by itself.
                if connection.connected:
                    for message in messages:
                        if not message.acknowledged:
                            message.requeue()


def _chosen(messages: Sequence[Any], ids: Sequence[str] | None) -> list[Any]:
    if ids is None:
        return list(messages)
    by_id: dict[str, list[Any]] = {}
    for message in messages:
        by_id.setdefault(_read(message).id, []).append(message)
    chosen: dict[str, list[Any]] = {}
    for given in dict.fromkeys(ids):
        found = [given] if given in by_id else [known for known in by_id if known.startswith(given)]
        if len(given) < _SHORTEST_ID or not found:
            raise RequestError(
                f"No dead task has the id '{given}'.", remedy="'stopsearch dead-tasks list' shows those that lie there."
            )
        if len(found) > 1:
            raise RequestError(
                f"{len(found)} dead tasks have ids that begin with '{given}'.", remedy="Give more of the one you mean."
            )
        chosen[found[0]] = by_id[found[0]]  # a message that was sent twice has one id
    return [message for each in chosen.values() for message in each]


def _why_not(dead: DeadTask, take_up: Callable[[int, str, Month], TakenUp]) -> str:
    """
    Take what a dead task is about up again, and say why it can't be; empty where it was.
    """
    if broker_name(dead.queue) not in {queue.name for queue in TASK_QUEUES}:
        return "it is not known which queue it came from"
    month = dead.force_month
    if month is None:
        return "" if dead.task not in (BRING_IN_MONTH, REPLAY_MONTH) else "it does not tell its force-month"
    taken_up = take_up(*month)
    if taken_up is TakenUp.OVER:
        return f"batch {dead.batch_id} is done with this force-month"
    if taken_up is TakenUp.UNKNOWN:
        return f"no batch {dead.batch_id} has planned this force-month"
    return ""


def _living(headers: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in headers.items() if not name.startswith(_OF_DEATH)}


def _read(message: Any) -> DeadTask:
    headers = message.headers or {}
    deaths = headers.get("x-death") or [{}]
    last = deaths[0]
    batch_id, force, month = _arguments(message)
    died_at = last.get("time")
    if isinstance(died_at, datetime):
        died_at = died_at.replace(tzinfo=UTC) if died_at.tzinfo is None else died_at.astimezone(UTC)
    else:
        died_at = None
    return DeadTask(
        id=str(headers.get("id") or message.properties.get("correlation_id") or "unknown"),
        task=str(headers.get("task") or "unknown"),
        batch_id=batch_id,
        force=force,
        month=month,
        queue=str(last.get("queue") or "unknown").removeprefix(broker_name("")),
        reason=str(last.get("reason") or "unknown"),
        deaths=sum(int(death.get("count") or 0) for death in deaths),
        died_at=died_at,
    )


def _arguments(message: Any) -> tuple[int | None, str | None, str | None]:
    """
    Read what a task carries: a batch, and maybe a force and a month. Nothing is made of what is not as we send it.
    """
    try:
        arguments = json.loads(message.body)[0]
    except (ValueError, TypeError, LookupError):
        return None, None, None
    if not isinstance(arguments, list):
        return None, None, None
    batch_id, force, month = [*arguments, None, None, None][:3]
    return (
        batch_id if isinstance(batch_id, int) else None,
        force if isinstance(force, str) else None,
        month if isinstance(month, str) else None,
    )
