"""
The stand-in has the publisher's habits: the answers that were documented, or probed on 2026-10-01.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx2
import pytest

from builders.standin import RunningStandin, make_api_record, running_standin
from stopsearch.standin.limit import Limit

pytestmark = pytest.mark.contract

# Leicestershire has every month of a window of three; Gwent joined for the first one only.
HELD = {
    ("leicestershire", "2023-04"): [make_api_record(datetime="2023-04-02T10:00:00+00:00")],
    ("leicestershire", "2023-05"): [make_api_record(datetime="2023-05-02T10:00:00+00:00")],
    ("leicestershire", "2023-06"): [make_api_record(datetime="2023-06-02T10:00:00+00:00")],
    ("leicestershire", "2023-07"): [make_api_record(datetime="2023-07-02T10:00:00+00:00")],
    ("gwent", "2023-05"): [make_api_record(datetime="2023-05-03T10:00:00+00:00")],
    ("btp", "2023-05"): [make_api_record(datetime="2023-05-04T10:00:00+00:00")],
}


@pytest.fixture(scope="module")
def standin() -> Iterator[RunningStandin]:
    """
    A stand-in whose window is 2023-05 to 2023-07.
    """
    with running_standin(HELD, window=3) as running:
        yield running


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("stops-force?force=atlantis&date=2023-06", 200, b"[]"),
        ("stops-force?force=gwent&date=2023-06", 200, b"[]"),
        ("stops-force?force=leicestershire&date=2023-08", 200, b"[]"),
        ("stops-force?force=leicestershire&date=2099-01", 200, b"[]"),
        ("stops-force?force=leicestershire&date=2023-04", 502, b""),
        ("stops-force?force=leicestershire&date=2010-01", 502, b""),
        ("stops-no-location?force=leicestershire&date=2023-04", 404, b""),
        ("stops-no-location?force=leicestershire&date=2023-13", 404, b""),
        ("stops-no-location?force=leicestershire&date=2023-07-15", 404, b""),
        ("stops-street?lat=52&lng=-1&date=2023-04", 404, b""),
        ("stops-street?lat=52&lng=-1&date=2023-13", 404, b""),
        ("stops-street?lat=52&date=2023-06", 400, b""),
        ("stops-street?lat=north&lng=-1&date=2023-06", 400, b""),
        ("stops-street?poly=52,nowhere:1&date=2023-06", 404, b""),
        ("forces/atlantis", 404, b"Not Found"),
        ("forces/btp", 404, b"Not Found"),
        ("stops-force", 400, b""),
        ("no-such-method", 404, b""),
        # Not known of the publisher, and taken to be as on its other routes.
        ("stops-force?force=leicestershire&date=2023-13", 404, b""),
        ("stops-force?force=leicestershire&date=2023-07-15", 404, b""),
    ],
)
def test_odd_questions_get_the_probed_answers(standin: RunningStandin, path: str, status: int, body: bytes) -> None:
    response = httpx2.get(f"{standin.url}/{path}")
    assert (response.status_code, response.content) == (status, body)
    assert "retry-after" not in response.headers


@pytest.mark.parametrize("query", ["", "&dat=2023-05", "&Date=2023-05", "&month=2023-05"])
def test_no_date_or_a_misspelled_one_means_the_newest_month(standin: RunningStandin, query: str) -> None:
    answer = httpx2.get(f"{standin.url}/stops-force?force=leicestershire{query}").json()
    assert [record["datetime"][:7] for record in answer] == ["2023-07"]


def test_no_date_means_the_newest_month_even_where_the_force_has_nothing_in_it(
    standin: RunningStandin,
) -> None:
    assert httpx2.get(f"{standin.url}/stops-force?force=gwent").json() == []


def test_the_newest_month_is_told_by_its_first_day(standin: RunningStandin) -> None:
    assert httpx2.get(f"{standin.url}/crime-last-updated").json() == {"date": "2023-07-01"}


def test_availability_is_the_window_newest_first(standin: RunningStandin) -> None:
    assert httpx2.get(f"{standin.url}/crimes-street-dates").json() == [
        {"date": "2023-07", "stop-and-search": ["leicestershire"]},
        {"date": "2023-06", "stop-and-search": ["leicestershire"]},
        {"date": "2023-05", "stop-and-search": ["btp", "gwent", "leicestershire"]},
    ]


def test_the_window_is_the_newest_36_months() -> None:
    months = [f"{year}-{month:02d}" for year in range(2019, 2024) for month in range(1, 13)]
    with running_standin({("leicestershire", month): b"[]" for month in months}) as running:
        listed = [entry["date"] for entry in httpx2.get(f"{running.url}/crimes-street-dates").json()]
        assert listed == months[:-37:-1]
        first_out = httpx2.get(f"{running.url}/stops-force?force=leicestershire&date=2020-12")
    assert (first_out.status_code, first_out.content) == (502, b"")


def test_a_force_tells_of_itself(standin: RunningStandin) -> None:
    assert httpx2.get(f"{standin.url}/forces/gwent").json()["name"] == "Gwent Police"


def test_a_burst_of_thirty_is_served_and_what_follows_at_once_is_refused_with_an_empty_429() -> None:
    with running_standin(HELD, limit=Limit()) as running, httpx2.Client() as client:
        answers = [client.get(f"{running.url}/crime-last-updated") for _ in range(80)]
        statuses = [answer.status_code for answer in answers]
        assert statuses[:30] == [200] * 30
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.content == b""
        assert "retry-after" not in refused.headers
        deadline = time.monotonic() + 5
        while len(running.stats.arrivals) < 80 and time.monotonic() < deadline:
            time.sleep(0.01)  # an answer is counted once it is sent, so the client may have it first
        # What leaked while the eighty were asked was served too: never more than burst and 15 a second.
        took_s = running.stats.arrivals[-1].at - running.stats.arrivals[0].at
        assert statuses.count(200) <= 30 + 15 * took_s + 1
        assert running.stats.limited == statuses.count(429) > 0


def test_a_client_that_keeps_to_the_rate_is_never_refused() -> None:
    # The bucket's clock is turned by hand in the unit tests; this one is short, with the real clock.
    with running_standin(HELD, limit=Limit(per_second=50, burst=5)) as running, httpx2.Client() as client:
        statuses = []
        for _ in range(30):
            statuses.append(client.get(f"{running.url}/crime-last-updated").status_code)
            time.sleep(1 / 45)
    assert statuses == [200] * 30
