"""
Progress counts what came in, says the rate and the time left, and tells trouble at once.
"""

from __future__ import annotations

import pytest

from stopsearch.cli.progress import Progress
from stopsearch.domain.months import Month
from stopsearch.domain.states import RunStatus, Source
from stopsearch.flows.runs import RunReport
from stopsearch.source.api import Traffic
from stopsearch.store.ledger import RunOutcome

pytestmark = pytest.mark.unit


def report(number: int, **outcome: object) -> RunReport:
    """
    Make the report of a run that brought 100 records in, but for what is given.
    """
    values = {"status": RunStatus.REVISED, "received": 100, **outcome}
    return RunReport(force="durham", month=Month(2023, number), source=Source.API, outcome=RunOutcome(**values))  # type: ignore[arg-type]


def test_tells_rate_requests_and_time_left() -> None:
    now = [0.0]
    progress = Progress(clock=lambda: now[0])
    now[0] = 1.0
    progress.begin(12, lambda: Traffic(requests=10, retries=2))
    assert "not known yet" in progress.line()
    now[0] = 5.0
    for number in range(1, 5):
        progress.run_finished(report(number))
    assert progress.line() == (
        "4 of 12 force-months, 400 records (100/s), 10 requests (2.5/s, 2 retried), about 8.0 s left"
    )


def test_tells_trouble_at_once_and_the_rest_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    now = [1.0]
    progress = Progress(clock=lambda: now[0]).begin(9)
    progress.run_finished(report(1))
    assert capsys.readouterr().err == ""
    progress.run_finished(report(2, status=RunStatus.FAILED, error_text="It hung up. Try [again]."))
    assert capsys.readouterr().err == "durham 2023-02 failed: It hung up. Try [again].\n"
    now[0] = 7.0
    progress.run_finished(report(3))
    assert capsys.readouterr().err.startswith("3 of 9 force-months, ")


def test_says_that_it_is_stopping() -> None:
    progress = Progress(is_stopping=lambda: True).begin(9)
    assert progress.line().endswith(", stopping")


def test_tells_what_workers_try_again_later_until_it_is_on_its_way_again() -> None:
    progress = Progress(clock=lambda: 1.0).begin(9)
    progress.month_begun("durham", Month(2023, 1))
    progress.month_left("durham", Month(2023, 1))
    assert "1 tried again later" in progress.line()
    assert progress.in_flight == {}
    progress.month_begun("durham", Month(2023, 1))
    assert "again later" not in progress.line()
    progress.month_left("durham", Month(2023, 1))
    progress.run_finished(report(1))
    assert "again later" not in progress.line()
    assert progress.done == 1
