"""
The circuit breaker whose state is in Redis: when one process finds the publisher down, all leave it alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from itertools import count
from uuid import uuid4

import structlog

from stopsearch.domain.errors import UpstreamDown
from stopsearch.source.breaker import (
    DISTINCT_ADDRESSES,
    Permit,
    ProcessBreaker,
    Verdict,
    refuse_beside_probe,
    refuse_to_ask,
)
from stopsearch.source.shared_state import SharedState, SharedStateAway, upstream_key
from stopsearch.telemetry.events import Event

_log = structlog.get_logger(__name__)

# How soon it is looked again whether another process's probe has found the publisher up.
_LOOK_AGAIN_S = 1.0
_LEAST_KEPT_S = 7200.0
_MICROSECONDS = 1_000_000

# All instants are whole microseconds on the server's clock. The hash holds
#   era        which permits have a say: it changes whenever the breaker opens or closes, or its state was lost
#   failures   in a row
#   addresses  that failed in the row, as digests, each followed by a space; no more than are needed
#   opened     when it opened, while it is open
#   probe      who may send the single request, and until when: a process that dies with it gives it back by that
# `state` gives what a caller must know: whether to ask, and the microseconds after which it may look again.
_READ = """
local function whole(number) return string.format('%.0f', number) end
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local pause, lease, kept_ms, token = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4]
local kept = redis.call('HMGET', KEYS[1], 'era', 'failures', 'addresses', 'opened', 'probe', 'probe_until')
local era, failures, addresses = tonumber(kept[1]), tonumber(kept[2] or 0), kept[3] or ''
local opened, probe, probe_until = tonumber(kept[4]), kept[5], tonumber(kept[6] or 0)
local function write(...)
  redis.call('HSET', KEYS[1], ...)
  redis.call('PEXPIRE', KEYS[1], kept_ms)
end
if not era then
  era = now
  write('era', whole(era))
end
if opened and opened > now + 1000000 then
  opened = now
  write('opened', whole(opened))
end
if probe and (probe_until <= now or probe_until > now + lease + 1000000) then probe = false end
local function state()
  if not opened then return 0, 0 end
  if opened + pause > now then return 1, opened + pause - now end
  if probe then return 2, probe_until - now end
  return 0, 0
end
"""

_ENTER = f"""
{_READ}
local phase, left = state()
if opened and (phase == 0 or (phase == 2 and probe == token)) then
  write('probe', token, 'probe_until', whole(now + lease))
  phase, left = 3, lease
end
return {{phase, math.ceil(left), failures, era, 0}}
"""

_LEAVE = f"""
{_READ}
local verdict, permit_era, address = ARGV[5], tonumber(ARGV[6]), ARGV[7]
local threshold, distinct = tonumber(ARGV[8]), tonumber(ARGV[9])
local news = 0
local function turn(...)
  era = math.max(era + 1, now)
  redis.call('HDEL', KEYS[1], 'opened', 'probe', 'probe_until')
  write('era', whole(era), 'failures', failures, 'addresses', addresses, ...)
end
if permit_era == era then
  if token ~= '' and probe == token then
    probe = false
    redis.call('HDEL', KEYS[1], 'probe', 'probe_until')
  end
  if verdict == 'up' and (failures > 0 or opened) then
    failures, addresses = 0, ''
    if opened then
      opened, probe, news = nil, false, 2
      turn()
    else
      write('failures', 0, 'addresses', '')
    end
  elseif verdict == 'down' then
    failures = failures + 1
    if #addresses < distinct * (#address + 1) and not string.find(addresses, address, 1, true) then
      addresses = addresses .. address .. ' '
    end
    if token ~= '' or (failures >= threshold and #addresses >= distinct * (#address + 1)) then
      opened, probe, news = now, false, 1
      turn('opened', whole(opened))
    else
      write('failures', failures, 'addresses', addresses)
    end
  end
end
local phase, left = state()
return {{phase, math.ceil(left), failures, era, news}}
"""


class _Phase(IntEnum):
    """
    What the shared state says to whoever wants to ask the publisher.
    """

    ASKED = 0  # go on
    PAUSED = 1  # it is left alone
    PROBED = 2  # somebody else's single request is under way
    OURS = 3  # ours is the single request


class _News(IntEnum):
    """
    What a verdict has changed, for everybody.
    """

    NONE = 0
    OPENED = 1
    CLOSED = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedPermit(Permit):
    """
    A permit of the shared breaker. `token` names the probe, and is empty for any other request.
    """

    token: str = ""


class RedisBreaker:
    """
    A breaker for all processes that share a Redis, by the rules of `ProcessBreaker`.

    Whether to ask is decided in Redis by `enter`; `check` goes by what was last heard of it, so it costs nothing: for
    as long as the pause lasts, and for a second where another process's probe is under way. While Redis is away each
    process has a breaker of its own; what was known by then holds until its pause is over.

    Args:
        lease_s: Seconds after which a probe counts as lost with its process: longer than any request takes.
    """

    def __init__(self, state: SharedState, *, upstream_url: str, failures: int, pause_s: float, lease_s: float) -> None:
        self._state = state
        self._key = upstream_key("breaker", upstream_url)
        self._threshold = failures
        self._pause_s = pause_s
        self._lease_s = lease_s
        self._alone = ProcessBreaker(failures=failures, pause_s=pause_s)
        self._has_fallen_back = False
        self._name = uuid4().hex
        self._probes = count()
        # What was last heard: until then nothing is asked, and why.
        self._refused_until = 0.0
        self._phase = _Phase.ASKED
        self._failures = 0

    @property
    def pause_left_s(self) -> float:
        """
        Give the seconds until a probe may go, or until it is worth looking whether one has succeeded; 0 while requests
        are let through.
        """
        left_s = max(0.0, self._refused_until - time.monotonic())
        return max(left_s, self._alone.pause_left_s) if self._has_fallen_back else left_s

    def check(self) -> None:
        """
        Refuse early, before anything is queued for.
        """
        left_s = self._refused_until - time.monotonic()
        if left_s > 0:
            raise self._refusal(left_s)
        if self._has_fallen_back:
            self._alone.check()

    async def enter(self, address: str) -> Permit:
        """
        Let one request through, as the probe if the pause has just ended.
        """
        self.check()
        token = f"{self._name}:{next(self._probes)}"
        try:
            phase, era = await self._run(_ENTER, token)
        except SharedStateAway:
            return await self._alone.enter(address)
        if phase in (_Phase.PAUSED, _Phase.PROBED):
            raise self._refusal(self._refused_until - time.monotonic())
        is_probe = phase is _Phase.OURS
        return SharedPermit(address=address, era=era, is_probe=is_probe, token=token if is_probe else "")

    async def leave(self, permit: Permit, verdict: Verdict) -> None:
        """
        Take the verdict of a request that was let through.
        """
        if not isinstance(permit, SharedPermit):
            await self._alone.leave(permit, verdict)
            return
        digest = sha256(permit.address.encode()).hexdigest()[:16]
        distinct = min(DISTINCT_ADDRESSES, self._threshold)
        try:
            await self._run(_LEAVE, permit.token, verdict.value, permit.era, digest, self._threshold, distinct)
        except SharedStateAway:
            return  # one verdict is lost; a probe's lease ends by itself

    async def _run(self, script: str, token: str, *arguments: str | int) -> tuple[_Phase, int]:
        times = (_us(self._pause_s), _us(self._lease_s), int(self._kept_s * 1000))
        try:
            phase, left_us, failures, era, news = await self._state.run(script, self._key, *times, token, *arguments)
        except SharedStateAway as away:
            if not self._has_fallen_back:
                _log.warning(Event.BREAKER_FELL_BACK, fault=away.fault)
            self._has_fallen_back = True
            raise
        if self._has_fallen_back:
            _log.warning(Event.BREAKER_BACK)
            self._has_fallen_back = False
            self._alone = ProcessBreaker(failures=self._threshold, pause_s=self._pause_s)
        self._phase, self._failures = _Phase(phase), failures
        left_s = left_us / _MICROSECONDS
        self._refused_until = time.monotonic() + (
            left_s if self._phase is _Phase.PAUSED else min(left_s, _LOOK_AGAIN_S)
        )
        if news == _News.OPENED:
            _log.warning(Event.BREAKER_OPENED, failures=failures, pause_s=self._pause_s)
        elif news == _News.CLOSED:
            _log.info(Event.BREAKER_CLOSED)
        return self._phase, era

    def _refusal(self, left_s: float) -> UpstreamDown:
        return refuse_to_ask(self._failures, left_s) if self._phase is _Phase.PAUSED else refuse_beside_probe()

    @property
    def _kept_s(self) -> float:
        return max(_LEAST_KEPT_S, 2 * (self._pause_s + self._lease_s))


def _us(seconds: float) -> int:
    return round(seconds * _MICROSECONDS)
