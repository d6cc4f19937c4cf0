"""
What a database holds, in a form that two databases can be compared by; and what must be true of any.
"""

from __future__ import annotations

from typing import Any

from stopsearch.store.database import Database

# Everything but instants of our own clock, numbers of runs and rows, and addresses.
_CONTENT: dict[str, str] = {
    "stop": """
        SELECT stop.id, force.id, stop.month, stop.first_revision, stop.withdrawn_revision, stop.record_number,
            stop.datetime, stop.local_date, operation.name, stop.latitude, stop.longitude, stop.is_far_from_force,
            stop.type_code, stop.gender_code, stop.age_range_code, stop.self_defined_ethnicity_code,
            stop.officer_defined_ethnicity_code, stop.legislation_code, stop.object_of_search_code,
            stop.outcome_code, stop.operation, stop.outcome_linked_to_object_of_search,
            stop.removal_of_more_than_outer_clothing
        FROM stop JOIN force ON force.code = stop.force_code
        LEFT JOIN operation_name AS operation ON operation.code = stop.operation_name_code
        ORDER BY stop.id, stop.first_revision
    """,
    "stop_count": """
        SELECT force.id, month, first_revision, withdrawn_revision, type_code, gender_code, age_range_code,
            self_defined_ethnicity_code, officer_defined_ethnicity_code, outcome_code, stops
        FROM stop_count JOIN force ON force.code = force_code ORDER BY 1, 2, 3, 5, 6, 7, 8, 9, 10
    """,
    "dead_letter": """
        SELECT force.id, month, revision, record_number, raw::text, rejections, state, reason, attempts
        FROM dead_letter JOIN force ON force.code = force_code ORDER BY 1, 2, 3, 4
    """,
    "revision": """
        SELECT force.id, month, number, cause, standing, source, body_digest, content_digest, identity_version,
            rules_version, served_from IS NULL, served_until IS NULL, received, stored, rejected, added, withdrawn,
            mended, rejected_by_rule, quality, is_restated, is_doubled, is_date_only
        FROM revision JOIN force ON force.code = force_code ORDER BY 1, 2, 3
    """,
    "month_release": """
        SELECT force.id, month, state, is_listed, doubtful_since IS NOT NULL, current_revision, seen_body_digest
        FROM month_release JOIN force ON force.code = force_code ORDER BY 1, 2
    """,
    "street": "SELECT id, name, latitude, longitude FROM street ORDER BY id",
    "published_body": "SELECT digest, shape, body_bytes FROM published_body ORDER BY digest",
}

# Each finds what breaks a law; none may find anything.
_BREACHES: dict[str, str] = {
    "records neither stored nor rejected": "SELECT * FROM revision WHERE received <> stored + rejected",
    "a revision whose rows are not as many as it stored": """
        SELECT revision.force_code, revision.month, revision.number, revision.stored, count(stop.id)
        FROM revision LEFT JOIN stop ON stop.force_code = revision.force_code AND stop.month = revision.month
            AND stop.first_revision <= revision.number
            AND (stop.withdrawn_revision IS NULL OR stop.withdrawn_revision > revision.number)
        WHERE revision.standing = 'served'
        GROUP BY revision.force_code, revision.month, revision.number HAVING revision.stored <> count(stop.id)
    """,
    "a revision whose rollup does not add up to what it stored": """
        SELECT revision.force_code, revision.month, revision.number, revision.stored, sum(stop_count.stops)
        FROM revision LEFT JOIN stop_count ON stop_count.force_code = revision.force_code
            AND stop_count.month = revision.month AND stop_count.first_revision <= revision.number
            AND (stop_count.withdrawn_revision IS NULL OR stop_count.withdrawn_revision > revision.number)
        WHERE revision.standing = 'served'
        GROUP BY revision.force_code, revision.month, revision.number
        HAVING revision.stored <> coalesce(sum(stop_count.stops), 0)
    """,
    "a rollup that is not the count of the rows": """
        SELECT force_code, month, type_code, gender_code, age_range_code, self_defined_ethnicity_code,
            officer_defined_ethnicity_code, outcome_code, sum(stops)
        FROM (
            SELECT force_code, month, type_code, coalesce(gender_code, 0::smallint) AS gender_code,
                coalesce(age_range_code, 0::smallint) AS age_range_code,
                coalesce(self_defined_ethnicity_code, 0::smallint) AS self_defined_ethnicity_code,
                coalesce(officer_defined_ethnicity_code, 0::smallint) AS officer_defined_ethnicity_code,
                coalesce(outcome_code, 0::smallint) AS outcome_code, 1 AS stops
            FROM stop WHERE withdrawn_revision IS NULL
            UNION ALL
            SELECT force_code, month, type_code, gender_code, age_range_code, self_defined_ethnicity_code,
                officer_defined_ethnicity_code, outcome_code, -stops
            FROM stop_count WHERE withdrawn_revision IS NULL
        ) AS both_ways
        GROUP BY 1, 2, 3, 4, 5, 6, 7, 8 HAVING sum(stops) <> 0
    """,
    "a served revision whose letters are not as many as it rejected": """
        SELECT revision.force_code, revision.month, revision.number, revision.rejected, count(letter.id)
        FROM revision LEFT JOIN dead_letter AS letter ON letter.force_code = revision.force_code
            AND letter.month = revision.month AND letter.revision = revision.number
        WHERE revision.standing = 'served'
        GROUP BY revision.force_code, revision.month, revision.number HAVING revision.rejected <> count(letter.id)
    """,
    "a record that is both a stop and a dead letter of one revision": """
        SELECT letter.* FROM dead_letter AS letter JOIN stop ON stop.force_code = letter.force_code
            AND stop.month = letter.month AND stop.first_revision = letter.revision
            AND stop.record_number = letter.record_number
    """,
    "a held month without its current revision": """
        SELECT release.* FROM month_release AS release LEFT JOIN revision ON revision.force_code = release.force_code
            AND revision.month = release.month AND revision.number = release.current_revision
            AND revision.standing = 'served' AND revision.served_until IS NULL
        WHERE (release.state = 'held') <> (revision.number IS NOT NULL)
    """,
    "served revisions with a gap or an overlap in time": """
        SELECT * FROM (
            SELECT force_code, month, number, served_until,
                lead(served_from) OVER (PARTITION BY force_code, month ORDER BY number) AS following
            FROM revision WHERE standing = 'served'
        ) AS lives WHERE served_until IS DISTINCT FROM following
    """,
    "a current revision without the ledger row that made it": """
        SELECT revision.* FROM revision LEFT JOIN ingest_run AS run ON run.id = revision.run_id
            AND run.revision = revision.number AND run.received = revision.received AND run.stored = revision.stored
            AND run.rejected = revision.rejected AND run.added = revision.added AND run.ended_at IS NOT NULL
            AND run.withdrawn = revision.withdrawn AND run.status IN ('revised', 'historic')
        WHERE run.id IS NULL
    """,
}


def content_of(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """
    Give all that a database holds, by table; two that were brought to the same state give the same.
    """
    with database.connect() as connection:
        return {table: connection.execute(query).fetchall() for table, query in _CONTENT.items()}


def breaches_of(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """
    Give what breaks the laws in a database, by what is wrong: an empty dictionary where all is well.
    """
    with database.connect() as connection:
        found = {wrong: connection.execute(query).fetchall() for wrong, query in _BREACHES.items()}
    return {wrong: rows for wrong, rows in found.items() if rows}


def row_places(database: Database, table: str = "stop") -> list[tuple[Any, ...]]:
    """
    Give where each row lies and which transaction wrote it: the same as long as nobody writes, not even the same.
    """
    with database.connect() as connection:
        return connection.execute(f"SELECT ctid, xmin, xmax FROM {table} ORDER BY ctid").fetchall()


def count_rows(database: Database, table: str) -> int:
    """
    Count a table's rows.
    """
    with database.connect() as connection:
        row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert row is not None
    return int(row[0])
