"""
Who asks, and how often each may: in a bounded memory, whatever addresses come by.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from math import ceil

from starlette.types import Scope

# How many clients are remembered at most, the last seen ones: about 10 MB.
MOST_CLIENTS = 65_536
# How far a chain of proxies is followed.
_MOST_HOPS = 32
# No address is longer, with its port, zone and blanks.
_LONGEST_HOP = 100
_NOBODY = "unknown"


class ClientNames:
    """
    Tells who made a request: the peer, or whom the proxies that are trusted say.

    Args:
        trusted_proxies: Addresses or networks of proxies, whose X-Forwarded-For is believed.
    """

    def __init__(self, trusted_proxies: Sequence[str] = ()) -> None:
        self._trusted = tuple(ip_network(proxy, strict=False) for proxy in trusted_proxies)
        # The same few thousand addresses come again and again; anybody may send any others.
        self._read = lru_cache(maxsize=8192)(_read_address)
        self._is_trusted = lru_cache(maxsize=8192)(self._lies_in_trusted)

    def name_of(self, scope: Scope) -> str:
        """
        Give the client's name: an IPv4 address, or the first 64 bits of an IPv6 address, which one customer has.
        """
        peer = scope.get("client")
        if not peer:
            return _NOBODY
        address = self._read(peer[0])
        if address is None:
            return str(peer[0])
        if self._trusted and self._is_trusted(address):
            address = self._forwarded(scope, address)
        return _name(address)

    def _forwarded(self, scope: Scope, peer: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
        """
        Walk back through the proxies, and give the first hop that is none of ours: what it says itself is not believed.
        """
        given = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
        hops = given.decode("latin-1").rsplit(",", _MOST_HOPS)[-_MOST_HOPS:] if given else []
        last = peer
        for hop in reversed(hops):
            address = self._read(hop.strip()) if len(hop) <= _LONGEST_HOP else None  # what is read is kept
            if address is None:
                break
            last = address
            if not self._is_trusted(address):
                break
        return last

    def _lies_in_trusted(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._trusted)


def _read_address(text: str) -> IPv4Address | IPv6Address | None:
    """
    Read an address as sockets and proxies write it: bare, with a port, in brackets, with a zone.
    """
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


@lru_cache(maxsize=8192)
def _name(address: IPv4Address | IPv6Address) -> str:
    return str(address) if isinstance(address, IPv4Address) else f"{IPv6Address(int(address) >> 64 << 64)}/64"


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    Whether a request may be answered, how many more may come at once, and in how many seconds things are better.
    """

    may_pass: bool
    remaining: int
    wait_s: int  # until the next one may come, where this one may not; else until all are there again


class Allowance:
    """
    Counts requests by client: so many a second on average, so many at once (the generic cell rate algorithm).

    One number a client: when its allowance is whole again. Of clients that are forgotten for others the allowance is
    whole at once.

    Args:
        per_s: Requests a second.
        burst: Requests at once.
        most_clients: How many clients are remembered.
    """

    def __init__(self, *, per_s: float, burst: int, most_clients: int = MOST_CLIENTS) -> None:
        self.burst = burst
        self.whole_after_s = max(1, ceil(burst / per_s))  # how long a client that has used all up waits for all of it
        self._interval_s = 1 / per_s
        self._burst_s = burst / per_s
        self._most_clients = most_clients
        self._whole_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._whole_at)

    def take(self, client: str, now: float) -> Verdict:
        """
        Take one request out of a client's allowance, where it is not used up.

        Args:
            now: Seconds on a clock that only goes forward.
        """
        debt_s = max(self._whole_at.get(client, now) - now, 0.0) + self._interval_s
        # A hundredth of a request is forgiven, for the sums of fractions never come out even.
        spare_s = self._burst_s - debt_s + 0.01 * self._interval_s
        if spare_s < 0:
            return Verdict(False, 0, max(1, ceil(-spare_s)))
        self._whole_at[client] = now + debt_s
        self._whole_at.move_to_end(client)
        if len(self._whole_at) > self._most_clients:
            self._whole_at.popitem(last=False)
        return Verdict(True, int(spare_s / self._interval_s), ceil(debt_s))
