"""
The true revisions of the bundled sample: two editions of one force-month, in either order of arrival.
"""

from __future__ import annotations

import pytest

from builders.archives import ForceMonth, csv_rows, sample_month
from builders.ingests import bring_one_in, edition, ingest_archives
from builders.store_state import breaches_of, content_of, row_places
from stopsearch.domain.states import RunStatus
from stopsearch.sample import sample_archives
from stopsearch.store.database import Database

pytestmark = pytest.mark.integration

# Force-month, rows in the earlier and in the later edition, lines only in the one and only in the other: counted
# with `comm` over the sorted lines of both files.
RESTATED: dict[ForceMonth, tuple[int, int, int, int]] = {
    ("durham", "2020-01"): (161, 161, 27, 27),
    ("durham", "2020-02"): (135, 135, 85, 85),
    ("south-yorkshire", "2020-01"): (2052, 2174, 795, 917),
}
each_restated = pytest.mark.parametrize(("force", "month"), RESTATED, ids=str)


def editions(force: str, month: str) -> tuple[bytes, bytes]:
    return sample_month(force, month, edition="2020-02"), sample_month(force, month, edition="2021-11")


@each_restated
def test_the_later_edition_withdraws_and_adds_what_differs(database: Database, force: str, month: str) -> None:
    earlier, later = editions(force, month)
    rows_before, rows_after, gone, new = RESTATED[force, month]

    first = bring_one_in(database, edition(earlier, force=force, month=month, published="2020-02"))
    second = bring_one_in(database, edition(later, force=force, month=month, published="2021-11"))

    assert (first.status, first.stored, first.added, first.withdrawn) == ("revised", rows_before, rows_before, 0)
    assert (second.status, second.stored, second.added, second.withdrawn) == ("revised", rows_after, new, gone)
    assert breaches_of(database) == {}
    with database.connect() as connection:
        lives = connection.execute(
            "SELECT first_revision, withdrawn_revision, count(*) FROM stop GROUP BY 1, 2 ORDER BY 1, 2"
        ).fetchall()
        flags = connection.execute("SELECT is_restated FROM revision ORDER BY number").fetchall()
    assert lives == [(1, 2, gone), (1, None, rows_before - gone), (2, None, new)]
    assert flags == [(False,), (True,)]


@each_restated
def test_an_earlier_edition_that_arrives_late_goes_into_history(database: Database, force: str, month: str) -> None:
    earlier, later = editions(force, month)
    rows_earlier, rows_later, _, _ = RESTATED[force, month]
    bring_one_in(database, edition(later, force=force, month=month, published="2021-11"))
    before = row_places(database)

    late = bring_one_in(database, edition(earlier, force=force, month=month, published="2020-02"))

    assert (late.status, late.revision, late.stored) == (RunStatus.HISTORIC, 2, rows_earlier)
    assert (late.added, late.withdrawn) == (0, 0)
    assert row_places(database) == before
    assert breaches_of(database) == {}
    with database.connect() as connection:
        release = connection.execute("SELECT current_revision FROM month_release").fetchone()
        kept = connection.execute("SELECT number, standing, stored FROM revision ORDER BY number").fetchall()
        restated = connection.execute("SELECT bool_or(is_restated) FROM revision").fetchone()
    assert release == (1,)
    assert kept == [(1, "served", rows_later), (2, "historic", rows_earlier)]
    assert restated == (False,)


def test_both_archives_in_one_go_are_taken_in_the_order_of_their_publication(database: Database) -> None:
    earlier, later = sample_archives()

    report = ingest_archives(database, later, earlier)  # however they are named

    assert report.status == "finished"
    with database.connect() as connection:
        revised = connection.execute(
            """
            SELECT force.id, to_char(month, 'YYYY-MM'), stored, withdrawn, added FROM revision
            JOIN force ON force.code = force_code WHERE number = 2 ORDER BY 1, 2
            """
        ).fetchall()
    assert {(row[0], row[1]): row[2:] for row in revised} == {
        key: (after, gone, new) for key, (_, after, gone, new) in RESTATED.items()
    }
    assert breaches_of(database) == {}

    before = content_of(database)
    again = ingest_archives(database, earlier, later)
    assert {run.outcome.status for run in again.runs} == {RunStatus.UNCHANGED}
    assert content_of(database) == before


def test_the_current_rows_are_those_of_the_later_file(database: Database) -> None:
    earlier, later = editions("durham", "2020-02")
    bring_one_in(database, edition(earlier, month="2020-02", published="2020-02"))
    bring_one_in(database, edition(later, month="2020-02", published="2021-11"))

    with database.connect() as connection:
        outcomes = connection.execute(
            "SELECT outcome, count(*) FROM stop_in_words WHERE withdrawn_revision IS NULL GROUP BY 1"
        ).fetchall()
        before = connection.execute(
            "SELECT count(*) FROM stop_in_words WHERE outcome IS NULL AND first_revision = 1"
        ).fetchone()
    written = [row["Outcome"] or None for row in csv_rows(later)]
    assert dict(outcomes) == {outcome: written.count(outcome) for outcome in set(written)}
    assert before == (sum(not row["Outcome"] for row in csv_rows(earlier)),)
