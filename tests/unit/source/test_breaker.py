"""
When the publisher is left alone, and how it is found to be back.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs

from stopsearch.domain.errors import UpstreamDown
from stopsearch.source.breaker import Permit, ProcessBreaker, Verdict

pytestmark = pytest.mark.unit


class TurnedClock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def utc_now(self) -> datetime:
        return datetime.fromtimestamp(self.now, UTC)

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


class Subject:
    """
    A breaker of five failures and a minute's pause, without the awaits.
    """

    def __init__(self, failures: int = 5) -> None:
        self.clock = TurnedClock()
        self.breaker = ProcessBreaker(failures=failures, pause_s=60, clock=self.clock)

    def enter(self, address: str = "x") -> Permit:
        return asyncio.run(self.breaker.enter(address))

    def leave(self, permit: Permit, verdict: Verdict) -> None:
        asyncio.run(self.breaker.leave(permit, verdict))

    def ask(self, address: str, verdict: Verdict) -> None:
        self.leave(self.enter(address), verdict)

    def open(self) -> None:
        for n in range(5):
            self.ask(f"month {n}", Verdict.DOWN)
        assert self.breaker.pause_left_s == 60


@pytest.fixture
def subject() -> Subject:
    return Subject()


def test_opens_after_failures_in_a_row_and_says_for_how_long(subject: Subject) -> None:
    with capture_logs() as events:
        subject.open()
    assert [(e["event"], e["failures"], e["pause_s"]) for e in events] == [("breaker_opened", 5, 60)]
    subject.clock.now += 17.5
    with pytest.raises(UpstreamDown, match="failed 5 times in a row and is left alone for 43 seconds more"):
        subject.enter()
    with pytest.raises(UpstreamDown):
        subject.breaker.check()


def test_a_success_in_between_starts_the_count_again(subject: Subject) -> None:
    for _ in range(3):
        for n in range(4):
            subject.ask(f"month {n}", Verdict.DOWN)
        subject.ask("another", Verdict.UP)
    subject.breaker.check()


def test_one_month_that_fails_for_itself_alone_never_shuts_the_others_out(subject: Subject) -> None:
    for _ in range(50):
        subject.ask("essex 2024-03", Verdict.DOWN)
        subject.ask("kent 2024-03", Verdict.DOWN)
    subject.breaker.check()
    subject.ask("surrey 2024-03", Verdict.DOWN)
    with pytest.raises(UpstreamDown):
        subject.breaker.check()


def test_throttling_says_nothing_either_way(subject: Subject) -> None:
    for n in range(4):
        subject.ask(f"month {n}", Verdict.DOWN)
    for n in range(20):
        subject.ask(f"month {n}", Verdict.UNKNOWN)
    subject.breaker.check()
    subject.ask("one more", Verdict.DOWN)
    with pytest.raises(UpstreamDown):
        subject.breaker.check()


def test_only_one_probe_goes_after_the_pause(subject: Subject) -> None:
    subject.open()
    subject.clock.now += 60
    subject.breaker.check()
    probe = subject.enter()
    assert probe.is_probe
    for _ in range(3):
        with pytest.raises(UpstreamDown, match="single request"):
            subject.enter()
        with pytest.raises(UpstreamDown):
            subject.breaker.check()
    with capture_logs() as events:
        subject.leave(probe, Verdict.UP)
    assert [e["event"] for e in events] == ["breaker_closed"]
    assert not subject.enter().is_probe
    assert subject.breaker.pause_left_s == 0


def test_a_failed_probe_starts_the_pause_again(subject: Subject) -> None:
    subject.open()
    subject.clock.now += 75
    subject.ask("probe", Verdict.DOWN)
    assert subject.breaker.pause_left_s == 60
    subject.clock.now += 60
    subject.ask("probe", Verdict.UP)
    subject.breaker.check()


@pytest.mark.parametrize("verdict", [Verdict.UNKNOWN])
def test_a_probe_that_was_throttled_or_cancelled_makes_room_for_the_next(subject: Subject, verdict: Verdict) -> None:
    subject.open()
    subject.clock.now += 60
    subject.ask("probe", Verdict.UNKNOWN)
    assert subject.enter().is_probe


def test_requests_that_were_under_way_when_it_opened_have_no_say(subject: Subject) -> None:
    late_up, late_down = subject.enter("late"), subject.enter("later")
    subject.open()
    subject.clock.now += 30
    subject.leave(late_down, Verdict.DOWN)
    subject.leave(late_up, Verdict.UP)
    assert subject.breaker.pause_left_s == 30


def test_after_closing_the_count_starts_at_nothing(subject: Subject) -> None:
    subject.open()
    subject.clock.now += 60
    subject.ask("probe", Verdict.UP)
    for n in range(4):
        subject.ask(f"month {n}", Verdict.DOWN)
    subject.breaker.check()


def test_a_threshold_of_one_opens_at_the_first_failure() -> None:
    subject = Subject(failures=1)
    subject.ask("month", Verdict.DOWN)
    with pytest.raises(UpstreamDown):
        subject.breaker.check()
