"""
The publisher's API: what it lists, and what it holds for one force and month.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import TracebackType

import structlog

from stopsearch.domain.errors import BadMonth, MonthNotPublished, SourceShapeChanged, SourceUnavailable
from stopsearch.domain.months import Month
from stopsearch.domain.published import Availability, PublishedMonth
from stopsearch.domain.states import Shape, Source
from stopsearch.settings import Settings
from stopsearch.source.answers import check_is_list, error_of, read_listed_forces, read_listed_months
from stopsearch.source.breaker import Breaker, ProcessBreaker, Verdict
from stopsearch.source.clock import Clock, SystemClock
from stopsearch.source.http import Answer, HttpClient
from stopsearch.source.limiter import UNSTATED_PENALTY_S, Limiter
from stopsearch.source.retry import RetryPolicy, read_retry_after, with_retries
from stopsearch.telemetry.events import Event

_log = structlog.get_logger(__name__)

# Queueing for a slot among others is always worth this much, however little of the retry time is left: only a
# penalty is longer.
_LEAST_PATIENCE_S = 10.0


@dataclass(kw_only=True, slots=True)
class Traffic:
    """
    What has gone over the wire, tries counted one by one.
    """

    requests: int = 0
    retries: int = 0
    throttled: int = 0  # answers with status 429
    body_bytes: int = 0  # of whole answers, as decoded
    wire_bytes: int = 0  # of whole answers, as sent


class PoliceApi:
    """
    Asks the publisher, within its limit, again where that may help, and not at all while it is down.

    Use it as an async context manager; many calls may run at once.
    """

    def __init__(
        self,
        http: HttpClient,
        *,
        limiter: Limiter,
        breaker: Breaker,
        policy: RetryPolicy,
        requests_in_flight: int = 8,
        clock: Clock | None = None,
    ) -> None:
        self._http = http
        self._limiter = limiter
        self._breaker = breaker
        self._policy = policy
        self._in_flight = asyncio.Semaphore(requests_in_flight)
        self._clock = clock or SystemClock()
        self._traffic = Traffic()

    @classmethod
    def from_settings(
        cls, settings: Settings, *, limiter: Limiter, breaker: Breaker | None = None, clock: Clock | None = None
    ) -> PoliceApi:
        """
        Set it up as the settings say, on a limiter that all who ask share.

        Raises:
            ConfigError: The contact or a proxy setting can't be used.
        """
        return cls(
            HttpClient(
                settings.upstream_url,
                contact=settings.contact,
                connections=settings.requests_in_flight,
                timeout_s=settings.request_timeout_s,
            ),
            limiter=limiter,
            breaker=breaker
            or ProcessBreaker(failures=settings.breaker_failures, pause_s=settings.breaker_pause_s, clock=clock),
            policy=RetryPolicy(attempts=settings.retry_attempts, time_s=settings.retry_time_s),
            requests_in_flight=settings.requests_in_flight,
            clock=clock,
        )

    async def __aenter__(self) -> PoliceApi:
        """
        Open nothing yet: connections are made when first needed.
        """
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """
        Close the connections.
        """
        await self._http.__aexit__(kind, error, trace)

    @property
    def traffic(self) -> Traffic:
        """
        Give the counts so far, as a copy.
        """
        return replace(self._traffic)

    @property
    def pause_left_s(self) -> float:
        """
        Give the seconds for which the publisher is still left alone; 0 while it is asked.
        """
        return self._breaker.pause_left_s

    async def availability(self) -> Availability:
        """
        Fetch what the publisher lists: publication, not completeness.

        Raises:
            SourceUnavailable: No usable answer, after all tries.
            UpstreamDown: The publisher is being left alone.
            SourceShapeChanged: The list has another shape than it had, or lists no month at all.
        """
        answer = await self._ask("/crimes-street-dates", {})
        entries = read_listed_months(answer)
        if not any(entry.forces is not None for entry in entries):
            raise SourceShapeChanged(
                f"{answer.address} lists no month with stops.",
                remedy="Nothing can be called due from that; look at the address by hand.",
            )
        listed: dict[Month, frozenset[str]] = {}
        for entry in entries:
            try:
                month = Month.parse(entry.date)
            except BadMonth as error:
                raise SourceShapeChanged(f"{answer.address} lists a month that is none. {error}") from error
            forces = frozenset(force for force in entry.forces or () if force)
            listed[month] = listed.get(month, frozenset()) | forces
        return Availability(listed=listed)

    async def forces(self) -> dict[str, str]:
        """
        Fetch the names of forces by id. British Transport Police is not among them, though it publishes; a force
        that is listed without a name is left out.

        Raises:
            SourceUnavailable: No usable answer, after all tries.
            UpstreamDown: The publisher is being left alone.
            SourceShapeChanged: The list has another shape than it had.
        """
        answer = await self._ask("/forces", {})
        return {force.id: force.name for force in read_listed_forces(answer) if force.id and force.name}

    async def fetch_month(
        self, force: str, month: Month, *, window: tuple[Month, Month] | None = None
    ) -> PublishedMonth:
        """
        Fetch every stop of one force and month, those without a location included.

        An empty list is handed on as it is: unknown force, nothing published and not published yet all look so,
        and only availability tells them apart.

        Args:
            force: The publisher's id.
            month: The published month.
            window: The first and last month that the publisher serves, both included. Outside it nothing is asked:
                before it the publisher answers 502 for ever, after it with an empty list (probed 2026-10-01).

        Raises:
            MonthNotPublished: The month lies outside the window, or the publisher does not know it.
            SourceUnavailable: No usable answer, after all tries.
            UpstreamDown: The publisher is being left alone.
            SourceShapeChanged: The body is larger than any month can be.
        """
        if window is not None and not window[0] <= month <= window[1]:
            raise MonthNotPublished(
                f"{month} lies outside the months that the publisher serves, {window[0]} to {window[1]}.",
                remedy="Older months are in its archives: `stopsearch ingest --source archive PATH`.",
            )
        try:
            # Always both: with no date, or one misspelled, the publisher gives its newest month.
            answer = await self._ask("/stops-force", {"force": force, "date": str(month)})
        except SourceUnavailable as error:
            if error.status == 404:
                raise MonthNotPublished(f"The publisher knows nothing of {force} in {month}.") from error
            raise
        now = self._clock.utc_now()
        return PublishedMonth(
            force=force,
            month=month,
            shape=Shape.JSON,
            source=Source.API,
            origin=answer.address,
            body=answer.body,
            fetched_at=now,
            published_at=now,
        )

    async def _ask(self, path: str, params: Mapping[str, str]) -> Answer:
        def note_retry(error: SourceUnavailable, attempt: int, wait_s: float) -> None:
            self._traffic.retries += 1
            _log.warning(
                Event.REQUEST_RETRIED, path=path, attempt=attempt, wait_s=round(wait_s, 3), reason=error.message
            )

        async def ask_once(patience_s: float) -> Answer:
            return await self._ask_once(path, params, patience_s)

        return await with_retries(ask_once, policy=self._policy, clock=self._clock, on_retry=note_retry)

    async def _ask_once(self, path: str, params: Mapping[str, str], patience_s: float) -> Answer:
        self._breaker.check()
        async with self._in_flight:
            self._breaker.check()
            await self._limiter.acquire(patience_s=max(patience_s, _LEAST_PATIENCE_S))
            permit = await self._breaker.enter(" ".join((path, *params.values())))
            verdict = Verdict.UNKNOWN
            try:
                self._traffic.requests += 1
                answer = await self._http.get(path, params)
                await self._refuse_unusable(answer)
                verdict = Verdict.UP
            except SourceUnavailable as error:
                verdict = _verdict_on(error)
                raise
            finally:
                await self._breaker.leave(permit, verdict)
        self._traffic.body_bytes += len(answer.body)
        self._traffic.wire_bytes += answer.wire_bytes
        return answer

    async def _refuse_unusable(self, answer: Answer) -> None:
        if answer.status == 200:
            check_is_list(answer)
            return
        retry_after_s = read_retry_after(answer.retry_after, self._clock.utc_now())
        if answer.status == 429:
            self._traffic.throttled += 1
            await self._limiter.penalise(UNSTATED_PENALTY_S if retry_after_s is None else retry_after_s)
        raise error_of(answer, retry_after_s)


def _verdict_on(error: SourceUnavailable) -> Verdict:
    if error.status is None or error.status >= 500:
        return Verdict.DOWN
    # What throttles may stand before the publisher, and answer while it is down.
    return Verdict.UNKNOWN if error.status == 429 else Verdict.UP
