"""
What a trial ends in, and how it differs from the end of an undisturbed run.
"""

from __future__ import annotations

from typing import Any

from builders.store_state import breaches_of, content_of
from chaos.publisher import ForceMonth, force_months
from stopsearch.store.database import Database

Content = dict[str, list[tuple[Any, ...]]]

_SHOWN = 3

_TOTALS = """
    SELECT force.id, stop_total.* FROM stop_total JOIN force ON force.code = stop_total.force_code
    ORDER BY force.id, month, first_revision, stop_total::text
"""

# Each finds what must not be left when every batch has ended.
_LEFT_OVER: dict[str, str] = {
    "a batch that has not ended": """
        SELECT id, trigger, status FROM ingest_batch WHERE ended_at IS NULL OR status IN ('queued', 'running')
    """,
    "a run that has not ended": """
        SELECT run.id, force.id, month, status FROM ingest_run AS run JOIN force ON force.code = run.force_code
        WHERE ended_at IS NULL OR status IN ('queued', 'running')
    """,
    "a planned force-month that has not ended": """
        SELECT batch_id, force.id, month, status FROM batch_month JOIN force ON force.code = force_code
        WHERE ended_at IS NULL
    """,
    "not one revising run for each revision": """
        SELECT force.id, month, runs, revisions
        FROM (SELECT force_code, month, count(*) AS runs FROM ingest_run WHERE status = 'revised' GROUP BY 1, 2) AS run
        FULL JOIN (SELECT force_code, month, count(*) AS revisions FROM revision GROUP BY 1, 2) AS revision
            USING (force_code, month)
        JOIN force ON force.code = force_code
        WHERE runs IS DISTINCT FROM revisions
    """,
    "a revision whose runs do not tell what was stored": """
        SELECT force.id, revision.month, revision.number FROM revision JOIN force ON force.code = revision.force_code
        WHERE 1 <> (
            SELECT count(*) FROM ingest_run AS run
            WHERE run.force_code = revision.force_code AND run.month = revision.month AND run.status = 'revised'
                AND run.revision = revision.number AND run.received = revision.received AND run.stored = revision.stored
                AND run.rejected = revision.rejected
        )
    """,
}


def content(database: Database) -> Content:
    """
    Give all that a database holds, but for instants and the numbers of runs.
    """
    with database.connect() as connection:
        totals = connection.execute(_TOTALS).fetchall()
    return {**content_of(database), "stop_total": totals}


def expected_without(whole: Content, without: Content, poisoned: ForceMonth) -> Content:
    """
    Give what is held where one force-month could not be brought in: all else is, and its body was kept.
    """
    releases = [row for row in whole["month_release"] if _of(row) != poisoned]
    return {**without, "month_release": releases, "published_body": whole["published_body"]}


def differences(database: Database, expected: Content, *, poisoned: ForceMonth | None) -> list[str]:
    """
    Tell how what a database holds differs from what it should hold, and what is left over; an empty list: in nothing.
    """
    found = content(database)
    if poisoned is not None:
        found["month_release"] = [row for row in found["month_release"] if _of(row) != poisoned]
    told = [
        f"{table}: {_sample(found[table], rows, 'too much')} {_sample(rows, found[table], 'missing')}"
        for table, rows in expected.items()
        if found[table] != rows
    ]
    told += [f"{wrong}: {rows[:_SHOWN]}" for wrong, rows in breaches_of(database).items()]
    with database.connect() as connection:
        for wrong, query in _LEFT_OVER.items():
            if rows := connection.execute(query).fetchall():
                told.append(f"{wrong}: {rows[:_SHOWN]}")
    return told + ledger_differences(database, poisoned)


def ledger_differences(database: Database, poisoned: ForceMonth | None) -> list[str]:
    """
    Tell which batch did not end as it should, or is not about what was asked for.
    """
    with database.connect() as connection:
        batches = connection.execute(
            "SELECT id, status, asked_for FROM ingest_batch WHERE is_distributed ORDER BY id"
        ).fetchall()
        months = connection.execute(
            """
            SELECT batch_id, force.id, to_char(month, 'YYYY-MM'), status FROM batch_month
            JOIN force ON force.code = force_code ORDER BY 1, 2, 3
            """
        ).fetchall()
    told = []
    for batch_id, status, asked_for in batches:
        of_batch = {(force, month): ended for id_, force, month, ended in months if id_ == batch_id}
        wrong = {key: ended for key, ended in of_batch.items() if ended not in ("revised", "unchanged", "empty")}
        should_fail = {poisoned: "failed"} if poisoned is not None else {}
        if wrong != should_fail:
            told.append(f"batch {batch_id}: force-months went wrong: {wrong}")
        if status != ("finished_with_failures" if should_fail else "finished"):
            told.append(f"batch {batch_id} ended as {status}: {asked_for.get('error')}")
    # A later batch need not ask again for what has just come empty.
    first = sorted((force, month) for id_, force, month, _ in months if id_ == batches[0][0]) if batches else []
    if first != force_months():
        told.append(f"the batch is about {len(first)} force-months instead of {len(force_months())}")
    return told


def _of(row: tuple[Any, ...]) -> ForceMonth:
    return row[0], f"{row[1]:%Y-%m}"


def _sample(these: list[tuple[Any, ...]], those: list[tuple[Any, ...]], word: str) -> str:
    other = {repr(row) for row in those}
    rows = [row for row in these if repr(row) not in other]
    return f"{len(rows)} {word}, as {rows[:_SHOWN]};" if rows else f"none {word};"
