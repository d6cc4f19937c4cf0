"""
The force-months whose tasks ended their workers each time, taken up again by an operator.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from psycopg import Connection

from stopsearch.domain.months import Month
from stopsearch.store.batch_tending import reopen_month


class TakenUp(StrEnum):
    """
    What became of a force-month that was to be taken up again.
    """

    REOPENED = "reopened"  # its batch runs on
    OUTSTANDING = "outstanding"  # it had not been given up yet
    OVER = "over"  # it ended otherwise since, or was cancelled: nothing is left to do
    UNKNOWN = "unknown"  # no such batch planned it


def take_up_again(connection: Connection, batch_id: int, force: str, month: Month, *, at: datetime) -> TakenUp:
    """
    Let a force-month of a batch be worked on anew, as if it had never been delivered.
    """
    if reopen_month(connection, batch_id, force, month, at=at):
        return TakenUp.REOPENED
    row = connection.execute(
        """
        UPDATE batch_month AS planned SET
            deliveries = CASE WHEN planned.ended_at IS NULL THEN 0 ELSE planned.deliveries END,
            next_at = CASE WHEN planned.ended_at IS NULL THEN %(at)s ELSE planned.next_at END,
            sent_at = CASE WHEN planned.ended_at IS NULL THEN %(at)s ELSE planned.sent_at END
        FROM force
        WHERE force.code = planned.force_code AND planned.batch_id = %(batch)s AND force.id = %(force)s
            AND planned.month = %(month)s
        RETURNING planned.ended_at
        """,
        {"batch": batch_id, "force": force, "month": month.first_day, "at": at},
    ).fetchone()
    if row is None:
        return TakenUp.UNKNOWN
    return TakenUp.OUTSTANDING if row[0] is None else TakenUp.OVER
