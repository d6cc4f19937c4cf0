"""
Which edition is current, what is doubtful, and from when on a revision is served.
"""

from __future__ import annotations

import hashlib
import threading
from datetime import UTC, datetime, timedelta
from itertools import product
from string import ascii_lowercase

import pytest

from builders.ingests import TRIGGER, bring_in, bring_one_in, edition, settings_for
from builders.source_bodies import api_record, csv_body
from stopsearch.clean.identity import id_prefix
from stopsearch.domain.months import Month
from stopsearch.domain.published import Availability
from stopsearch.domain.states import MonthFlag, RunStatus
from stopsearch.flows.plan import RecheckAfter, Wanted, due_months
from stopsearch.flows.rebuild import revert
from stopsearch.store.as_of import one_snapshot, served_revisions
from stopsearch.store.database import Database
from stopsearch.store.known_months import known_months
from stopsearch.store.locks import hold_the_instant
from stopsearch.store.releases import record_listing

pytestmark = pytest.mark.integration

MONTH = Month(2023, 7)
A, B = csv_body({}, {"gender": "Female"}), csv_body({}, {"gender": None})


def _known(database: Database) -> dict[str, tuple[int | None, tuple[MonthFlag, ...]]]:
    with database.connect(autocommit=True) as connection:
        return {month.force: (month.revision, month.flags) for month in known_months(connection)}


def test_a_force_whose_ids_begin_like_anothers_takes_nothing_from_it(database: Database) -> None:
    """
    An id holds two bytes of its force's digest, which another force may share: no withdrawal may rely on them.
    """
    prefix = id_prefix("durham", MONTH)
    other = next(
        name
        for name in map("".join, product(ascii_lowercase, repeat=4))
        if hashlib.sha256(name.encode()).digest()[:2] == prefix[2:]
    )
    bring_in(database, edition(A, force="durham"), edition(A, force=other), edition(B, force=other))
    with database.connect(autocommit=True) as connection:
        left = connection.execute(
            "SELECT count(*) FROM stop_in_words WHERE force = 'durham' AND withdrawn_revision IS NULL"
        ).fetchone()
    assert left == (2,)
    assert _known(database)[other][0] == 2


def test_two_editions_of_one_rank_brought_in_again_change_nothing(database: Database) -> None:
    rank = "2023-07-31T23:59:59+00:00"
    first, second = edition(A, published=rank), edition(B, published=rank)
    once = [report.outcome.status for report in bring_in(database, first, second)]
    again = [report.outcome.status for report in bring_in(database, first, second, first)]
    assert once == [RunStatus.REVISED, RunStatus.REVISED]
    assert again == [RunStatus.UNCHANGED] * 3
    assert _known(database)["durham"][0] == 2


def test_what_an_operator_took_back_may_be_brought_in_again(database: Database) -> None:
    first, second = edition(A, published="2023-07-31T00:00:00+00:00"), edition(B, published="2023-08-31T00:00:00+00:00")
    bring_in(database, first, second)
    revert(database, settings_for(), "durham", MONTH, trigger=TRIGGER)
    assert bring_one_in(database, second).status is RunStatus.REVISED


def test_a_reverted_edition_ranks_as_late_as_it_was_confirmed(database: Database) -> None:
    confirmed = edition(A, published="2023-12-31T00:00:00+00:00")
    bring_in(database, edition(A, published="2023-07-31T00:00:00+00:00"), confirmed)
    bring_in(database, edition(B, published="2024-03-31T00:00:00+00:00"))
    revert(database, settings_for(), "durham", MONTH, trigger=TRIGGER)
    late = edition(csv_body({}), published="2023-10-31T00:00:00+00:00")
    assert bring_one_in(database, late).status is RunStatus.HISTORIC


def test_doubt_ends_only_by_what_was_published_after_it_began(database: Database) -> None:
    archive = edition(A, published="2023-07-31T00:00:00+00:00")
    bring_in(database, archive, edition([]))
    assert _known(database)["durham"][1] == (MonthFlag.DOUBTFUL,)
    bring_in(database, archive, edition(B, published="2023-08-31T00:00:00+00:00"))
    assert MonthFlag.DOUBTFUL in _known(database)["durham"][1]
    bring_in(database, edition([api_record()]))
    assert MonthFlag.DOUBTFUL not in _known(database)["durham"][1]


def test_a_held_month_whose_newest_answer_was_refused_is_doubtful(database: Database) -> None:
    bring_in(database, edition([api_record()]))
    assert bring_one_in(database, edition([api_record(gender="?")] * 30)).status is RunStatus.REFUSED
    assert _known(database)["durham"] == (1, (MonthFlag.DOUBTFUL,))


def test_a_month_of_an_archive_is_checked_some_time_after_it_was_first_listed(database: Database) -> None:
    bring_in(database, edition(A))
    listed = Availability(listed={MONTH: frozenset({"durham"})})
    now = datetime.now(UTC)
    with database.connect(autocommit=True) as connection:
        record_listing(connection, listed, at=now)
        known = known_months(connection)
    after = RecheckAfter(held=timedelta(days=30), empty=timedelta(hours=12))

    def due(in_days: float) -> list[str]:
        at = now + timedelta(days=in_days)
        return [month.reason for month in due_months(listed, known, wanted=Wanted(), after=after, now=at)]

    assert due(29) == []
    assert due(30) == ["held, checked for a revision"]
    bring_in(database, edition(A))
    with database.connect(autocommit=True) as connection:
        known = known_months(connection)
    assert due(30) == ["held, checked for a revision"], "an archive is no look at the publisher"


def test_a_reader_never_reads_the_clock_between_a_revisions_instant_and_its_commit(database: Database) -> None:
    """
    Else what was served "as of" the reader's own instant would later hold a revision that the reader did not see.
    """
    bring_in(database, edition([api_record()]))
    seen: list[datetime] = []

    def read() -> None:
        with database.connect(autocommit=True) as connection, one_snapshot(connection) as at:
            seen.append(at)

    with database.connect() as writer:
        hold_the_instant(writer)
        reader = threading.Thread(target=read)
        reader.start()
        reader.join(timeout=0.5)
        assert reader.is_alive()
        released = datetime.now(UTC)
        writer.commit()
        reader.join(timeout=10)
    assert seen
    assert seen[0] >= released - timedelta(milliseconds=50)


def test_as_of_its_own_instant_a_reader_finds_what_it_saw(database: Database) -> None:
    """
    Readers and a writer at once: each reader's instant gives back, later, the revisions that it saw.
    """
    bring_in(database, edition([api_record()]))
    done = threading.Event()
    looks: list[tuple[datetime, list[int]]] = []

    def look() -> None:
        with database.connect(autocommit=True) as connection:
            while not done.is_set():
                with one_snapshot(connection) as at:
                    looks.append((at, [revision.number for revision in served_revisions(connection)]))

    reader = threading.Thread(target=look)
    reader.start()
    for count in range(2, 14):
        bring_in(database, edition([api_record()] * count))
    done.set()
    reader.join()
    with database.connect(autocommit=True) as connection:
        for at, numbers in looks[:: max(1, len(looks) // 200)]:
            assert [revision.number for revision in served_revisions(connection, as_of=at)] == numbers
    assert len({tuple(numbers) for _, numbers in looks}) > 1
