"""
Costly answers are made once for each snapshot, and whatever Redis does makes them slower at most.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from starlette.testclient import TestClient

from builders.ingests import settings_for
from builders.valkey import RunningValkey, running_valkey
from stopsearch.domain.errors import ConfigError, QueryTooSlow
from stopsearch.serve import answer_cache
from stopsearch.serve.answer_cache import Answer, AnswerCache, answer_key
from stopsearch.store.database import Database

pytestmark = pytest.mark.integration

KEY = answer_key("1.0", "ab" * 32, "/v1/counts", "by=force", "https://stops.example.org", "json")
OTHER = answer_key("1.0", "cd" * 32, "/v1/counts", "by=force", "https://stops.example.org", "json")
JSON = "application/json"


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[RunningValkey]:
    """
    A server of this test's own.
    """
    with running_valkey(tmp_path) as server:
        yield server


class Maker:
    """
    Makes an answer, and counts how often it was asked to.
    """

    def __init__(self, content: bytes = b'{"data": []}', *, pause_s: float = 0.0) -> None:
        self.calls = 0
        self._content = content
        self._pause_s = pause_s

    async def __call__(self) -> Answer:
        self.calls += 1
        await asyncio.sleep(self._pause_s)
        return Answer(content=self._content, media_type=JSON)


def cache_with(valkey: RunningValkey | None, **settings: Any) -> AnswerCache:
    secret = settings.pop("secret", b"a secret")
    return AnswerCache(settings_for(redis_url=valkey.url if valkey else None, **settings), secret=secret)


def run(ask: Callable[[], Awaitable[Any]]) -> Any:
    """
    Run a test's questions on an event loop of their own, and no longer than they should take.
    """

    async def bounded() -> Any:
        async with asyncio.timeout(30):
            return await ask()

    return asyncio.run(bounded())


async def ask_once(cache: AnswerCache, make: Maker, key: str = KEY) -> Answer:
    try:
        return await cache.get_or_make(key, make)
    finally:
        await cache.close()


def test_an_answer_that_was_made_is_found_in_the_process() -> None:
    cache, make = cache_with(None), Maker()

    async def twice() -> None:
        first, second = await cache.get_or_make(KEY, make), await cache.get_or_make(KEY, make)
        assert first == second == Answer(content=b'{"data": []}', media_type=JSON)

    run(twice)
    assert make.calls == 1
    assert (cache.statistics.hits, cache.statistics.misses) == (1, 1)


def test_another_process_finds_it_in_redis(valkey: RunningValkey) -> None:
    first, second, make = cache_with(valkey), cache_with(valkey), Maker(b"caf\xc3\xa9 \x00")
    made = run(lambda: ask_once(first, make))
    assert run(lambda: ask_once(second, make)) == made
    assert make.calls == 1
    assert (second.statistics.redis_hits, second.statistics.misses) == (1, 0)


def test_a_new_snapshot_is_seen_at_once(valkey: RunningValkey) -> None:
    cache = cache_with(valkey)

    async def before_and_after() -> None:
        assert (await cache.get_or_make(KEY, Maker(b"before"))).content == b"before"
        assert (await cache.get_or_make(OTHER, Maker(b"after"))).content == b"after"
        assert (await cache.get_or_make(KEY, Maker(b"never made"))).content == b"before"
        await cache.close()

    run(before_and_after)


def test_the_same_question_asked_fifty_times_at_once_is_answered_once(valkey: RunningValkey) -> None:
    cache, make = cache_with(valkey), Maker(pause_s=0.05)

    async def at_once() -> None:
        answers = await asyncio.gather(*(cache.get_or_make(KEY, make) for _ in range(50)))
        assert len(set(answers)) == 1
        await cache.close()

    run(at_once)
    assert make.calls == 1
    assert (cache.statistics.misses, cache.statistics.joined) == (1, 49)


def test_a_client_that_leaves_does_not_end_what_others_wait_for() -> None:
    cache, make = cache_with(None), Maker(pause_s=0.05)

    async def one_leaves() -> None:
        leaving = asyncio.create_task(cache.get_or_make(KEY, make))
        staying = asyncio.create_task(cache.get_or_make(KEY, make))
        await asyncio.sleep(0.01)
        leaving.cancel()
        assert (await staying).media_type == JSON

    run(one_leaves)
    assert make.calls == 1


def test_a_failure_reaches_all_who_wait_and_is_not_kept() -> None:
    cache = cache_with(None)

    async def fail() -> Answer:
        await asyncio.sleep(0.01)
        raise QueryTooSlow("It takes too long.")

    async def ask() -> None:
        failures = await asyncio.gather(*(cache.get_or_make(KEY, fail) for _ in range(3)), return_exceptions=True)
        assert [type(failure) for failure in failures] == [QueryTooSlow] * 3
        assert (await cache.get_or_make(KEY, Maker())).media_type == JSON

    run(ask)


def test_the_process_keeps_no_more_than_the_setting_says() -> None:
    cache = cache_with(None, page_cache_mb=1)
    answer = Maker(b"x" * 200_000)
    keys = [answer_key("1.0", str(number), "/", "", "", "json") for number in range(12)]

    async def fill() -> None:
        for key in keys:
            await cache.get_or_make(key, answer)
        assert answer.calls == 12
        await cache.get_or_make(keys[-1], answer)
        assert answer.calls == 12
        await cache.get_or_make(keys[0], answer)
        assert answer.calls == 13
        # An answer larger than a quarter of the cache is not kept, and pushes nothing out.
        large = Maker(b"x" * 300_000)
        await cache.get_or_make(KEY, large)
        await cache.get_or_make(KEY, large)
        assert large.calls == 2
        await cache.get_or_make(keys[-1], answer)
        assert answer.calls == 13

    run(fill)
    assert sum(len(kept.content) for kept in cache._kept.values()) <= 1024 * 1024


def test_a_cache_of_nought_keeps_nothing() -> None:
    cache, make = cache_with(None, page_cache_mb=0), Maker()

    async def twice() -> None:
        await cache.get_or_make(KEY, make)
        await cache.get_or_make(KEY, make)

    run(twice)
    assert make.calls == 2


def test_large_answers_stay_out_of_redis(valkey: RunningValkey) -> None:
    make = Maker(b"x" * (answer_cache._MOST_BYTES + 1))
    run(lambda: ask_once(cache_with(valkey), make))
    run(lambda: ask_once(cache_with(valkey), make))
    assert make.calls == 2
    assert redis.Redis.from_url(valkey.url).dbsize() == 0


def test_what_is_kept_in_redis_goes_by_itself(valkey: RunningValkey) -> None:
    run(lambda: ask_once(cache_with(valkey), Maker()))
    client = redis.Redis.from_url(valkey.url)
    (key,) = client.keys()
    assert key == b"stopsearch:answer:1:" + KEY.encode()
    assert 0 < client.ttl(key) <= 86_400
    client.close()


def test_the_key_is_the_same_in_every_process() -> None:
    """
    No hash, no address of an object, nothing that differs between two processes gets into it.
    """
    program = (
        "from stopsearch.serve.answer_cache import answer_key;"
        f"print(answer_key('1.0', {'ab' * 32!r}, '/v1/counts', 'by=force', 'https://stops.example.org', 'json'))"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert told == {KEY}
    with pytest.raises(AttributeError):
        answer_key("1.0", object(), "/", "", "", "json")  # type: ignore[arg-type]  # what has no text of its own


def test_parts_of_a_key_do_not_run_into_each_other() -> None:
    assert answer_key("1", "2", "/a", "b", "", "json") != answer_key("1", "2", "/ab", "", "", "json")


@pytest.mark.parametrize(
    "poison",
    [
        b"",
        b'{"data": "not ours"}',
        b"stopsearch-answer-1\n",
        b"stopsearch-answer-1\n" + bytes(32) + b"\x10application/json{}",
        b"\x80\x04\x95cbuiltins\neval\n",
    ],
)
def test_a_value_that_was_not_kept_there_is_not_believed(valkey: RunningValkey, poison: bytes) -> None:
    client = redis.Redis.from_url(valkey.url)
    client.set(b"stopsearch:answer:1:" + KEY.encode(), poison)
    cache, make = cache_with(valkey), Maker(b"right")
    assert run(lambda: ask_once(cache, make)).content == b"right"
    assert cache.statistics.refused_values == 1
    client.close()


def test_a_value_under_another_key_or_of_another_server_is_not_believed(valkey: RunningValkey) -> None:
    run(lambda: ask_once(cache_with(valkey), Maker(b"right")))
    client = redis.Redis.from_url(valkey.url)
    value = client.get(b"stopsearch:answer:1:" + KEY.encode())
    client.set(b"stopsearch:answer:1:" + OTHER.encode(), value)
    moved, foreign = cache_with(valkey), cache_with(valkey, secret=b"another")
    assert run(lambda: ask_once(moved, Maker(b"of the other"), OTHER)).content == b"of the other"
    assert run(lambda: ask_once(foreign, Maker(b"mine"))).content == b"mine"
    assert moved.statistics.refused_values == foreign.statistics.refused_values == 1
    client.close()


def test_redis_that_is_killed_midway_is_left_alone_and_found_again(
    valkey: RunningValkey, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = cache_with(valkey, page_cache_mb=0)
    monkeypatch.setattr(answer_cache, "_PAUSE_S", 0.5)

    async def midway() -> None:
        make = Maker()
        await cache.get_or_make(KEY, make)
        await asyncio.sleep(0.1)
        await cache.get_or_make(KEY, make)
        assert (make.calls, cache.statistics.redis_hits) == (1, 1)
        assert await cache.ping() == "ready"

        valkey.kill()
        begun = time.monotonic()
        for number in range(100):
            await cache.get_or_make(answer_key("1.0", str(number), "/", "", "", "json"), make)
        assert make.calls == 101
        assert time.monotonic() - begun < 5
        assert cache.statistics.redis_failures < 10
        assert await cache.ping() == "away"

        valkey.start()
        await asyncio.sleep(0.6)
        again = Maker(b"again")
        await cache.get_or_make(KEY, again)
        await asyncio.sleep(0.1)
        await cache.get_or_make(KEY, again)
        assert again.calls == 1
        assert await cache.ping() == "ready"
        await cache.close()

    run(midway)
    told = capsys.readouterr().out
    assert told.count("cache_left") == told.count("cache_back") == 1
    assert valkey.url not in told


def test_many_questions_at_once_are_no_failure_of_redis(valkey: RunningValkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_cache, "_PATIENCE_S", 10)  # the machine of the tests may be busy
    cache = cache_with(valkey, page_cache_mb=0)
    keys = [answer_key("1.0", str(number), "/", "", "", "json") for number in range(300)]

    async def ask() -> None:
        await asyncio.gather(*(cache.get_or_make(key, Maker(pause_s=0.1)) for key in keys))
        await asyncio.sleep(0.5)
        await asyncio.gather(*(cache.get_or_make(key, Maker()) for key in keys))
        await cache.close()

    run(ask)
    assert cache.statistics.redis_failures == 0
    assert cache.statistics.redis_hits == len(keys)


def test_redis_that_takes_connections_and_never_answers_costs_little(valkey: RunningValkey) -> None:
    cache, make = cache_with(valkey, page_cache_mb=0), Maker()

    async def ask() -> None:
        begun = time.monotonic()
        for number in range(50):
            await cache.get_or_make(answer_key("1.0", str(number), "/", "", "", "json"), make)
        # One question waits for it; the others would have waited 10 s.
        assert time.monotonic() - begun < 5
        await cache.close()

    with valkey.frozen():
        run(ask)
    assert make.calls == 50
    assert 1 <= cache.statistics.redis_failures <= 3


def test_what_is_no_redis_at_all_breaks_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def talk() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1000)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n*-7\r\n:abc\r\n")

        threading.Thread(target=talk, daemon=True).start()
        cache = AnswerCache(settings_for(redis_url=f"redis://127.0.0.1:{port}/0", page_cache_mb=0))
        make = Maker()
        run(lambda: ask_once(cache, make))
        assert make.calls == 1
        assert cache.statistics.redis_failures >= 1
        listener.shutdown(socket.SHUT_RDWR)


def test_a_redis_that_nobody_can_mean_is_said_at_the_start() -> None:
    with pytest.raises(ConfigError, match="STOPSEARCH_REDIS_URL") as refused:
        AnswerCache(settings_for(redis_url="http://:a-password@localhost"))
    assert "a-password" not in str(refused.value)


COSTLY = "/v1/counts?by=force,month,gender&located=true"


def test_servers_share_costly_answers_and_do_without(
    make_api: Callable[..., TestClient], stocked: Database, valkey: RunningValkey
) -> None:
    """
    The same bytes, whether made here, found here, made by another server, or made while Redis is away.
    """
    first, second = (make_api(stocked, redis_url=valkey.url) for _ in range(2))
    made = first.get(COSTLY)
    assert made.status_code == 200, made.text
    assert first.get(COSTLY).content == made.content
    wait_until(lambda: redis.Redis.from_url(valkey.url).dbsize() == 1)
    assert second.get(COSTLY).content == made.content
    assert statistics_of(first) == (1, 0, 1)
    assert statistics_of(second) == (0, 1, 0)

    valkey.kill()
    third = make_api(stocked, redis_url=valkey.url)
    assert third.get(COSTLY).content == made.content
    assert statistics_of(third) == (0, 0, 1)


def test_a_cheap_answer_is_not_kept(make_api: Callable[..., TestClient], stocked: Database) -> None:
    client = make_api(stocked)
    for _ in range(2):
        assert client.get("/v1/stops?limit=1").status_code == 200
    assert statistics_of(client) == (0, 0, 0)


def test_a_refusal_is_not_kept(make_api: Callable[..., TestClient], stocked: Database) -> None:
    client = make_api(stocked)
    for _ in range(2):
        assert client.get("/v1/rates?force=btp").status_code == 422
    assert statistics_of(client) == (0, 0, 2)


def statistics_of(client: TestClient) -> tuple[int, int, int]:
    kept = client.app.state.answers.statistics  # type: ignore[attr-defined]  # the application's
    return kept.hits, kept.redis_hits, kept.misses


def wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.01)
