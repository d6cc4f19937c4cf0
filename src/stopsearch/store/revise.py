"""
The one transaction that makes a new revision of a force-month: rows, rollup, dead letters and ledger alike.

A reader sees the force-month wholly at the old revision or wholly at the new one. See docs/decisions/0004.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import Connection
from psycopg.types.json import Jsonb

from stopsearch.domain.errors import RunAlreadyActive
from stopsearch.domain.states import Cause, MonthState, Source, Standing
from stopsearch.store.bodies import keep_body
from stopsearch.store.edition import Edition
from stopsearch.store.letters import keep_letters, supersede_open
from stopsearch.store.locks import hold_the_instant
from stopsearch.store.releases import Held
from stopsearch.store.replace_rows import replace_counts, replace_rows
from stopsearch.store.stop_rows import StopRows


@dataclass(frozen=True, kw_only=True)
class Revised:
    """
    What a new revision changed.
    """

    number: int
    standing: Standing
    received: int
    stored: int
    rejected: int
    added: int
    withdrawn: int


def revise(
    connection: Connection,
    edition: Edition,
    rows: StopRows,
    held: Held,
    *,
    cause: Cause,
    run_id: int | None,
    is_restated: bool | None = None,
    by_value: bool = False,
) -> Revised:
    """
    Make an edition the current revision of its force-month. Call it inside a transaction, and commit at the edge.

    Rows that the edition no longer has are closed, rows that it adds are added, unchanged rows are not touched. The
    first load of a force-month copies straight into the tables.

    Args:
        rows: The edition's rows.
        held: What the database held when the run began; it must hold the same still.
        is_restated: Whether the publisher changed the month after it was first held; None: what this cause tells.
        by_value: Compare rows of one id by value too. It is always done where other rules made the current rows.

    Raises:
        RunAlreadyActive: Another writer has changed the force-month meanwhile.
    """
    number = held.next_number
    _claim(connection, edition, held)
    keep_body(connection, edition.body)
    rows.number(force_code=held.force_code, revision=number)
    if is_restated is None:
        is_restated = held.is_restated or (cause is Cause.UPSTREAM and held.revision is not None)
    _close_current(connection, edition, held)
    _insert_revision(
        connection,
        edition,
        held,
        cause=cause,
        standing=Standing.SERVED,
        run_id=run_id,
        is_restated=is_restated,
    )
    if held.revision is None:
        rows.stops.copy_into(connection, "stop")
        rows.counts.copy_into(connection, "stop_count")
        rows.totals.copy_into(connection, "stop_total")
        added, withdrawn = len(rows.stops), 0  # as the revision's row says already
    else:
        added, withdrawn = replace_rows(
            connection, edition, rows, held, by_value=by_value or held.rules_version != edition.rules_version
        )
        replace_counts(connection, edition, rows, held)
        connection.execute(
            "UPDATE revision SET added = %s, withdrawn = %s WHERE force_code = %s AND month = %s AND number = %s",
            [added, withdrawn, held.force_code, edition.month.first_day, number],
        )
    keep_letters(connection, edition, held)
    connection.execute(
        """
        UPDATE month_release SET
            state = %(state)s,
            current_revision = %(number)s,
            current_published_at = CASE
                WHEN %(same_content)s THEN greatest(current_published_at, %(published_at)s)
                WHEN %(is_revert)s THEN (
                    SELECT max(greatest(published_at, confirmed_at)) FROM revision
                    WHERE force_code = %(code)s AND month = %(month)s AND content_digest = %(content)s
                )
                ELSE %(published_at)s
            END,
            seen_body_digest = %(digest)s,
            doubtful_since = CASE
                WHEN %(same_content)s OR doubtful_since > %(published_at)s THEN doubtful_since
            END,
            last_checked_at = CASE
                WHEN %(is_look)s THEN greatest(last_checked_at, %(fetched_at)s)
                ELSE last_checked_at
            END
        WHERE force_code = %(code)s AND month = %(month)s
        """,
        {
            "state": MonthState.HELD,
            "number": number,
            "published_at": edition.published_at,
            "digest": edition.body.digest,
            "fetched_at": edition.fetched_at,
            "is_look": cause is Cause.UPSTREAM and edition.source is Source.API,
            "same_content": cause in (Cause.RULES, Cause.REPLAY),
            "is_revert": cause is Cause.REVERT,
            "content": edition.content_digest,
            "code": held.force_code,
            "month": edition.month.first_day,
        },
    )
    _stamp(connection, edition, held)
    return Revised(
        number=number,
        standing=Standing.SERVED,
        received=edition.received,
        stored=edition.accepted.height,
        rejected=len(edition.letters),
        added=added,
        withdrawn=withdrawn,
    )


def keep_historic(connection: Connection, edition: Edition, held: Held, *, run_id: int | None) -> Revised:
    """
    Keep an edition older than the current one: body, counts and ledger row. Its rows are never served.

    Raises:
        RunAlreadyActive: Another writer has changed the force-month meanwhile.
    """
    _claim(connection, edition, held)
    keep_body(connection, edition.body)
    _insert_revision(
        connection, edition, held, cause=Cause.UPSTREAM, standing=Standing.HISTORIC, run_id=run_id, is_restated=False
    )
    return Revised(
        number=held.next_number,
        standing=Standing.HISTORIC,
        received=edition.received,
        stored=edition.accepted.height,
        rejected=len(edition.letters),
        added=0,
        withdrawn=0,
    )


def _claim(connection: Connection, edition: Edition, held: Held) -> None:
    connection.execute(
        """
        INSERT INTO month_release (force_code, month, state) VALUES (%s, %s, 'due')
        ON CONFLICT (force_code, month) DO NOTHING
        """,
        [held.force_code, edition.month.first_day],
    )
    row = connection.execute(
        """
        SELECT current_revision, (
            SELECT coalesce(max(number), 0) + 1 FROM revision
            WHERE force_code = held.force_code AND month = held.month
        )
        FROM month_release AS held WHERE force_code = %s AND month = %s FOR UPDATE
        """,
        [held.force_code, edition.month.first_day],
    ).fetchone()
    if row != (held.revision, held.next_number):
        raise RunAlreadyActive(
            f"{edition.force} {edition.month} was changed by another process meanwhile.",
            remedy="Nothing was written; the next run looks again.",
        )


def _close_current(connection: Connection, edition: Edition, held: Held) -> None:
    if held.revision is None:
        return
    connection.execute(
        """
        UPDATE revision SET served_until = 'infinity', confirmed_at = (
            SELECT current_published_at FROM month_release
            WHERE month_release.force_code = revision.force_code AND month_release.month = revision.month
        )
        WHERE force_code = %s AND month = %s AND number = %s
        """,
        [held.force_code, edition.month.first_day, held.revision],
    )
    supersede_open(connection, held.force_code, edition.month)


def _stamp(connection: Connection, edition: Edition, held: Held) -> None:
    """
    Say from when on readers see the new revision: now, as the last thing before the commit.
    """
    hold_the_instant(connection)
    # Writers of other force-months wait here for each other, for the length of a commit: so that generations and
    # instants follow the order of the commits.
    connection.execute(
        """
        WITH instant AS (
            UPDATE serving SET generation = generation + 1,
                changed_at = greatest(clock_timestamp(), changed_at + interval '1 microsecond')
            RETURNING changed_at AS at
        )
        UPDATE revision SET
            served_until = CASE WHEN number = %(old)s THEN instant.at END,
            served_from = CASE WHEN number = %(new)s THEN instant.at ELSE served_from END
        FROM instant
        WHERE force_code = %(code)s AND month = %(month)s AND number IN (%(new)s, %(old)s)
        """,
        {
            "code": held.force_code,
            "month": edition.month.first_day,
            "old": held.revision,
            "new": held.next_number,
        },
    )


def _insert_revision(
    connection: Connection,
    edition: Edition,
    held: Held,
    *,
    cause: Cause,
    standing: Standing,
    run_id: int | None,
    is_restated: bool,
) -> None:
    connection.execute(
        """
        INSERT INTO revision (
            force_code, month, number, cause, standing, source, origin, body_digest, content_digest,
            identity_version, rules_version, fetched_at, published_at, served_from,
            received, stored, rejected, added, withdrawn, mended, rejected_by_rule, quality,
            is_restated, is_doubled, is_date_only, first_datetime, last_datetime, run_id
        )
        VALUES (
            %(code)s, %(month)s, %(number)s, %(cause)s, %(standing)s, %(source)s, %(origin)s, %(body_digest)s,
            %(content_digest)s, %(identity_version)s, %(rules_version)s, %(fetched_at)s, %(published_at)s,
            CASE WHEN %(standing)s = 'served' THEN clock_timestamp() END,
            %(received)s, %(stored)s, %(rejected)s, %(added)s, 0, %(mended)s, %(rejected_by_rule)s, %(quality)s,
            %(is_restated)s, %(is_doubled)s, %(is_date_only)s, %(first_datetime)s, %(last_datetime)s, %(run_id)s
        )
        """,
        {
            "code": held.force_code,
            "month": edition.month.first_day,
            "number": held.next_number,
            "cause": cause,
            "standing": standing,
            "source": edition.source,
            "origin": edition.origin,
            "body_digest": edition.body.digest,
            "content_digest": edition.content_digest,
            "identity_version": edition.identity_version,
            "rules_version": edition.rules_version,
            "fetched_at": edition.fetched_at,
            "published_at": edition.published_at,
            "received": edition.received,
            "stored": edition.accepted.height,
            "rejected": len(edition.letters),
            "added": edition.accepted.height if held.revision is None and standing is Standing.SERVED else 0,
            "mended": Jsonb(edition.mended),
            "rejected_by_rule": Jsonb(edition.rejected_by_rule),
            "quality": Jsonb(edition.quality),
            "is_restated": is_restated,
            "is_doubled": edition.is_doubled,
            "is_date_only": edition.is_date_only,
            "first_datetime": edition.accepted["datetime"].min(),
            "last_datetime": edition.accepted["datetime"].max(),
            "run_id": run_id,
        },
    )
