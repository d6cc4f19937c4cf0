"""
What changed between two revisions of a force-month, by identity and by field; also where one was never served.
"""

from __future__ import annotations

from collections import Counter

import pytest

from builders.archives import csv_rows, sample_month
from builders.ingests import TRIGGER, bring_in, bring_one_in, edition, ingest_archives, settings_for
from builders.source_bodies import csv_body
from stopsearch.domain.errors import BodyGone, UnknownForce, UnknownRevision
from stopsearch.domain.months import Month
from stopsearch.domain.states import Cause, Standing
from stopsearch.flows.plan import Wanted
from stopsearch.flows.rebuild import revert
from stopsearch.flows.revisions import RevisionDiff, diff_revisions, list_revisions, show_revision
from stopsearch.sample import sample_archives
from stopsearch.store.database import Database

pytestmark = pytest.mark.integration

EARLIER, LATER = sample_archives()
JANUARY, FEBRUARY = Month(2020, 1), Month(2020, 2)
DURHAM = Wanted(forces=("durham",), first=JANUARY, last=FEBRUARY)
NO_FURTHER_ACTION = "A no further action disposal"


def lines_only_in(force: str, month: str) -> tuple[int, int]:
    """
    Count the records that only the earlier, and only the later edition has, from the files alone.
    """
    earlier, later = (
        Counter(tuple(row.values()) for row in csv_rows(sample_month(force, month, edition=edition)))
        for edition in ("2020-02", "2021-11")
    )
    return (earlier - later).total(), (later - earlier).total()


def counts(diff: RevisionDiff) -> tuple[int, int]:
    return diff.changes.withdrawn, diff.changes.added


@pytest.mark.parametrize(("month", "changed"), [(JANUARY, 27), (FEBRUARY, 85)])
def test_durham_is_changed_in_its_outcome_alone(database: Database, month: Month, changed: int) -> None:
    ingest_archives(database, EARLIER, LATER, wanted=DURHAM)
    diff = diff_revisions(database, "durham", month)
    assert (diff.before.number, diff.after.number) == (1, 2)
    assert counts(diff) == lines_only_in("durham", str(month)) == (changed, changed)
    assert diff.changes.kept + changed == diff.after.stored
    assert diff.changes.changed == changed
    [outcome] = diff.changes.by_field
    assert (outcome.field, outcome.records) == ("outcome", changed)
    [value] = outcome.values
    assert (value.before, value.after, value.records) == (None, NO_FURTHER_ACTION, changed)
    before, after = diff.changes.changed_sample[0]
    assert {name for name in before if before[name] != after[name]} == {"id", "outcome"}
    assert (diff.changes.added_sample, diff.changes.withdrawn_sample) == ([], [])


def test_large_revision_agrees_with_the_files(database: Database) -> None:
    ingest_archives(database, EARLIER, LATER, wanted=Wanted(forces=("south-yorkshire",)))
    diff = diff_revisions(database, "south-yorkshire", JANUARY)
    assert counts(diff) == lines_only_in("south-yorkshire", "2020-01") == (795, 917)
    assert (diff.before.stored, diff.after.stored) == (2052, 2174)
    changes = diff.changes
    assert changes.kept == 2052 - 795
    # It gives no place, so that a record at another time is another record.
    assert {change.field for change in changes.by_field}.isdisjoint({"datetime", "latitude", "longitude"})
    assert changes.by_field[0].field == "officer_defined_ethnicity"
    assert 0 < changes.changed <= 795
    assert changes.added_sample


def test_backwards_is_the_mirror_image(database: Database) -> None:
    ingest_archives(database, EARLIER, LATER, wanted=Wanted(forces=("south-yorkshire",)))
    there = diff_revisions(database, "south-yorkshire", JANUARY, 1, 2).changes
    back = diff_revisions(database, "south-yorkshire", JANUARY, 2, 1).changes
    assert (back.added, back.withdrawn, back.kept) == (there.withdrawn, there.added, there.kept)
    itself = diff_revisions(database, "south-yorkshire", JANUARY, 2, 2).changes
    assert (itself.added, itself.withdrawn, itself.by_field) == (0, 0, [])


def test_historic_edition_is_read_from_its_body(database: Database) -> None:
    """
    The earlier edition arrives after the later one, and is never served: it compares all the same.
    """
    ingest_archives(database, LATER, wanted=DURHAM)
    ingest_archives(database, EARLIER, wanted=DURHAM)
    assert show_revision(database, "durham", JANUARY, 2).standing is Standing.HISTORIC
    diff = diff_revisions(database, "durham", JANUARY, 2, 1)
    assert counts(diff) == (27, 27)
    assert [change.field for change in diff.changes.by_field] == ["outcome"]
    assert diff.changes.remade_by_field == []
    assert diff.read_by_todays_rules == [2]


def test_pruned_body_is_named(database: Database) -> None:
    ingest_archives(database, LATER, wanted=DURHAM)
    ingest_archives(database, EARLIER, wanted=DURHAM)
    with database.connect() as connection:
        connection.execute("ALTER TABLE revision DROP CONSTRAINT fk_revision_body_digest")
        connection.execute("DELETE FROM published_body")
    with pytest.raises(BodyGone):
        diff_revisions(database, "durham", JANUARY, 1, 2)
    assert show_revision(database, "durham", JANUARY, 2).body_bytes is None


def test_record_that_goes_and_comes_back_is_kept(database: Database) -> None:
    stops = [{"gender": "Male"}, {"gender": "Female"}]
    for number, body in enumerate((csv_body(*stops), csv_body(stops[0]), csv_body(*stops)), start=1):
        assert bring_one_in(database, edition(body, published=f"2023-1{number - 1}")).revision == number
    july = Month(2023, 7)
    assert counts(diff_revisions(database, "durham", july, 1, 2)) == (1, 0)
    whole = diff_revisions(database, "durham", july, 1, 3).changes
    assert (whole.withdrawn, whole.added, whole.kept) == (0, 0, 2)


def test_repeats_are_counted(database: Database) -> None:
    bring_in(database, edition(csv_body({}, {}, {}), published="2023-10"))
    bring_in(database, edition(csv_body({}), published="2023-11"))
    assert counts(diff_revisions(database, "durham", Month(2023, 7))) == (2, 0)


def test_other_record_is_no_change(database: Database) -> None:
    """
    Alike in place and time but in more than three fields is another person.
    """
    other = {"gender": "Female", "age_range": "10-17", "outcome": "", "object_of_search": "Firearms"}
    bring_in(database, edition(csv_body({}), published="2023-10"))
    bring_in(database, edition(csv_body(other), published="2023-11"))
    changes = diff_revisions(database, "durham", Month(2023, 7)).changes
    assert (changes.changed, changes.added, changes.withdrawn) == (0, 1, 1)
    assert changes.added_sample[0]["gender"] == "Female"


def test_other_rules_show_as_values_that_our_rules_made(database: Database) -> None:
    bring_in(database, edition(csv_body({}), published="2023-10"))
    bring_in(database, edition(csv_body({}, {}), published="2023-11"))
    with database.connect() as connection:
        connection.execute("CREATE TEMP TABLE remade AS SELECT * FROM stop WHERE first_revision = 1")
        connection.execute("UPDATE remade SET first_revision = 2, outcome_code = 3")
        connection.execute("UPDATE stop SET withdrawn_revision = 2 WHERE first_revision = 1")
        connection.execute("INSERT INTO stop SELECT * FROM remade")
    changes = diff_revisions(database, "durham", Month(2023, 7)).changes
    assert (changes.added, changes.withdrawn, changes.kept) == (1, 0, 1)
    [outcome] = changes.remade_by_field
    assert (outcome.field, outcome.values[0].after) == ("outcome", "Community resolution")


def test_lists_by_what_is_wanted(database: Database) -> None:
    ingest_archives(database, EARLIER, LATER, wanted=DURHAM)
    revert(database, settings_for(), "durham", JANUARY, trigger=TRIGGER)
    every = list_revisions(database, DURHAM)
    assert [(str(entry.month), entry.number) for entry in every] == [
        ("2020-01", 1),
        ("2020-01", 2),
        ("2020-01", 3),
        ("2020-02", 1),
        ("2020-02", 2),
    ]
    assert [entry.is_current for entry in every] == [False, False, True, False, True]
    assert all(entry.received == entry.stored + entry.rejected for entry in every)
    [reverted] = list_revisions(database, causes=[Cause.REVERT])
    assert (reverted.month, reverted.added, reverted.withdrawn) == (JANUARY, 27, 27)
    assert [entry.number for entry in list_revisions(database, only_changes=True)] == [2, 3, 2]
    assert list_revisions(database, limit=1) == [reverted]
    assert list_revisions(database, since=reverted.served_from) == [reverted]
    assert list_revisions(database, Wanted(first=Month(2020, 3))) == []
    assert list_revisions(database, standings=[Standing.HISTORIC]) == []


def test_shows_the_current_one_unless_told(database: Database) -> None:
    ingest_archives(database, EARLIER, LATER, wanted=DURHAM)
    current = show_revision(database, "durham", JANUARY)
    assert (current.number, current.is_current, current.is_restated, current.received) == (2, True, True, 161)
    first = show_revision(database, "durham", JANUARY, 1)
    assert first.served_until == current.served_from
    assert first.body_bytes == len(sample_month("durham", "2020-01", edition="2020-02"))
    assert first.batch_id is not None


def test_names_what_is_not_there(database: Database) -> None:
    ingest_archives(database, LATER, wanted=DURHAM)
    for number in (7, 70_000, -1, 0):
        with pytest.raises(UnknownRevision, match=f"durham 2020-01 has no revision {number}. It has 1."):
            show_revision(database, "durham", JANUARY, number)
    with pytest.raises(UnknownRevision, match="Nothing is held of durham 2019-05"):
        show_revision(database, "durham", Month(2019, 5))
    with pytest.raises(UnknownForce, match="durham"):
        show_revision(database, "durahm", JANUARY)
    with pytest.raises(UnknownRevision, match="before revision 1"):
        diff_revisions(database, "durham", JANUARY)
