"""
A client is whoever can't pretend to be another, and is told when it may ask again.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stopsearch.serve.clients import Allowance, ClientNames

pytestmark = pytest.mark.unit

PROXY = ("10.0.0.1", 4000)


def name_of(names: ClientNames, peer: tuple[str, int] | None, *forwarded: str) -> str:
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    return names.name_of({"type": "http", "client": peer, "headers": headers})


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "client"),
    [
        ((), ("192.0.2.7", 1), (), "192.0.2.7"),
        # Nobody is trusted unless the settings say so.
        ((), ("192.0.2.7", 1), ("203.0.113.9",), "192.0.2.7"),
        (("10.0.0.0/8",), ("192.0.2.7", 1), ("203.0.113.9",), "192.0.2.7"),
        (("10.0.0.0/8",), PROXY, ("203.0.113.9",), "203.0.113.9"),
        # What a client writes to the left of its own address is its own invention.
        (("10.0.0.0/8",), PROXY, ("198.51.100.1, 203.0.113.9",), "203.0.113.9"),
        (("10.0.0.0/8",), PROXY, ("198.51.100.1", "203.0.113.9"), "203.0.113.9"),
        (("10.0.0.0/8",), PROXY, ("203.0.113.9, 10.0.0.2",), "203.0.113.9"),
        (("10.0.0.0/8",), PROXY, ("10.0.0.3, 10.0.0.2",), "10.0.0.3"),
        (("10.0.0.0/8",), PROXY, ("203.0.113.9, nonsense, 10.0.0.2",), "10.0.0.2"),
        (("10.0.0.0/8",), PROXY, ("",), "10.0.0.1"),
        (("10.0.0.0/8",), PROXY, (), "10.0.0.1"),
        # As proxies write them: with a port, in brackets.
        (("10.0.0.0/8",), PROXY, ("203.0.113.9:51234",), "203.0.113.9"),
        (("10.0.0.0/8",), PROXY, ("[2001:db8:1:2:3:4:5:6]:51234",), "2001:db8:1:2::/64"),
        # One customer has a whole /64, and may use any address of it.
        ((), ("2001:db8:1:2:3:4:5:6", 1), (), "2001:db8:1:2::/64"),
        ((), ("2001:db8:1:2:ffff::1", 1), (), "2001:db8:1:2::/64"),
        ((), ("fe80::1%eth0", 1), (), "fe80::/64"),
        # A socket for both kinds tells IPv4 so.
        ((), ("::ffff:192.0.2.7", 1), (), "192.0.2.7"),
        (("10.0.0.1",), ("::ffff:10.0.0.1", 1), ("203.0.113.9",), "203.0.113.9"),
        (("::1",), ("::1", 1), ("203.0.113.9",), "203.0.113.9"),
        ((), None, (), "unknown"),
        ((), ("testclient", 50000), (), "testclient"),
    ],
)
def test_who_asks(
    trusted: tuple[str, ...], peer: tuple[str, int] | None, forwarded: tuple[str, ...], client: str
) -> None:
    assert name_of(ClientNames(trusted), peer, *forwarded) == client


@given(st.lists(st.text(alphabet="0123456789abcdef.:[]%, x", max_size=60), max_size=4))
def test_no_header_breaks_it(values: list[str]) -> None:
    assert name_of(ClientNames(("10.0.0.0/8",)), PROXY, *values)


def test_a_long_chain_is_not_followed_for_ever() -> None:
    chain = ", ".join(["203.0.113.9", *["10.0.0.2"] * 10_000])
    assert name_of(ClientNames(("10.0.0.0/8",)), PROXY, chain) == "10.0.0.2"


def test_a_client_may_ask_so_many_at_once_and_so_many_a_second() -> None:
    allowance = Allowance(per_s=10, burst=5)
    verdicts = [allowance.take("a", 100.0) for _ in range(6)]

    assert [verdict.may_pass for verdict in verdicts] == [True] * 5 + [False]
    assert [verdict.remaining for verdict in verdicts] == [4, 3, 2, 1, 0, 0]
    assert verdicts[-1].wait_s == 1
    assert not allowance.take("a", 100.09).may_pass
    assert allowance.take("a", 100.1).may_pass
    assert not allowance.take("a", 100.1).may_pass
    assert allowance.take("a", 200.0).remaining == 4


def test_being_refused_costs_nothing() -> None:
    allowance = Allowance(per_s=1, burst=1)
    assert allowance.take("a", 0.0).may_pass
    assert not any(allowance.take("a", 0.5).may_pass for _ in range(1000))
    assert allowance.take("a", 1.0).may_pass


def test_whoever_waits_as_long_as_told_is_let_through() -> None:
    allowance = Allowance(per_s=0.1, burst=2)
    now = 1000.3
    allowance.take("a", now)
    allowance.take("a", now)
    verdict = allowance.take("a", now + 1)
    assert not verdict.may_pass
    assert allowance.take("a", now + 1 + verdict.wait_s).may_pass


def test_clients_do_not_count_for_each_other() -> None:
    allowance = Allowance(per_s=1, burst=1)
    assert allowance.take("a", 0.0).may_pass
    assert allowance.take("b", 0.0).may_pass
    assert not allowance.take("a", 0.0).may_pass


def test_only_so_many_clients_are_remembered() -> None:
    allowance = Allowance(per_s=1, burst=1, most_clients=100)
    for number in range(1000):
        allowance.take(str(number), 0.0)
    assert len(allowance) == 100
    assert not allowance.take("999", 0.0).may_pass


@given(st.floats(0.1, 1000), st.integers(1, 50), st.lists(st.floats(0, 2), max_size=200))
def test_no_more_pass_than_the_rate_and_the_burst_allow(per_s: float, burst: int, pauses: list[float]) -> None:
    allowance = Allowance(per_s=per_s, burst=burst)
    now, passed = 0.0, 0
    for pause in pauses:
        now += pause / per_s
        passed += allowance.take("a", now).may_pass
    assert passed <= burst + now * per_s + 0.02
