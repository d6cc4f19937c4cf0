"""
What a question covers: expected = held + missing, whatever is asked for.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stopsearch.domain.filters import StopFilter
from stopsearch.domain.months import Month, month_range
from stopsearch.domain.states import MonthState
from stopsearch.flows.covered import covered
from stopsearch.store.as_of import ServedRevision
from stopsearch.store.snapshots import Gap, Snapshot

pytestmark = pytest.mark.unit

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def revision(force: str, month: Month, **changes: Any) -> ServedRevision:
    given = {
        "force": force,
        "force_code": 1,
        "month": month,
        "number": 1,
        "content_digest": bytes(32),
        "rules_version": 1,
        "received": 5,
        "stored": 5,
        "rejected": 0,
        "is_restated": False,
        "is_doubled": False,
        "is_date_only": False,
        "served_from": NOW,
        "first_datetime": NOW,
        "last_datetime": NOW,
        "first_number": 1,
    }
    return ServedRevision(**{**given, **changes})


def snapshot(*revisions: ServedRevision, gaps: tuple[Gap, ...] = (), **changes: Any) -> Snapshot:
    given = {
        "id": "a" * 64,
        "served_from": NOW,
        "revisions": revisions,
        "forces": ("durham", "kent"),
        "months": (Month(2020, 1), Month(2020, 4)),
        "listed_at": None,
        "gaps": gaps,
        "doubtful": frozenset(),
    }
    return Snapshot(**{**given, **changes})


SOME = snapshot(
    *(
        revision("durham", month, is_date_only=month.number == 2)
        for month in month_range(Month(2020, 1), Month(2020, 4))
    ),
    revision("kent", Month(2020, 2), is_doubled=True),
    gaps=(
        Gap(force="kent", state=MonthState.EMPTY, first=Month(2020, 1), last=Month(2020, 1)),
        Gap(force="kent", state=MonthState.DUE, first=Month(2020, 3), last=Month(2020, 4)),
    ),
    doubtful=frozenset({("kent", Month(2020, 2))}),
)


def test_the_kinds_of_missing_are_told_apart() -> None:
    told = covered(SOME, StopFilter())
    assert (told.expected, told.held, told.missing, told.doubtful) == (8, 5, 3, 1)
    assert told.by_state == {MonthState.DUE: 2, MonthState.EMPTY: 1}
    assert (told.date_only, told.doubled) == (1, 1)


def test_a_gap_is_cut_to_what_is_asked_for() -> None:
    told = covered(SOME, StopFilter(forces=("kent",), first=Month(2020, 2), last=Month(2020, 3)))
    assert (told.expected, told.held, told.missing) == (2, 1, 1)
    assert told.gaps == (Gap(force="kent", state=MonthState.DUE, first=Month(2020, 3), last=Month(2020, 3)),)


def test_a_force_of_which_nothing_is_known_is_missing_and_not_zero() -> None:
    told = covered(SOME, StopFilter(forces=("essex",)))
    assert (told.expected, told.held, told.missing) == (4, 0, 4)
    assert told.by_state == {MonthState.NOT_LISTED: 4}


def test_a_month_that_is_asked_for_and_not_known_is_missing_and_not_zero() -> None:
    after = covered(SOME, StopFilter(forces=("durham",), first=Month(2020, 3), last=Month(2020, 6)))
    assert (after.first, after.last) == (Month(2020, 3), Month(2020, 6))
    assert (after.expected, after.held, after.missing) == (4, 2, 2)
    assert after.gaps == (Gap(force="durham", state=MonthState.NOT_LISTED, first=Month(2020, 5), last=Month(2020, 6)),)

    beyond = covered(SOME, StopFilter(first=Month(2020, 8)))
    assert (beyond.expected, beyond.held, beyond.missing) == (2, 0, 2)
    before = covered(SOME, StopFilter(last=Month(2019, 12)))
    assert (before.expected, before.held, before.missing) == (2, 0, 2)


def test_what_lies_before_a_list_of_the_publisher_is_out_of_its_window() -> None:
    listed = snapshot(*SOME.revisions, gaps=SOME.gaps, listed_at=NOW)
    told = covered(listed, StopFilter(first=Month(2019, 11), last=Month(2020, 1)))
    assert told.by_state == {MonthState.EMPTY: 1, MonthState.OUT_OF_WINDOW: 4}


def test_a_far_end_stands_for_an_open_one() -> None:
    told = covered(SOME, StopFilter(forces=("durham",), first=Month(2020, 1), last=Month(2999, 12)))
    assert told.last == Month.of(NOW.date())
    assert covered(SOME, StopFilter(first=Month(2000, 1), last=Month(2020, 1))).first == Month(2010, 12)


def test_a_gap_at_the_edge_is_one_run() -> None:
    told = covered(
        snapshot(
            revision("kent", Month(2020, 1)),
            gaps=(Gap(force="kent", state=MonthState.NOT_LISTED, first=Month(2020, 2), last=Month(2020, 4)),),
        ),
        StopFilter(forces=("kent",), first=Month(2020, 1), last=Month(2020, 6)),
    )
    assert told.gaps == (Gap(force="kent", state=MonthState.NOT_LISTED, first=Month(2020, 2), last=Month(2020, 6)),)


def test_instants_ask_for_the_local_months_that_they_lie_in() -> None:
    # Midnight that begins 1 April in London lies on 31 March in UTC.
    told = covered(
        SOME,
        StopFilter(
            datetime_from=datetime(2020, 2, 10, tzinfo=UTC), datetime_before=datetime(2020, 3, 31, 23, tzinfo=UTC)
        ),
    )
    assert (told.first, told.last, told.expected, told.held) == (Month(2020, 2), Month(2020, 3), 4, 3)
    later = covered(SOME, StopFilter(datetime_before=datetime(2020, 3, 31, 23, 0, 1, tzinfo=UTC)))
    assert (later.first, later.last) == (Month(2020, 1), Month(2020, 4))


def test_an_empty_store_expects_nothing() -> None:
    assert covered(snapshot(months=None, forces=()), StopFilter()).expected == 0


@given(
    st.lists(st.sampled_from(["durham", "kent", "essex"]), unique=True),
    st.none() | st.integers(0, 30),
    st.none() | st.integers(0, 30),
)
def test_expected_is_held_and_missing_and_missing_is_the_gaps(
    forces: list[str], first: int | None, last: int | None
) -> None:
    start = Month(2019, 1)
    asked = StopFilter(
        forces=tuple(forces),
        first=start.plus(first) if first is not None else None,
        last=start.plus(last) if last is not None else None,
    )
    told = covered(SOME, asked)
    assert told.expected == told.held + told.missing
    assert told.missing == sum(told.by_state.values())
