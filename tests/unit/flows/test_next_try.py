"""
When a force-month is tried again, by how its run ended.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from stopsearch.domain.months import Month
from stopsearch.domain.states import RunStatus
from stopsearch.flows.run_month import next_try
from stopsearch.store.batch_months import ClaimedMonth
from stopsearch.store.ledger import RunOutcome

pytestmark = pytest.mark.unit

NOW = datetime(2026, 11, 25, 2, 0, tzinfo=UTC)
RETRY_FOR = timedelta(hours=12)


def claimed(*, tries: int = 0, planned: timedelta = timedelta(minutes=1)) -> ClaimedMonth:
    return ClaimedMonth(
        batch_id=1,
        force="durham",
        month=Month(2023, 7),
        queue="daily",
        reason="listed, not held",
        asked_for={},
        requested_by="a test",
        planned_at=NOW - planned,
        tries=tries,
    )


def wait(status: RunStatus, kind: str | None = None, **claim: object) -> timedelta | None:
    outcome = RunOutcome(status=status, error_kind=kind)
    at = next_try(outcome, claimed(**claim), now=NOW, retry_for=RETRY_FOR)  # type: ignore[arg-type]
    return at - NOW if at is not None else None


@pytest.mark.parametrize(
    "status", [RunStatus.REVISED, RunStatus.UNCHANGED, RunStatus.EMPTY, RunStatus.REFUSED, RunStatus.HISTORIC]
)
def test_what_is_settled_is_not_tried_again(status: RunStatus) -> None:
    assert wait(status) is None


@pytest.mark.parametrize("kind", ["source_shape_changed", "month_not_published", "error", "config"])
def test_what_a_retry_cannot_help_is_not_tried_again(kind: str) -> None:
    assert wait(RunStatus.FAILED, kind) is None


def test_waits_longer_after_each_failure_up_to_an_hour() -> None:
    waits = [wait(RunStatus.FAILED, "source_unavailable", tries=tries) for tries in range(12)]
    assert waits[:4] == [timedelta(minutes=minutes) for minutes in (1, 2, 4, 8)]
    assert waits[-1] == timedelta(hours=1)


def test_waits_a_little_while_the_publisher_is_left_alone_however_often() -> None:
    assert wait(RunStatus.FAILED, "upstream_down", tries=9) == wait(RunStatus.FAILED, "upstream_down") is not None


def test_what_was_stopped_goes_on_at_once_however_long_ago_it_was_planned() -> None:
    assert wait(RunStatus.CANCELLED, planned=timedelta(days=3)) == timedelta(0)


@pytest.mark.parametrize(
    ("status", "kind", "tries"),
    [
        (RunStatus.FAILED, "source_unavailable", 0),
        (RunStatus.FAILED, "upstream_down", 0),
        (RunStatus.BUSY, "run_active", 60),
    ],
)
def test_gives_up_after_the_set_hours(status: RunStatus, kind: str, tries: int) -> None:
    assert wait(status, kind, tries=tries, planned=RETRY_FOR - timedelta(seconds=1)) is not None
    assert wait(status, kind, tries=tries, planned=RETRY_FOR) is None


def test_what_is_being_written_is_waited_for_as_long_as_a_task_may_take_however_long_ago_it_was_planned() -> None:
    assert wait(RunStatus.BUSY, "run_active", tries=59, planned=timedelta(days=3)) is not None
