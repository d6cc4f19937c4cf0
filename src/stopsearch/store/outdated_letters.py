"""
The dead letters that older rules made, and that nobody has run through newer ones yet.
"""

from __future__ import annotations

from psycopg import Connection

# How the run of a replay ended that need not be repeated with the same rules.
_TRIED = ("revised", "unchanged", "refused")


def outdated_letters(connection: Connection, *, rules_version: int, trigger: str) -> list[int]:
    """
    Give one open letter of each force-month whose current revision older rules made: a replay takes each whole.

    A force-month that was replayed under these rules since that revision is left out: where no letter passed, the
    revision stayed as it was.

    Args:
        rules_version: Today's.
        trigger: What starts the batches that have noted with what rules they replay, as `rules_version`.

    Returns:
        The number of the first letter of each, by number.
    """
    rows = connection.execute(
        """
        SELECT min(letter.id)
        FROM dead_letter AS letter JOIN revision USING (force_code, month)
        WHERE letter.state = 'open' AND letter.revision = revision.number
            AND revision.standing = 'served' AND revision.served_until IS NULL
            AND revision.rules_version < %(rules)s
            AND NOT EXISTS (
                SELECT FROM ingest_run AS run JOIN ingest_batch AS batch ON batch.id = run.batch_id
                WHERE run.force_code = letter.force_code AND run.month = letter.month
                    AND run.status = ANY(%(tried)s) AND run.started_at > revision.served_from
                    AND batch.trigger = %(trigger)s
                    AND (batch.asked_for ->> 'rules_version')::integer >= %(rules)s
            )
        GROUP BY letter.force_code, letter.month
        ORDER BY min(letter.id)
        """,
        {"rules": rules_version, "tried": list(_TRIED), "trigger": trigger},
    )
    return [row[0] for row in rows]
