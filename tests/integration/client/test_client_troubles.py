"""
What the client does on bad days: it waits as it is asked to, within a bound; it never takes a part for the whole; and
its token goes nowhere else.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from builders.scripted_server import broken_off, page, problem, scripted_server
from stopsearch.client import (
    AsyncClient,
    BrokenAnswer,
    Client,
    ClientError,
    ClientTimeout,
    ProblemError,
    Unreachable,
)
from stopsearch.client.transport import AwaitingTransport, BlockingTransport

pytestmark = pytest.mark.integration

NEXT = "http://elsewhere.test/v1/stops?cursor=2&limit=2"


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """
    The seconds that clients wait, in place of waiting them.
    """
    waited: list[float] = []

    async def sleep(self: Any, seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(BlockingTransport, "sleep", sleep)
    monkeypatch.setattr(AwaitingTransport, "sleep", sleep)
    return waited


@pytest.mark.parametrize("status", [429, 503])
def test_waits_as_long_as_a_busy_server_asks_for(status: int, pauses: list[float]) -> None:
    busy = problem(status, retry_after="7")
    with scripted_server(busy, busy, page({"id": "a"})) as server, Client(server.url) as client:
        assert [row["id"] for row in client.stops()] == ["a"]
    assert pauses == [7, 7]


def test_awaiting_client_waits_as_well(pauses: list[float]) -> None:
    async def ask(url: str) -> list[str]:
        async with AsyncClient(url) as client:
            return [row["id"] async for row in await client.stops()]

    answers = [page({"id": "a"}, next=NEXT), problem(429, retry_after="3"), page({"id": "b"})]
    with scripted_server(*answers) as server:
        assert asyncio.run(ask(server.url)) == ["a", "b"]
    assert pauses == [3]


def test_really_waits() -> None:
    with scripted_server(problem(503, retry_after="1"), page()) as server, Client(server.url) as client:
        began = time.monotonic()
        assert list(client.stops()) == []
        assert time.monotonic() - began >= 1


def test_reads_a_date_to_wait_for(pauses: list[float]) -> None:
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    with scripted_server(problem(503, retry_after=at), page()) as server, Client(server.url) as client:
        list(client.stops())
    [pause] = pauses
    assert 25 < pause <= 30


def test_without_being_told_waits_longer_each_time(pauses: list[float]) -> None:
    with scripted_server(problem(503)) as server, Client(server.url) as client, pytest.raises(ProblemError):
        client.counts()
    assert pauses == [0.5, 1, 2, 4]


@pytest.mark.parametrize(
    ("answer", "options", "sent"),
    [
        (problem(503, retry_after="1"), {"tries": 3}, 3),
        (problem(503, retry_after="40"), {"wait_s": 60}, 2),
        (problem(429, retry_after="3600"), {}, 1),
        (problem(500, kind="server_fault"), {}, 1),
        (problem(422, kind="bad_query"), {}, 1),
    ],
    ids=["tries", "time", "too long to wait", "a fault", "a wrong question"],
)
def test_is_patient_within_a_bound_and_only_where_it_helps(
    answer: Response, options: dict[str, Any], sent: int, pauses: list[float]
) -> None:
    with (
        scripted_server(answer) as server,
        Client(server.url, **options) as client,
        pytest.raises(ProblemError) as told,
    ):
        client.counts()
    assert told.value.status == answer.status_code
    assert len(server.requests) == sent


@pytest.mark.parametrize(
    ("answer", "sent"), [(problem(503, retry_after="1"), 1), (problem(429, retry_after="1"), 5), (broken_off(b"{"), 1)]
)
def test_what_may_have_been_done_is_not_asked_for_again(answer: Response, sent: int, pauses: list[float]) -> None:
    """
    A 429 comes before anything is done. After a 503 or a broken answer the batch may be queued already.
    """
    with (
        scripted_server(answer) as server,
        Client(server.url, token="secret") as client,
        pytest.raises(ClientError),
    ):
        client.ingest(force="durham")
    assert len(server.requests) == sent


def test_a_walk_raises_in_its_middle_and_goes_on_where_it_stood(pauses: list[float]) -> None:
    answers = [page({"id": "a"}, {"id": "b"}, next=NEXT), problem(500, kind="server_fault"), page({"id": "c"})]
    with scripted_server(*answers) as server, Client(server.url) as client:
        stops, taken = client.stops(), []

        def take() -> None:
            for row in stops:
                taken.append(row["id"])  # noqa: PERF401 - what came before the trouble counts

        with pytest.raises(ProblemError):
            take()
        take()
    assert taken == ["a", "b", "c"]


@pytest.mark.parametrize(
    "second",
    [
        page({"id": "c"}, snapshot={"id": "1" * 64, "served_from": "2026-01-02T00:00:00+00:00"}),
        page(total={"stops": 3}),
        page({"id": "c"}, next=NEXT),
        JSONResponse({"rows": []}),
        HTMLResponse("<p>hello</p>"),
    ],
    ids=["another snapshot", "fewer rows than promised", "a circle", "no data", "no JSON"],
)
def test_pages_that_do_not_fit_together_are_no_answer(second: Response, pauses: list[float]) -> None:
    first = page({"id": "a"}, {"id": "b"}, next=NEXT, total={"stops": 3})
    with scripted_server(first, second) as server, Client(server.url) as client:
        stops = client.stops(total=True)
        with pytest.raises(BrokenAnswer):
            list(stops)


def test_an_answer_that_breaks_off_is_asked_for_again(pauses: list[float]) -> None:
    half = broken_off(b'{"data":[{"id":"a"}', content_length="1000")
    with scripted_server(half, page({"id": "a"})) as server, Client(server.url) as client:
        assert [row["id"] for row in client.stops()] == ["a"]
    with scripted_server(half) as server, Client(server.url) as client, pytest.raises(Unreachable, match="broke off"):
        client.stops()
    assert len(server.requests) == 5


def test_a_server_that_is_not_there_is_told_so(pauses: list[float]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with Client(f"http://127.0.0.1:{port}") as client, pytest.raises(Unreachable, match="can't be reached"):
        client.counts()
    assert len(pauses) == 4


@pytest.fixture
def silent() -> Iterator[str]:
    """
    The address of a server that takes connections and says nothing.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_silence_ends_by_the_timeout(silent: str, pauses: list[float]) -> None:
    async def ask() -> None:
        async with AsyncClient(silent, timeout=0.2, tries=1) as client:
            await client.counts()

    with Client(silent, timeout=0.2, tries=2) as client, pytest.raises(ClientTimeout):
        client.counts()
    assert len(pauses) == 1
    with pytest.raises(ClientTimeout):
        asyncio.run(ask())


def test_what_is_no_problem_of_the_server_is_told_as_what_it_is(pauses: list[float]) -> None:
    with (
        scripted_server(HTMLResponse("<h1>Bad gateway</h1>", status_code=502)) as server,
        Client(server.url) as client,
        pytest.raises(ProblemError) as told,
    ):
        client.counts()
    assert (told.value.status, told.value.type, told.value.errors) == (502, "about:blank", ())
    assert "text/html" in str(told.value)


def test_the_token_goes_to_the_server_alone_and_with_what_needs_it(pauses: list[float]) -> None:
    """
    Not with public questions, not to where `next` leads, and not along a redirect.
    """
    with scripted_server(page({"id": "z"})) as other:
        first = page({"id": "a"}, next=f"{other.url}/v1/stops?cursor=2")
        answers = [first, page({"id": "b"}), page(), RedirectResponse(f"{other.url}/v1/ingestions/1")]
        with scripted_server(*answers) as server, Client(server.url, token="secret") as client:
            assert [row["id"] for row in client.stops()] == ["a", "b"]
            client.ingest(force="durham")
            with pytest.raises(ProblemError) as told:
                client.ingestion(1)
            assert told.value.status == 307
    assert other.requests == []
    sent = [request.headers.get("authorization") for request in server.requests]
    assert sent == [None, None, "Bearer secret", "Bearer secret"]
    assert dict(server.requests[1].query_params) == {"cursor": "2"}


def test_a_server_below_a_path_is_asked_below_it() -> None:
    def echo(request: Request) -> Response:
        return page({"path": request.url.path, "query": request.url.query})

    with scripted_server(echo) as server, Client(f"{server.url}/data/") as client:
        [row] = client.stops(force="durham", page_size=5)
    assert row == {"path": "/data/v1/stops", "query": "force=durham&limit=5"}
