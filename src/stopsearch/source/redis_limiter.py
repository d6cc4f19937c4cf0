"""
The pace at which the publisher is asked, kept in Redis for all processes; and what goes on while Redis is away.
"""

from __future__ import annotations

import contextlib
import math
import time

import structlog

from stopsearch.domain.errors import SourceUnavailable, StoreError
from stopsearch.source.clock import SystemClock
from stopsearch.source.limiter import LONGEST_PENALTY_S, Limiter, Pace, refuse_to_wait
from stopsearch.source.shared_state import SharedState, SharedStateAway, upstream_key
from stopsearch.telemetry.events import Event

_log = structlog.get_logger(__name__)

_MICROSECONDS = 1_000_000
_ENDLESS_S = 1e9

# Kept so long after it was last looked at: longer than any penalty.
_KEPT_MS = int(2 * LONGEST_PENALTY_S * 1000)

# For so long after one of the processes was without Redis, all are given slots at a share of the rate: some of them may
# still be without it, and take theirs elsewhere. It covers a pause of five seconds before Redis is looked for again,
# three in which it may fail to answer, and a queue of slots already taken there.
SETTLING_S = 15.0
_LEAST_SETTLING_SHARE = 0.1

# All instants are whole microseconds on the server's clock. The hash holds
#   next     when the next slot falls due, if all come evenly spaced
#   held     when the last penalty ends
#   settled  when all processes are sure to be here, and the pace is full again
#   era      which slots hold: it changes with every penalty, and when the state was lost, and voids those before it
#   seen     when it was last looked at: a clock that stands before that was set back, and everything goes with it
# State that is not there, or no longer, begins without a burst.
_READ = """
local function whole(number) return string.format('%.0f', number) end
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local kept = redis.call('HMGET', KEYS[1], 'next', 'held', 'settled', 'era', 'seen')
local next_at, held, settled = tonumber(kept[1]), tonumber(kept[2]), tonumber(kept[3])
local era, seen = tonumber(kept[4]), tonumber(kept[5])
local tolerance = tonumber(ARGV[1])
if not (next_at and held and settled and era and seen) then
  next_at, held, settled, era = now + tolerance, now, now, now
elseif now + 1000000 < seen then
  local back = seen - now
  next_at, held, settled = next_at - back, held - back, settled - back
end
local function hold(seconds)
  held = math.max(held, now + seconds)
  next_at = held + tolerance
  era = math.max(era + 1, now)
end
"""

_KEEP = """
redis.call('HSET', KEYS[1], 'next', whole(next_at), 'held', whole(held), 'settled', whole(settled),
           'era', whole(era), 'seen', whole(now))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""

# The generic cell rate algorithm. Told of a penalty that is not known here, since the state was lost or Redis was away
# when it fell, it holds everybody back as then; less than a second of difference is only the way here.
_TAKE_SLOT = f"""
{_READ}
local interval, slow_interval, patience = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local known_hold, settling = tonumber(ARGV[6]), tonumber(ARGV[7])
if known_hold > 0 and now + known_hold > held + 1000000 then hold(known_hold) end
if settling > 0 then
  settled = math.max(settled, now + settling)
  next_at = math.max(next_at, now + tolerance)
end
local wait = math.max(0, next_at - tolerance - now)
local is_taken = wait <= patience
if is_taken then
  if now < settled then interval = slow_interval end
  next_at = math.max(next_at, now) + interval
end
{_KEEP}
return {{is_taken and 1 or 0, math.ceil(wait), era, math.ceil(math.max(0, held - now))}}
"""

_HOLD_BACK = f"""
{_READ}
hold(tonumber(ARGV[3]))
{_KEEP}
return {{era}}
"""

_READ_ERA = """
return {tonumber(redis.call('HGET', KEYS[1], 'era') or 0)}
"""


class RedisLimiter:
    """
    A limiter whose state is in Redis, so that the processes of many machines share the publisher's limit.

    Slots are handed out in the order in which Redis is asked. Whoever has waited for a slot asks once more whether it
    still holds: a penalty that any process was given meanwhile voids it, and so does lost state.

    Args:
        share_away: The share of the rate that processes may use elsewhere while they are without Redis.
    """

    def __init__(self, state: SharedState, *, upstream_url: str, pace: Pace, share_away: float = 0.0) -> None:
        self._state = state
        self._key = upstream_key("pace", upstream_url)
        self._pace = pace
        self._slow_interval_s = pace.interval_s / max(_LEAST_SETTLING_SHARE, 1 - share_away)
        self._clock = SystemClock()
        self._held_until = -math.inf
        self._was_away = False

    async def acquire(self, *, patience_s: float = math.inf) -> float:
        """
        Wait for the next slot; the promises are those of `Limiter`.

        Raises:
            SourceUnavailable: The next slot is further off than `patience_s`.
            SharedStateAway: Redis is away; no slot was taken.
        """
        waited_s = 0.0
        while True:
            wait_s, era = await self._take_slot(patience_s - waited_s)
            if wait_s == 0:
                return waited_s
            await self._clock.sleep(wait_s)
            waited_s += wait_s
            if await self._run(_READ_ERA) == [era]:
                return waited_s

    async def penalise(self, seconds: float) -> None:
        """
        Hand out no slot for so many seconds, to any process.

        Raises:
            SharedStateAway: Redis is away; it is told when it is back, by the next one who asks for a slot.
        """
        seconds = min(seconds, LONGEST_PENALTY_S)
        self._held_until = max(self._held_until, time.monotonic() + seconds)
        await self._run(_HOLD_BACK, _us(self._pace.tolerance_s), _KEPT_MS, _us(seconds))

    async def _take_slot(self, patience_s: float) -> tuple[float, int]:
        is_taken, wait_us, era, held_us = await self._run(
            _TAKE_SLOT,
            _us(self._pace.tolerance_s),
            _KEPT_MS,
            _us(self._pace.interval_s),
            _us(self._slow_interval_s),
            _us(patience_s),
            _us(self._held_until - time.monotonic()),
            _us(SETTLING_S) if self._was_away else 0,
        )
        self._was_away = False
        if held_us:
            self._held_until = max(self._held_until, time.monotonic() + held_us / _MICROSECONDS)
        if not is_taken:
            raise refuse_to_wait(wait_us / _MICROSECONDS)
        return wait_us / _MICROSECONDS, era

    async def _run(self, script: str, *arguments: int) -> list[int]:
        try:
            return await self._state.run(script, self._key, *arguments)
        except SharedStateAway:
            self._was_away = True
            raise


class FallbackLimiter:
    """
    A limiter in Redis, and another one for as long as Redis is away.

    Args:
        primary: The one in Redis.
        fallback: The other one, at a safe share of the rate.
        rate_per_second: The rate of the other one, for the log.
    """

    def __init__(self, primary: RedisLimiter, fallback: Limiter, *, rate_per_second: float) -> None:
        self._primary = primary
        self._fallback = fallback
        self._rate_per_second = rate_per_second
        self._has_fallen_back = False

    async def acquire(self, *, patience_s: float = math.inf) -> float:
        """
        Wait for the next slot of whichever is used; the promises are those of `Limiter`.

        A slot that was being waited for when Redis went away is taken anew.
        """
        began = time.monotonic()
        try:
            waited_s = await self._primary.acquire(patience_s=patience_s)
        except SharedStateAway as away:
            self._note_away(away)
        except SourceUnavailable:
            self._note_back()
            raise
        else:
            self._note_back()
            return waited_s
        spent_s = time.monotonic() - began
        return spent_s + await self._fallback.acquire(patience_s=max(0.0, patience_s - spent_s))

    async def penalise(self, seconds: float) -> None:
        """
        Hand out no slot for so many seconds, from either.
        """
        try:
            await self._primary.penalise(seconds)
        except SharedStateAway as away:
            self._note_away(away)
            await self._fallback.penalise(seconds)
            return
        self._note_back()
        # The one in use knows; that the other is away as well is found out when it is needed.
        with contextlib.suppress(StoreError):
            await self._fallback.penalise(seconds)

    def _note_away(self, away: SharedStateAway) -> None:
        if not self._has_fallen_back:
            _log.warning(Event.LIMITER_FELL_BACK, fault=away.fault, rate_per_second=round(self._rate_per_second, 3))
        self._has_fallen_back = True

    def _note_back(self) -> None:
        if self._has_fallen_back:
            _log.warning(Event.LIMITER_BACK)
        self._has_fallen_back = False


def _us(seconds: float) -> int:
    return math.ceil(max(0.0, min(seconds, _ENDLESS_S)) * _MICROSECONDS)
