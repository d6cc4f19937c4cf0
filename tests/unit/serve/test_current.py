"""
When the current snapshot is found anew: at once after a change, and every two seconds while it changes all the time.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from stopsearch.serve import current
from stopsearch.serve.current import CurrentSnapshot

pytestmark = pytest.mark.unit


class Served:
    """
    What is served, and how often somebody looked.
    """

    def __init__(self) -> None:
        self.generation = 1
        self.looks = 0
        self.now = 1000.0

    async def find(self) -> Any:
        self.looks += 1
        return f"snapshot {self.generation}", self.generation

    def clock(self) -> float:
        return self.now


@pytest.fixture
def served() -> Served:
    return Served()


def test_a_change_is_seen_by_the_next_request(served: Served) -> None:
    async def ask() -> list[Any]:
        looking = CurrentSnapshot(served.find, clock=served.clock)
        answers = [await looking.at(1)]
        for generation in (2, 3, 4):
            served.generation = generation
            served.now += 0.1
            answers.append(await looking.at(generation))
        return answers

    assert [answer[1] for answer in asyncio.run(ask())] == [1, 2, 3, 4]


def test_many_changes_are_looked_at_every_two_seconds(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(current, "_EVERY_S", 0.05)

    async def ask() -> tuple[list[Any], Any]:
        looking = CurrentSnapshot(served.find)
        answers = []
        for generation in range(1, 201):
            served.generation = generation
            answers.append(await looking.at(generation))
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.2)  # nobody asks, and the last change is found all the same
        last = looking.last
        await looking.close()
        return answers, last

    answers, last = asyncio.run(ask())
    assert served.looks < 20
    assert [answer[1] for answer in answers] == sorted(answer[1] for answer in answers)
    assert last == ("snapshot 200", 200)


def test_nobody_is_answered_from_what_is_too_old(served: Served) -> None:
    async def ask() -> Any:
        looking = CurrentSnapshot(served.find, clock=served.clock)
        for generation in range(1, 20):
            served.generation = generation
            await looking.at(generation)
        assert looking.lags()
        served.now += 11
        assert not looking.lags()
        return await looking.at(19)

    assert asyncio.run(ask())[1] == 19


def test_a_state_that_was_restored_is_seen_at_once(served: Served) -> None:
    async def ask() -> Any:
        looking = CurrentSnapshot(served.find, clock=served.clock)
        for generation in range(10, 20):
            served.generation = generation
            await looking.at(generation)
        served.generation = 3
        return await looking.at(3)

    assert asyncio.run(ask())[1] == 3
