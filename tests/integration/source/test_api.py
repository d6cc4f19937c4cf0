"""
The API source against a real server on loopback that misbehaves on order.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs

import pytest
import uvicorn
from structlog.testing import capture_logs

from stopsearch import __version__
from stopsearch.domain.errors import (
    ConfigError,
    MonthNotPublished,
    SourceShapeChanged,
    SourceUnavailable,
    UpstreamDown,
)
from stopsearch.domain.months import Month
from stopsearch.domain.states import Shape, Source
from stopsearch.settings import Settings
from stopsearch.source.answers import is_empty
from stopsearch.source.api import PoliceApi
from stopsearch.source.breaker import ProcessBreaker
from stopsearch.source.http import HttpClient
from stopsearch.source.limiter import Pace, ProcessLimiter
from stopsearch.source.retry import RetryPolicy

pytestmark = pytest.mark.integration

MONTH = Month(2024, 3)
STOP = {"type": "Person search", "outcome": "", "location": None, "note": "café"}
BODY = json.dumps([STOP] * 50, ensure_ascii=False).encode()

Reply = Callable[[Any], Awaitable[None]]


def reply(
    status: int = 200, body: bytes = b"", *, headers: dict[str, str] | None = None, length: int | None = None
) -> Reply:
    """
    Order one answer; `length` is what the header claims, whatever is sent.
    """
    named = {"content-type": "application/json", **(headers or {})}
    if length is not None:
        named["content-length"] = str(length)

    async def answer(send: Any) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(name.encode(), value.encode()) for name, value in named.items()],
            }
        )
        await send({"type": "http.response.body", "body": body})

    return answer


async def hang(send: Any) -> None:
    await asyncio.sleep(20)


async def drip(send: Any) -> None:
    """
    Send a byte now and then: each read succeeds, the whole never ends.
    """
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(200):
        await send({"type": "http.response.body", "body": b"[", "more_body": True})
        await asyncio.sleep(0.1)


async def drop(send: Any) -> None:
    """
    Close the connection in the middle of a chunked body.
    """
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": BODY[:1000], "more_body": True})
    raise ConnectionAbortedError


@dataclass
class Asked:
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    client: tuple[str, int]
    at: float


@dataclass
class Misbehaving:
    """
    A publisher that gives the ordered answers first, and a good one ever after.
    """

    url: str = ""
    orders: deque[Reply] = field(default_factory=deque)
    lasting: dict[str, Reply] = field(default_factory=dict)  # by force
    asked: list[Asked] = field(default_factory=list)
    pending: int = 0
    most_pending: int = 0
    delay_s: float = 0.0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        query = parse_qs(scope["query_string"].decode())
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.asked.append(Asked(scope["path"], query, headers, scope["client"], time.monotonic()))
        self.pending += 1
        self.most_pending = max(self.most_pending, self.pending)
        try:
            await asyncio.sleep(self.delay_s)
            force = query.get("force", [""])[0]
            if force in self.lasting:
                await self.lasting[force](send)
            else:
                await (self.orders.popleft() if self.orders else reply(body=BODY))(send)
        finally:
            self.pending -= 1


@pytest.fixture(scope="module")
def _server() -> Iterator[Misbehaving]:
    publisher = Misbehaving()
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(publisher, log_level="critical", lifespan="off", timeout_graceful_shutdown=0)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    publisher.url = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
    yield publisher
    server.should_exit = True
    thread.join(5)
    listener.close()


@pytest.fixture
def publisher(_server: Misbehaving) -> Misbehaving:
    url = _server.url
    _server.__init__()  # type: ignore[misc]
    _server.url = url
    return _server


class HastyClock:
    """
    Sleeps a hundredth of what is asked for, and counts the whole.
    """

    def __init__(self) -> None:
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return time.monotonic() + sum(self.slept)

    def utc_now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 100)
        self.slept.append(seconds)


class Subject:
    """
    A source whose waits are short, with its parts in reach.
    """

    def __init__(
        self,
        url: str,
        *,
        attempts: int = 4,
        time_s: float = 300,
        timeout_s: float = 5,
        in_flight: int = 8,
        failures: int = 50,
        max_body_bytes: int = 10**6,
        rate: float = 1000.0,
    ) -> None:
        self.clock = HastyClock()
        self.limiter = ProcessLimiter(Pace(rate_per_second=rate), clock=self.clock)
        self.breaker = ProcessBreaker(failures=failures, pause_s=60, clock=self.clock)
        self.api = PoliceApi(
            HttpClient(url, contact="panel@example.org", timeout_s=timeout_s, max_body_bytes=max_body_bytes),
            limiter=self.limiter,
            breaker=self.breaker,
            policy=RetryPolicy(attempts=attempts, time_s=time_s),
            requests_in_flight=in_flight,
            clock=self.clock,
        )

    def run(self, use: Callable[[PoliceApi], Awaitable[Any]]) -> Any:
        async def main() -> Any:
            async with self.api:
                return await use(self.api)

        return asyncio.run(main())

    def fetch(self, force: str = "essex", month: Month = MONTH, **more: Any) -> Any:
        return self.run(lambda api: api.fetch_month(force, month, **more))


def test_fetches_a_month_as_it_came(publisher: Misbehaving) -> None:
    before = datetime.now(UTC)
    subject = Subject(publisher.url)
    got = subject.fetch()
    assert got.body == BODY
    assert (got.force, got.month, got.shape, got.source) == ("essex", MONTH, Shape.JSON, Source.API)
    assert got.origin == f"{publisher.url}/stops-force?force=essex&date=2024-03"
    assert before <= got.fetched_at == got.published_at <= datetime.now(UTC)
    assert got.fetched_at.tzinfo is UTC
    [asked] = publisher.asked
    assert (asked.path, asked.query) == ("/api/stops-force", {"force": ["essex"], "date": ["2024-03"]})
    assert asked.headers["user-agent"] == f"stopsearch/{__version__} (+panel@example.org)"
    assert "gzip" in asked.headers["accept-encoding"]
    traffic = subject.api.traffic
    assert (traffic.requests, traffic.retries, traffic.throttled) == (1, 0, 0)
    assert traffic.body_bytes == traffic.wire_bytes == len(BODY)


def test_gzip_is_undone_and_counted(publisher: Misbehaving) -> None:
    packed = gzip.compress(BODY)
    publisher.orders.append(reply(body=packed, headers={"content-encoding": "gzip"}))
    subject = Subject(publisher.url)
    assert subject.fetch().body == BODY
    assert subject.api.traffic.wire_bytes == len(packed)
    assert subject.api.traffic.body_bytes == len(BODY)


def test_an_empty_list_is_handed_on(publisher: Misbehaving) -> None:
    publisher.orders.append(reply(body=b"[]"))
    body = Subject(publisher.url).fetch().body
    assert body == b"[]"
    assert is_empty(body)
    assert is_empty(b" [\n ]\n")
    assert not is_empty(BODY)
    assert not is_empty(b'[""]')
    assert not is_empty(b"")


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(reply(500), id="500"),
        pytest.param(reply(502), id="502"),
        pytest.param(reply(503, b"<html>busy</html>"), id="503 html"),
        pytest.param(reply(503, b"x" * 10**6), id="503 with a long body"),
        pytest.param(reply(504), id="504"),
        pytest.param(reply(200, BODY[:1000], length=len(BODY)), id="cut off below its length"),
        pytest.param(drop, id="cut off in a chunked body"),
        pytest.param(reply(200, BODY[:1000]), id="cut off as JSON"),
        pytest.param(reply(200, BODY[:-1]), id="last bracket missing"),
        pytest.param(reply(200, gzip.compress(BODY)[:-20], headers={"content-encoding": "gzip"}), id="cut-off gzip"),
        pytest.param(reply(200, BODY, headers={"content-encoding": "gzip"}), id="not gzip at all"),
        pytest.param(reply(200, b"<html>maintenance</html>"), id="200 html"),
        pytest.param(reply(200, b'{"error": "later"}'), id="200 object"),
        pytest.param(reply(200, b""), id="200 empty"),
    ],
)
def test_trouble_that_passes_is_waited_out(publisher: Misbehaving, fault: Reply) -> None:
    publisher.orders.extend([fault, fault])
    subject = Subject(publisher.url)
    with capture_logs() as events:
        assert subject.fetch().body == BODY
    assert len(publisher.asked) == subject.api.traffic.requests == 3
    assert subject.api.traffic.retries == 2
    assert [(e["event"], e["path"], e["attempt"]) for e in events] == [
        ("request_retried", "/stops-force", 1),
        ("request_retried", "/stops-force", 2),
    ]
    assert all(e["reason"] and e["wait_s"] > 0 for e in events)


@pytest.mark.parametrize("fault", [hang, drip], ids=["hangs", "drips"])
def test_an_answer_that_never_ends_is_given_up(publisher: Misbehaving, fault: Reply) -> None:
    publisher.orders.append(fault)
    began = time.monotonic()
    assert Subject(publisher.url, timeout_s=0.4).fetch().body == BODY
    assert time.monotonic() - began < 3
    publisher.orders.append(fault)
    with pytest.raises(SourceUnavailable, match=r"within 0\.4 seconds"):
        Subject(publisher.url, timeout_s=0.4, attempts=1).fetch()


def test_a_slow_answer_is_borne(publisher: Misbehaving) -> None:
    publisher.delay_s = 1.5
    assert Subject(publisher.url, timeout_s=10).fetch().body == BODY


def test_nobody_listens(publisher: Misbehaving) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    subject = Subject(f"http://127.0.0.1:{port}")
    with pytest.raises(SourceUnavailable, match=r"can't be reached.*Tried 4 times") as caught:
        subject.fetch()
    assert "STOPSEARCH_UPSTREAM_URL" in caught.value.remedy


@pytest.mark.parametrize(
    ("header", "least_s"),
    [
        (None, 2.0),
        ("7", 7.0),
        (lambda: format_datetime(datetime.now(UTC) + timedelta(seconds=10), usegmt=True), 8.0),
        ("nonsense", 2.0),
    ],
    ids=["without", "seconds", "date", "nonsense"],
)
def test_429_holds_everybody_back(publisher: Misbehaving, header: Any, least_s: float) -> None:
    text = header() if callable(header) else header
    publisher.lasting["kent"] = reply(429, headers={"retry-after": text} if text else {})
    subject = Subject(publisher.url, attempts=2)

    async def use(api: PoliceApi) -> None:
        kent = asyncio.create_task(api.fetch_month("kent", MONTH))
        while not api.traffic.throttled:
            await asyncio.sleep(0.001)
        del publisher.lasting["kent"]
        began = subject.clock.monotonic()
        assert (await api.fetch_month("essex", MONTH)).body == BODY
        assert subject.clock.monotonic() - began > least_s * 0.95
        assert (await kent).body == BODY

    subject.run(use)
    assert subject.api.traffic.throttled == 1


def test_gives_up_at_once_when_retry_after_lies_beyond_the_bound(publisher: Misbehaving) -> None:
    publisher.orders.append(reply(429, headers={"retry-after": "900"}))
    subject = Subject(publisher.url, time_s=60)

    async def use(api: PoliceApi) -> None:
        with pytest.raises(SourceUnavailable, match="too many requests") as caught:
            await api.fetch_month("essex", MONTH)
        assert caught.value.retry_after_s == 900
        # The others learn it without asking.
        with pytest.raises(SourceUnavailable, match="left alone for 900 seconds") as caught:
            await api.fetch_month("kent", MONTH)
        assert caught.value.retry_after_s == pytest.approx(900, abs=2)

    subject.run(use)
    assert len(publisher.asked) == 1
    assert subject.clock.slept == []


def test_tries_are_bounded_and_the_error_says_so(publisher: Misbehaving) -> None:
    publisher.orders.extend([reply(503)] * 10)
    with pytest.raises(SourceUnavailable, match=r"stops-force.*answered 503\. Tried 4 times") as caught:
        Subject(publisher.url).fetch()
    assert caught.value.status == 503
    assert len(publisher.asked) == 4


@pytest.mark.parametrize("status", [400, 401, 403, 410, 301, 302])
def test_refusals_are_not_retried_and_redirects_not_followed(publisher: Misbehaving, status: int) -> None:
    publisher.orders.append(reply(status, headers={"location": f"{publisher.url}/elsewhere"}))
    with pytest.raises(SourceUnavailable, match=str(status)) as caught:
        Subject(publisher.url).fetch()
    assert caught.value.status == status
    assert len(publisher.asked) == 1


def test_404_means_that_the_month_is_not_published(publisher: Misbehaving) -> None:
    publisher.orders.append(reply(404))
    with pytest.raises(MonthNotPublished, match="essex in 2024-03"):
        Subject(publisher.url).fetch()
    assert len(publisher.asked) == 1


@pytest.mark.parametrize("month", [Month(2023, 12), Month(2024, 7)])
def test_outside_the_window_nobody_is_asked(publisher: Misbehaving, month: Month) -> None:
    publisher.lasting["essex"] = reply(502)
    window = (Month(2024, 1), Month(2024, 6))
    with pytest.raises(MonthNotPublished, match="2024-01 to 2024-06"):
        Subject(publisher.url).fetch(month=month, window=window)
    assert publisher.asked == []


@pytest.mark.parametrize("month", [Month(2024, 1), Month(2024, 6)])
def test_502_inside_the_window_is_retried(publisher: Misbehaving, month: Month) -> None:
    publisher.orders.append(reply(502))
    window = (Month(2024, 1), Month(2024, 6))
    assert Subject(publisher.url).fetch(month=month, window=window).body == BODY
    assert len(publisher.asked) == 2


def test_an_answer_that_is_far_too_large_ends_the_run(publisher: Misbehaving) -> None:
    packed = gzip.compress(b"[" + b" " * 2_000_000 + b"]")
    publisher.orders.append(reply(body=packed, headers={"content-encoding": "gzip"}))
    with pytest.raises(SourceShapeChanged, match="larger than 1000000 bytes"):
        Subject(publisher.url).fetch()
    assert len(publisher.asked) == 1


def test_connections_are_kept_and_requests_in_flight_bounded(publisher: Misbehaving) -> None:
    publisher.delay_s = 0.05
    publisher.orders.extend([reply(503)] * 5)
    subject = Subject(publisher.url, in_flight=3)

    async def use(api: PoliceApi) -> None:
        await asyncio.gather(*(api.fetch_month(f"force-{n}", MONTH) for n in range(20)))

    subject.run(use)
    assert len(publisher.asked) == 25
    assert publisher.most_pending == 3
    assert len({asked.client for asked in publisher.asked}) == 3


def test_each_try_goes_through_the_limiter(publisher: Misbehaving) -> None:
    publisher.orders.extend([reply(500)] * 30)
    subject = Subject(publisher.url, attempts=3, rate=10)

    async def use(api: PoliceApi) -> None:
        await asyncio.gather(*(api.fetch_month(f"force-{n}", MONTH) for n in range(10)), return_exceptions=True)

    began = subject.clock.monotonic()
    subject.run(use)
    assert len(publisher.asked) == 30
    # 22 of the 30 find the burst used up, at a tenth of a second each.
    assert subject.clock.monotonic() - began > 2.0


def test_a_publisher_that_is_down_is_left_alone_and_probed_once(publisher: Misbehaving) -> None:
    forces = [f"force-{n}" for n in range(12)]
    publisher.lasting.update(dict.fromkeys(forces, reply(503)))
    subject = Subject(publisher.url, failures=5, attempts=6)

    async def use(api: PoliceApi) -> None:
        results = await asyncio.gather(*(api.fetch_month(force, MONTH) for force in forces), return_exceptions=True)
        assert {type(result) for result in results} == {UpstreamDown}
        knocked = len(publisher.asked)
        assert knocked <= 12
        with pytest.raises(UpstreamDown, match="left alone for"):
            await api.fetch_month("essex", MONTH)
        assert len(publisher.asked) == knocked
        assert api.pause_left_s > 0

        publisher.lasting.clear()
        publisher.delay_s = 0.2
        subject.clock.slept.append(61)
        results = await asyncio.gather(*(api.fetch_month(force, MONTH) for force in forces), return_exceptions=True)
        assert len(publisher.asked) == knocked + 1
        assert sum(isinstance(result, UpstreamDown) for result in results) == 11
        assert api.pause_left_s == 0
        assert (await api.fetch_month("essex", MONTH)).body == BODY

    with capture_logs() as events:
        subject.run(use)
    breaker_events = [e["event"] for e in events if e["event"].startswith("breaker")]
    assert breaker_events == ["breaker_opened", "breaker_closed"]


def test_a_cancelled_probe_does_not_shut_the_door_for_ever(publisher: Misbehaving) -> None:
    publisher.lasting.update({f"force-{n}": reply(503) for n in range(5)})
    subject = Subject(publisher.url, failures=5)

    async def use(api: PoliceApi) -> None:
        await asyncio.gather(*(api.fetch_month(f"force-{n}", MONTH) for n in range(5)), return_exceptions=True)
        assert api.pause_left_s > 0
        subject.clock.slept.append(61)
        publisher.delay_s = 5
        probe = asyncio.create_task(api.fetch_month("essex", MONTH))
        await asyncio.sleep(0.1)
        probe.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probe
        publisher.delay_s = 0
        assert (await api.fetch_month("essex", MONTH)).body == BODY

    subject.run(use)


def test_one_failing_month_harms_only_itself(publisher: Misbehaving) -> None:
    publisher.lasting["essex"] = reply(503)
    subject = Subject(publisher.url, failures=5, attempts=6, in_flight=1)

    async def use(api: PoliceApi) -> None:
        for month in range(1, 4):
            with pytest.raises(SourceUnavailable, match="Tried 6 times"):
                await api.fetch_month("essex", MONTH)
            assert (await api.fetch_month("kent", Month(2024, month))).body == BODY

    subject.run(use)


def test_throttling_and_refusals_do_not_open_the_breaker(publisher: Misbehaving) -> None:
    publisher.orders.extend([reply(429), reply(404), reply(400)] * 5)
    subject = Subject(publisher.url, failures=3, attempts=1)

    async def use(api: PoliceApi) -> None:
        for n in range(15):
            with pytest.raises((SourceUnavailable, MonthNotPublished)):
                await api.fetch_month(f"force-{n}", MONTH)
        assert (await api.fetch_month("essex", MONTH)).body == BODY

    subject.run(use)


def test_reads_availability(publisher: Misbehaving) -> None:
    publisher.orders.append(
        reply(
            body=json.dumps(
                [
                    {"date": "2024-03", "stop-and-search": ["essex", "btp", None], "new key": 1},
                    {"date": "2024-02", "stop-and-search": ["essex"]},
                    {"date": "2024-01", "stop-and-search": []},
                    {"date": "2023-12"},
                ]
            ).encode()
        )
    )
    availability = Subject(publisher.url).run(lambda api: api.availability())
    assert availability.listed == {
        Month(2024, 3): {"essex", "btp"},
        Month(2024, 2): {"essex"},
        Month(2024, 1): frozenset(),
        Month(2023, 12): frozenset(),
    }
    assert publisher.asked[0].path == "/api/crimes-street-dates"


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b'[{"date": "2024-03"}]',
        b'["2024-03"]',
        b'[{"date": "March", "stop-and-search": ["essex"]}]',
        b'[{"date": "2024-03", "stop-and-search": {"essex": true}}]',
    ],
)
def test_availability_of_another_shape_is_never_taken_for_nothing_due(publisher: Misbehaving, body: bytes) -> None:
    publisher.orders.append(reply(body=body))
    with pytest.raises(SourceShapeChanged):
        Subject(publisher.url).run(lambda api: api.availability())
    assert len(publisher.asked) == 1


def test_reads_the_names_of_forces(publisher: Misbehaving) -> None:
    publisher.orders.append(
        reply(body=b'[{"id": "essex", "name": "Essex Police"}, {"id": "kent", "name": null}, {"id": "surrey"}]')
    )
    assert Subject(publisher.url).run(lambda api: api.forces()) == {"essex": "Essex Police"}


def test_a_wrong_address_says_which_setting(publisher: Misbehaving) -> None:
    publisher.orders.append(reply(404))
    with pytest.raises(SourceUnavailable, match="404") as caught:
        Subject(publisher.url).run(lambda api: api.availability())
    assert "STOPSEARCH_UPSTREAM_URL" in caught.value.remedy
    with pytest.raises(ConfigError, match="STOPSEARCH_UPSTREAM_URL"):
        Subject("http://127.0.0.1:x").fetch()


def test_no_password_of_the_address_is_kept(publisher: Misbehaving) -> None:
    url = publisher.url.replace("http://", "http://someone:hidden@")
    assert "hidden" not in Subject(url).fetch().origin
    publisher.orders.append(reply(403))
    with pytest.raises(SourceUnavailable) as caught:
        Subject(url).fetch()
    assert "hidden" not in str(caught.value)
    assert publisher.asked[0].headers["authorization"].startswith("Basic ")


def test_is_set_up_from_the_settings(publisher: Misbehaving) -> None:
    settings = Settings(_env_file=None, upstream_url=publisher.url, contact="")

    async def main() -> bytes:
        limiter = ProcessLimiter(Pace(rate_per_second=settings.rate_per_second))
        async with PoliceApi.from_settings(settings, limiter=limiter) as api:
            return (await api.fetch_month("essex", MONTH)).body

    assert asyncio.run(main()) == BODY
    assert publisher.asked[0].headers["user-agent"] == f"stopsearch/{__version__}"


@pytest.mark.parametrize("contact", ["naïve@example.org", "a@example.org\r\nX-Other: 1"])
def test_a_contact_that_no_header_can_carry_is_a_config_error(contact: str) -> None:
    with pytest.raises(ConfigError, match="STOPSEARCH_CONTACT"):
        HttpClient("http://127.0.0.1:1", contact=contact)
