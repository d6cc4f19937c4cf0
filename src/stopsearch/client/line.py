"""
The line to one server: what goes with every request, and how long it is asked again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from stopsearch.client.errors import BrokenAnswer, ClientError, ProblemError, Unreachable, problem_of
from stopsearch.client.query import Pairs
from stopsearch.client.transport import Reply, Request, Transport

_FIRST_PAUSE_S = 0.5
_MAX_PAUSE_S = 8.0


@dataclass(frozen=True, kw_only=True)
class Patience:
    """
    How long a request that may yet be answered is tried.
    """

    tries: int  # the first included
    wait_s: float  # seconds waited between the tries of one request, all together


@dataclass(frozen=True, kw_only=True)
class Line:
    """
    How one server is asked.
    """

    transport: Transport
    patience: Patience
    token: str | None = field(repr=False)
    moment: Pairs  # the state that is asked of, where a question says nothing of it

    async def ask(self, request: Request) -> Any:
        """
        Send a request until it is answered, and give the answer's body, as JSON.

        Raises:
            ProblemError: The server answered with a problem, the last time.
            Unreachable: There was no whole answer, the last time.
            BrokenAnswer: The answer is no JSON.
        """
        tries = Tries(self)
        while True:
            try:
                reply = await self.open(request)
                try:
                    return msgspec.json.decode(await reply.read())
                finally:
                    await reply.close()
            except (ProblemError, Unreachable) as error:
                await tries.pause(error, request)
            except msgspec.DecodeError as error:
                raise BrokenAnswer(
                    f"{request.path}: the answer is no JSON ({error}). Is this a stopsearch server?"
                ) from None

    async def open(self, request: Request) -> Reply:
        """
        Send a request once, and give the answer, of whatever good status; it must be closed.

        Raises:
            ProblemError: The server answered with a problem.
            Unreachable: There was no answer.
        """
        reply = await self.transport.send(request)
        if 200 <= reply.status < 300:
            return reply
        try:
            raise await _problem_in(reply)
        finally:
            await reply.close()

    def authorized(self) -> dict[str, str]:
        """
        Give the header that brings the token, for the requests that need it; nothing where there is none.
        """
        return {"Authorization": f"Bearer {self.token}"} if self.token is not None else {}


class Tries:
    """
    The tries of one request.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self._made = 0
        self._waited_s = 0.0

    async def pause(self, error: ClientError, request: Request) -> None:
        """
        Wait for the time of another try, or raise the error: another is of no use, or there were enough.
        """
        self._made += 1
        patience = self._line.patience
        asked_for = error.retry_after_s if isinstance(error, ProblemError) else None
        pause = asked_for if asked_for is not None else min(_FIRST_PAUSE_S * 2 ** (self._made - 1), _MAX_PAUSE_S)
        if self._made >= patience.tries or self._waited_s + pause > patience.wait_s or not _may_pass(error, request):
            raise error
        self._waited_s += pause
        await self._line.transport.sleep(pause)

    def begin_anew(self) -> None:
        """
        Forget what there was: it has gone on since.
        """
        self._made, self._waited_s = 0, 0.0


def _may_pass(error: ClientError, request: Request) -> bool:
    if isinstance(error, ProblemError):
        # A 429 was sent before anything was done, so that whatever was asked for may be asked for again.
        return error.status == 429 or (error.status == 503 and request.may_be_repeated)
    return isinstance(error, Unreachable) and request.may_be_repeated


async def _problem_in(reply: Reply) -> ProblemError:
    body = None
    if "json" in reply.headers.get("content-type", ""):
        try:
            body = msgspec.json.decode(await reply.read())
        except msgspec.DecodeError:
            body = None
    return problem_of(reply.status, body, reply.headers, _retry_after(reply.headers.get("retry-after")))


def _retry_after(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return max(0.0, float(text)) if text.strip().isdigit() else _seconds_until(parsedate_to_datetime(text))
    except ValueError:
        return None


def _seconds_until(instant: datetime) -> float:
    at = instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())
