"""
Whether the database keeps what the laws promise, checked by counting: what constraints do not keep by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import Connection, sql

from stopsearch.domain.dimensions import Dimension
from stopsearch.domain.months import Month
from stopsearch.domain.vocabulary import LABEL_FIELDS, VOCABULARY
from stopsearch.store.status import running_batches

ForceMonth = tuple[str, Month]


@dataclass(frozen=True, kw_only=True)
class CountedMonth:
    """
    One force-month counted: what its current revision says beside what the tables hold. None: no such revision.
    """

    force: str
    month: Month
    says_stored: int | None
    says_rejected: int | None
    stops: int
    counted: int  # the sum of the current rollup
    totalled: tuple[int, int]  # what the narrow rollup's dimensions add up to, the least and the most
    letters: int
    unknown_labels: int  # rows, withdrawn ones among them, with a code that stands for no label

    @property
    def is_conserved(self) -> bool:
        """
        Tell whether received = stored + rejected holds in the rows, the rollups and the letters alike.
        """
        stored = self.says_stored or 0
        return {self.stops, self.counted, *self.totalled} == {stored} and self.letters == (self.says_rejected or 0)


def count_months(connection: Connection) -> list[CountedMonth]:
    """
    Count every force-month that has a current revision or any stop, in one pass over the stops.
    """
    unknown = sql.SQL(" OR ").join(
        sql.SQL("{} <> ALL({})").format(sql.Identifier(f"{field}_code"), sql.Literal(_codes(field)))
        for field in LABEL_FIELDS
    )
    query = sql.SQL(
        """
        WITH held AS (
            SELECT force_code, month,
                count(*) FILTER (WHERE withdrawn_revision IS NULL) AS stops, count(*) FILTER (WHERE {}) AS unknown
            FROM stop GROUP BY force_code, month
        ), counted AS (
            SELECT force_code, month, sum(stops) AS stops
            FROM stop_count WHERE withdrawn_revision IS NULL GROUP BY force_code, month
        ), totalled AS (
            SELECT force_code, month, CASE WHEN count(*) = %(dimensions)s THEN min(stops) ELSE 0 END AS least,
                max(stops) AS most
            FROM (
                SELECT force_code, month, dimension_code, sum(stops) AS stops
                FROM stop_total WHERE withdrawn_revision IS NULL GROUP BY force_code, month, dimension_code
            ) AS dimension GROUP BY force_code, month
        ), current AS (
            SELECT force_code, month, number, stored, rejected
            FROM revision WHERE standing = 'served' AND served_until IS NULL
        ), letters AS (
            SELECT force_code, month, count(*) AS letters
            FROM dead_letter AS letter JOIN current USING (force_code, month)
            WHERE letter.revision = current.number GROUP BY force_code, month
        )
        SELECT force.id, month, current.stored, current.rejected, coalesce(held.stops, 0),
            coalesce(counted.stops, 0)::bigint, coalesce(totalled.least, 0)::bigint,
            coalesce(totalled.most, 0)::bigint, coalesce(letters.letters, 0), coalesce(held.unknown, 0)
        FROM held FULL JOIN current USING (force_code, month) FULL JOIN counted USING (force_code, month)
            FULL JOIN totalled USING (force_code, month)
            LEFT JOIN letters USING (force_code, month) JOIN force ON force.code = force_code
        ORDER BY force.id, month
        """
    ).format(unknown)
    return [
        CountedMonth(
            force=row[0],
            month=Month.of(row[1]),
            says_stored=row[2],
            says_rejected=row[3],
            stops=row[4],
            counted=row[5],
            totalled=(row[6], row[7]),
            letters=row[8],
            unknown_labels=row[9],
        )
        for row in connection.execute(query, {"dimensions": len(Dimension)})
    ]


def months_that_disagree(connection: Connection) -> list[ForceMonth]:
    """
    Give the force-months whose state and current revision are not what their revisions say.
    """
    return _force_months(
        connection,
        """
        SELECT force.id, month
        FROM month_release AS release
            FULL JOIN (
                SELECT force_code, month, number
                FROM revision WHERE standing = 'served' AND served_until IS NULL
            ) AS current USING (force_code, month)
            JOIN force ON force.code = force_code
        WHERE release.current_revision IS DISTINCT FROM current.number
            OR (release.state = 'held') IS DISTINCT FROM (current.number IS NOT NULL)
        ORDER BY force.id, month
        """,
    )


def months_without_body(connection: Connection) -> list[ForceMonth]:
    """
    Give the force-months of which a revision rests on a body that is not kept.
    """
    return _force_months(
        connection,
        """
        SELECT DISTINCT force.id, revision.month
        FROM revision JOIN force ON force.code = revision.force_code
        WHERE NOT EXISTS (SELECT FROM published_body WHERE published_body.digest = revision.body_digest)
        ORDER BY force.id, revision.month
        """,
    )


def vocabulary_differences(connection: Connection) -> list[str]:
    """
    Say in which labels the database's vocabulary is not the one of this code: `field code: label`.
    """
    ours = {(field, label.code): (label.text, label.group) for field, labels in VOCABULARY.items() for label in labels}
    rows = connection.execute("SELECT field, code, label, label_group FROM vocabulary")
    theirs = {(row[0], row[1]): (row[2], row[3]) for row in rows}
    different = {key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)}
    return [
        f"{field} {code}: {(ours.get((field, code)) or theirs[field, code])[0]}" for field, code in sorted(different)
    ]


def stale_batches(connection: Connection) -> list[int]:
    """
    Give the ids of the batches that say they run, but whose process is gone.
    """
    return [batch.id for batch in running_batches(connection) if not batch.is_alive]


def _codes(field: str) -> list[int]:
    return [label.code for label in VOCABULARY[field]]


def _force_months(connection: Connection, query: str) -> list[ForceMonth]:
    return [(row[0], Month.of(row[1])) for row in connection.execute(sql.SQL(query))]
