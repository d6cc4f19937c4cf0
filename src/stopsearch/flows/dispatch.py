"""
How flows give work to workers: the seam behind which the broker stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # the process that forks a worker's others imports this, and must not load Polars
    from stopsearch.store.batch_months import PlannedMonth

# How often a broker delivers a task again that ended its worker, before it is laid in the dead queue.
REDELIVERIES = 4


class Dispatch(Protocol):
    """
    Gives work to workers.
    """

    def plan(self, batch_id: int) -> None:
        """
        Tell workers to plan a batch.

        Raises:
            BrokerUnavailable: Nothing could be sent.
        """

    def months(self, batch_id: int, months: Sequence[PlannedMonth]) -> None:
        """
        Tell workers to bring in, or replay, force-months of a batch, each through its own queue.

        Raises:
            BrokerUnavailable: Not all could be sent; some may have been.
        """

    def keep_house(self) -> None:
        """
        Tell workers to keep house.

        Raises:
            BrokerUnavailable: Nothing could be sent.
        """

    def empty_queues(self) -> frozenset[str]:
        """
        Name the queues in which no task waits to be delivered.

        Raises:
            BrokerUnavailable: The broker can't be asked.
        """
