"""
What goes wrong on order, as a client meets it.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2
import pytest

from builders.standin import RunningStandin, make_api_record, running_standin
from stopsearch.standin.app import create_app
from stopsearch.standin.catalogue import Catalogue
from stopsearch.standin.publication import Publication

pytestmark = pytest.mark.integration

HELD = {
    ("gwent", "2023-06"): [make_api_record()] * 40,
    ("gwent", "2023-07"): [make_api_record()] * 40,
    ("kent", "2023-07"): [make_api_record()],
}


@pytest.fixture(scope="module")
def running() -> Iterator[RunningStandin]:
    with running_standin(HELD) as standin:
        yield standin


@pytest.fixture
def standin(running: RunningStandin) -> RunningStandin:
    running.faults.clear()
    running.publication.reset()
    running.stats.reset()
    return running


def ask(standin: RunningStandin, force: str = "gwent", month: str = "2023-07") -> httpx2.Response:
    return httpx2.get(f"{standin.url}/stops-force", params={"force": force, "date": month}, timeout=5)


def test_a_storm_lasts_as_many_answers_as_ordered(standin: RunningStandin) -> None:
    order = standin.faults.storm(times=2)
    answers = [ask(standin) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].content == b""
    assert "retry-after" not in answers[0].headers
    assert order.met == 2
    assert standin.stats.limited == 0, "an ordered 429 is not the client's fault"


def test_retry_after_comes_in_both_forms(standin: RunningStandin) -> None:
    standin.faults.storm(times=1, retry_after_s=7)
    standin.faults.storm(times=1, retry_after_s=7, as_date=True)
    seconds, date = (ask(standin).headers["retry-after"] for _ in range(2))
    assert seconds == "7"
    assert 4 < (parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds() <= 7


def test_a_storm_ends_when_its_time_is_over(standin: RunningStandin) -> None:
    standin.faults.storm(for_s=0.3)
    assert ask(standin).status_code == 429
    time.sleep(0.35)
    assert ask(standin).status_code == 200


@pytest.mark.parametrize("status", [500, 502, 503])
def test_one_force_month_can_fail_for_ever_while_others_answer(standin: RunningStandin, status: int) -> None:
    standin.faults.fail(status, force="gwent", month="2023-07")
    assert [ask(standin).status_code for _ in range(3)] == [status] * 3
    assert ask(standin).content == b""
    assert ask(standin, month="2023-06").status_code == 200
    assert ask(standin, force="kent").status_code == 200


def test_a_hang_answers_nothing_and_ends_with_the_client(standin: RunningStandin) -> None:
    standin.faults.hang(30, times=1)
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.get(f"{standin.url}/forces", timeout=0.3)
    assert ask(standin).status_code == 200
    deadline = time.monotonic() + 5
    while standin.stats.total < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sorted(standin.stats.by_status) == [0, 200]


def test_a_hang_that_is_waited_for_ends_as_a_proxy_ends_it(standin: RunningStandin) -> None:
    standin.faults.hang(0.2, times=1)
    assert ask(standin).status_code == 504


def test_a_slow_answer_is_right_and_late(standin: RunningStandin) -> None:
    standin.faults.slow(0.3, times=1)
    began = time.monotonic()
    assert len(ask(standin).json()) == 40
    assert time.monotonic() - began >= 0.3


def test_a_cut_off_answer_declares_more_than_it_sends(standin: RunningStandin) -> None:
    standin.faults.cut_off(times=1)
    with pytest.raises(httpx2.RemoteProtocolError):
        ask(standin)
    assert ask(standin).status_code == 200


def test_a_truncated_answer_looks_whole_and_is_no_json(standin: RunningStandin) -> None:
    standin.faults.truncate(times=1, share=0.7)
    answer = ask(standin)
    assert answer.status_code == 200
    assert answer.text.startswith("[{")
    with pytest.raises(json.JSONDecodeError):
        answer.json()


def test_a_dropped_connection_answers_nothing(standin: RunningStandin) -> None:
    standin.faults.drop(times=1)
    with pytest.raises((httpx2.RemoteProtocolError, httpx2.ReadError)):
        ask(standin)
    assert ask(standin).status_code == 200


def test_a_web_page_comes_with_200(standin: RunningStandin) -> None:
    standin.faults.html(times=1)
    answer = ask(standin)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html")
    assert answer.text.startswith("<!DOCTYPE html>")


def test_faults_meet_the_archive_only_when_told(standin: RunningStandin) -> None:
    standin.faults.fail(503)
    assert httpx2.get(f"{standin.root}/data/archive/latest.zip").status_code == 404
    standin.faults.fail(500, path="/data/archive")
    assert httpx2.get(f"{standin.root}/data/archive/latest.zip").status_code == 500


def test_the_counts_tell_who_asked_what_and_how_fast(standin: RunningStandin) -> None:
    with httpx2.Client(headers={"User-Agent": "stopsearch-test"}) as client:
        for month in ("2023-06", "2023-07", "2023-07"):
            client.get(f"{standin.url}/stops-force?force=gwent&date={month}")
    assert standin.stats.total == 3
    assert standin.stats.by_path == {"/api/stops-force": 3}
    assert standin.stats.asked("gwent", "2023-07") == 2
    assert standin.stats.connections == 1
    assert standin.stats.max_in_flight == 1
    assert standin.stats.busiest() == 3
    assert {arrival.user_agent for arrival in standin.stats.arrivals} == {"stopsearch-test"}


def test_orders_can_be_given_from_another_process(standin: RunningStandin) -> None:
    control = f"{standin.root}/_standin"
    order = {"order": "fail", "status": 500, "times": 1, "force": "gwent"}
    assert httpx2.post(f"{control}/faults", json=order).status_code == 200
    assert ask(standin).status_code == 500
    assert httpx2.get(f"{control}/faults").json()[0]["met"] == 1
    change = {"order": "change", "force": "gwent", "month": "2023-07", "drop": 3}
    assert httpx2.post(f"{control}/publication", json=change).status_code == 200
    assert len(ask(standin).json()) == 37
    stats = httpx2.get(f"{control}/stats").json()
    assert (stats["total"], stats["by_status"]) == (2, {"200": 1, "500": 1})
    httpx2.delete(f"{control}/publication")
    assert len(ask(standin).json()) == 40
    httpx2.delete(f"{control}/stats")
    assert standin.stats.total == 0


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"json": {"order": "explode"}}, 422),
        ({"json": {"order": "__init__"}}, 422),
        ({"json": {"order": "fail", "colour": "red"}}, 422),
        ({"json": ["fail"]}, 422),
        ({"content": b'{"order": "fail"}', "headers": {"Content-Type": "text/plain"}}, 415),
    ],
)
def test_orders_that_cannot_be_followed_are_refused(
    standin: RunningStandin, sent: dict[str, object], status: int
) -> None:
    answer = httpx2.post(f"{standin.root}/_standin/faults", **sent)  # type: ignore[arg-type]
    assert answer.status_code == status
    assert standin.faults.orders == []


def test_what_is_sent_gzipped_is_one_gzip_member(standin: RunningStandin) -> None:
    with httpx2.stream("GET", f"{standin.url}/stops-force?force=kent&date=2023-07") as response:
        assert json.loads(gzip.decompress(b"".join(response.iter_raw()))) == [make_api_record()]


def test_control_is_for_this_machine_alone() -> None:
    """
    Called as a server would call it for a client elsewhere: there is no second machine here to ask from.
    """
    app = create_app(Publication(Catalogue.of(HELD)))
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    def status_for(host: str, path: str) -> int:
        sent.clear()
        scope = {
            "type": "http", "method": "GET", "path": path, "query_string": b"", "client": (host, 5),
            "headers": [(b"x-forwarded-for", b"127.0.0.1")], "scheme": "http", "server": ("127.0.0.1", 80),
        }  # fmt: skip
        asyncio.run(app(scope, receive, send))
        return int(sent[0]["status"])

    assert status_for("192.0.2.1", "/_standin/stats") == 403
    assert status_for("127.0.0.1", "/_standin/stats") == 200
    assert status_for("192.0.2.1", "/api/forces") == 200
