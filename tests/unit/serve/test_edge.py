"""
What every request passes before the application: bounds on address, body and pace, and the headers of every answer.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from builders.edge_calls import Sent, answering, call
from builders.ingests import settings_for
from stopsearch.serve.limits import MOST_BODY_BYTES, MOST_TARGET_BYTES, BodyLimit, edge_around

pytestmark = pytest.mark.unit

MiB = 1024 * 1024


def edge(app: ASGIApp, **settings: Any) -> ASGIApp:
    return edge_around(app, settings_for(**{"client_requests_per_s": 0, **settings}))


def problem_of(sent: Sent) -> dict[str, Any]:
    assert sent.headers["content-type"] == "application/problem+json"
    assert sent.headers["cache-control"] == "no-store"
    problem: dict[str, Any] = json.loads(sent.body)
    assert problem["status"] == sent.status
    assert problem["detail"]
    return problem


def test_every_answer_has_its_headers() -> None:
    sent = call(edge(answering()))
    assert sent.headers["x-content-type-options"] == "nosniff"
    assert sent.headers["referrer-policy"] == "no-referrer"
    assert sent.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert sent.headers["cross-origin-resource-policy"] == "same-origin"
    assert len(sent.headers["x-request-id"]) == 16
    assert sent.headers["x-request-id"] != call(edge(answering())).headers["x-request-id"]


def test_pages_for_people_say_themselves_what_they_need() -> None:
    assert "content-security-policy" not in call(edge(answering()), "/docs").headers
    own = call(edge(answering(headers={"Content-Security-Policy": "default-src 'self'"})))
    assert own.headers["content-security-policy"] == "default-src 'self'"


@pytest.mark.parametrize(
    ("given", "is_kept"), [("trace-1.a_B", True), ("", False), ("a b", False), ("x" * 65, False), ("é", False)]
)
def test_a_client_may_name_its_request(given: str, is_kept: bool) -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["state"]["request_id"])
        await answering()(scope, receive, send)

    sent = call(edge(app), headers={"X-Request-Id": given})
    assert (sent.headers["x-request-id"] == given) is is_kept
    assert seen == [sent.headers["x-request-id"]]


def test_head_is_get_without_the_body() -> None:
    seen: list[Any] = []
    app = edge(answering(b"0123456789", headers={"ETag": '"abc"'}, seen=seen))
    got, head = call(app), call(app, method="HEAD")

    assert [method for method, _, _ in seen] == ["GET", "GET"]
    assert (head.status, head.body) == (200, b"")
    assert {name: value for name, value in head.headers.items() if name != "x-request-id"} == {
        name: value for name, value in got.headers.items() if name != "x-request-id"
    }
    assert [message["type"] for message in head.messages] == ["http.response.start", "http.response.body"]


def test_head_does_not_make_a_whole_stream() -> None:
    made = 0

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal made
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while (await receive())["type"] != "http.disconnect":
            made += 1
            await send({"type": "http.response.body", "body": b"x", "more_body": True})

    async def first_piece(scope: Scope, receive: Receive, send: Send) -> None:
        async def more() -> Message:
            return {"type": "http.request", "body": b"", "more_body": True}

        await edge(endless)(scope, more, send)

    assert call(first_piece, method="HEAD").body == b""
    assert made == 1


def test_an_address_that_is_too_long_is_refused() -> None:
    app = edge(answering())
    assert call(app, "/" + "a" * 4095, query="b" * (MOST_TARGET_BYTES - 4096)).status == 200
    sent = call(app, "/" + "a" * 4095, query="b" * (MOST_TARGET_BYTES - 4095))
    assert sent.status == 414
    problem = problem_of(sent)
    assert problem["type"] == "/problems/target_too_long"
    assert len(problem["instance"]) <= 200, "it is not sent back whole"


def test_a_client_that_asks_too_often_is_told_when_to_come_back() -> None:
    seen: list[Any] = []
    app = edge(answering(seen=seen), client_requests_per_s=0.5, client_burst=3)
    first, *_, last = [call(app) for _ in range(4)]

    assert first.headers["ratelimit-policy"] == last.headers["ratelimit-policy"] == '"client";q=3;w=6'
    assert first.headers["ratelimit"] == '"client";r=2;t=2'
    assert last.status == 429
    assert problem_of(last)["type"] == "/problems/too_many_requests"
    assert int(last.headers["retry-after"]) in (1, 2)
    assert last.headers["ratelimit"].startswith('"client";r=0;')
    assert last.headers["x-content-type-options"] == "nosniff"
    assert len(seen) == 3, "who is refused costs the application nothing"
    assert call(app, client=("192.0.2.8", 1)).status == 200


def test_proxies_that_are_trusted_tell_the_client() -> None:
    app = edge(answering(), client_requests_per_s=0.5, client_burst=1, trusted_proxies="10.0.0.0/8")

    def ask(address: str) -> int:
        return call(app, client=("10.0.0.1", 1), headers={"X-Forwarded-For": address}).status

    assert [ask("192.0.2.7"), ask("192.0.2.8"), ask("192.0.2.7"), ask("203.0.113.9, 192.0.2.8")] == [200, 200, 429, 429]


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/version"])
def test_probes_are_never_refused(path: str) -> None:
    app = edge(answering(), client_requests_per_s=0.5, client_burst=1)
    assert {call(app, path).status for _ in range(20)} == {200}
    assert "ratelimit" not in call(app, path).headers


def test_no_limit_is_a_setting() -> None:
    app = edge(answering(), client_requests_per_s=0, client_burst=1)
    assert {call(app).status for _ in range(20)} == {200}


def test_a_body_that_says_it_is_too_large_is_refused_unread() -> None:
    seen: list[Any] = []
    sent = call(edge(answering(seen=seen)), method="POST", headers={"Content-Length": str(MOST_BODY_BYTES + 1)})
    assert sent.status == 413
    assert problem_of(sent)["type"] == "/problems/body_too_large"
    assert sent.headers["connection"] == "close"
    assert seen == []


@pytest.mark.parametrize("length", ["9" * 5000, "-1", "1e3", ""])
def test_a_length_that_is_no_number_is_refused(length: str) -> None:
    assert call(edge(answering()), method="POST", headers={"Content-Length": length}).status == 413


@pytest.mark.parametrize(("pieces", "status"), [(16, 200), (17, 413)])
def test_a_body_is_counted_while_it_comes(pieces: int, status: int) -> None:
    """
    Sent in chunks, it has no length to be believed.
    """
    seen: list[Any] = []
    body = [b"x" * (MOST_BODY_BYTES // 16)] * pieces
    sent = call(edge(answering(seen=seen)), method="POST", headers={"Transfer-Encoding": "chunked"}, body=body)
    assert sent.status == status
    assert [len(got) for _, _, got in seen] == ([MOST_BODY_BYTES] if status == 200 else [])


def test_a_body_that_lies_about_its_length_is_counted_too() -> None:
    sent = call(edge(answering()), method="POST", headers={"Content-Length": "10"}, body=[b"x" * MiB, b"x"])
    assert sent.status == 413


def test_a_body_that_comes_too_slowly_is_not_waited_for() -> None:
    async def never() -> Message:
        await asyncio.Event().wait()
        raise AssertionError("it waits for ever")

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await BodyLimit(answering(), patience_s=0.05)(scope, never, send)

    sent = call(slow, method="POST", headers={"Content-Length": "10"})
    assert sent.status == 408
    assert problem_of(sent)["type"] == "/problems/body_too_slow"


def test_a_client_that_leaves_while_it_sends_is_not_answered() -> None:
    async def gone() -> Message:
        return {"type": "http.disconnect"}

    async def leaving(scope: Scope, receive: Receive, send: Send) -> None:
        await BodyLimit(answering())(scope, gone, send)

    assert call(leaving, method="POST", headers={"Content-Length": "10"}).messages == []


def test_the_application_still_learns_that_the_client_left() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["body"] == b"ab"
        assert (await receive())["type"] == "http.disconnect"
        await answering()(scope, receive, send)

    assert call(edge(app), method="POST", headers={"Content-Length": "2"}, body=[b"a", b"b"]).status == 200


ORIGIN = {"Origin": "https://charts.example.org"}


def test_no_other_origin_may_read_unless_a_setting_says_so() -> None:
    assert "access-control-allow-origin" not in call(edge(answering()), headers=ORIGIN).headers


def test_an_origin_of_the_settings_may_read_and_sees_our_headers() -> None:
    app = edge(answering(), cors_origins="https://charts.example.org, https://other.example.org")
    sent = call(app, headers=ORIGIN)
    assert sent.headers["access-control-allow-origin"] == "https://charts.example.org"
    assert "access-control-allow-credentials" not in sent.headers
    exposed = sent.headers["access-control-expose-headers"].split(", ")
    assert {"ETag", "Stopsearch-Snapshot", "RateLimit", "Retry-After", "X-Request-Id"} <= set(exposed)
    assert "Origin" in sent.headers["vary"]
    assert "access-control-allow-origin" not in call(app, headers={"Origin": "https://evil.example.com"}).headers


def test_other_origins_may_only_read() -> None:
    app = edge(answering(), cors_origins="https://charts.example.org")

    def ask(method: str, *headers: str) -> int:
        asked = {**ORIGIN, "Access-Control-Request-Method": method}
        if headers:
            asked["Access-Control-Request-Headers"] = ", ".join(headers)
        return call(app, method="OPTIONS", headers=asked).status

    assert ask("GET") == ask("HEAD") == ask("GET", "if-none-match") == 200
    assert {ask("POST"), ask("DELETE"), ask("GET", "authorization")} == {400}


def test_any_origin_may_be_let_in() -> None:
    app = edge(answering(), cors_origins="*")
    sent = call(app, headers=ORIGIN)
    assert sent.headers["access-control-allow-origin"] == "*"
    assert sent.headers["cross-origin-resource-policy"] == "cross-origin"


def test_a_refusal_can_be_read_by_the_page_that_caused_it() -> None:
    app = edge(answering(), cors_origins="*", client_requests_per_s=0.5, client_burst=1)
    call(app)
    refused = call(app, headers=ORIGIN)
    assert (refused.status, refused.headers["access-control-allow-origin"]) == (429, "*")
