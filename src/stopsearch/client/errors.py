"""
Every error that the client raises on purpose.

    ClientError
    ├── ProblemError      the server answered with a problem: what, why, and what to do
    ├── Unreachable       there was no answer: not reached, or broken off
    │   └── ClientTimeout     it took too long
    ├── BrokenAnswer      the answer is not what it says it is: not JSON, not whole, another snapshot, a wrong digest
    └── BadArgument       what was asked for can't be sent: a naive datetime, say; also a ValueError
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class ClientError(Exception):
    """
    Base of all errors of the client.
    """


@dataclass(frozen=True, kw_only=True)
class Fault:
    """
    One parameter, or one field of a body, that can't be meant.
    """

    parameter: str
    value: str
    reason: str


class ProblemError(ClientError):
    """
    The server answered with a problem, as RFC 9457 has them.

    Attributes:
        status: The status of the answer.
        type: The kind of trouble, as a relative address: `/problems/bad_query`. `about:blank` if whatever answered
            was not the server itself, a proxy, say.
        title: What this status means.
        detail: What is wrong with this very request.
        remedy: What to do about it; empty where nothing was said.
        errors: Each parameter or field at fault.
        retry_after_s: Seconds after which the server asks to be asked again; None: it said nothing.
    """

    def __init__(
        self,
        *,
        status: int,
        type: str = "about:blank",
        title: str = "",
        detail: str = "",
        remedy: str = "",
        errors: tuple[Fault, ...] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(f"{status} {title}: {detail} {remedy}".strip())
        self.status = status
        self.type = type
        self.title = title
        self.detail = detail
        self.remedy = remedy
        self.errors = errors
        self.retry_after_s = retry_after_s

    @property
    def kind(self) -> str:
        """
        Give the last part of the type: `bad_query`.
        """
        return self.type.rpartition("/")[2]


class Unreachable(ClientError):
    """
    There was no whole answer: the server was not reached, or the answer broke off. Asking again may help.
    """


class ClientTimeout(Unreachable):
    """
    Connecting, or the next piece of the answer, took longer than the client's timeout.
    """


class BrokenAnswer(ClientError):
    """
    The answer is not what it says it is, so that nothing of it can be trusted.
    """


class BadArgument(ClientError, ValueError):
    """
    What was asked for can't be sent.
    """


def problem_of(status: int, body: Any, headers: Mapping[str, str], retry_after_s: float | None) -> ProblemError:
    """
    Read a problem from an answer's body.

    Args:
        body: The body as JSON; None where it was none.
    """
    told = body if isinstance(body, dict) else {}
    faults = told.get("errors")
    return ProblemError(
        status=status,
        type=_text(told.get("type")) or "about:blank",
        title=_text(told.get("title")) or "no answer of stopsearch's",
        detail=_text(told.get("detail")) or f"It came as {headers.get('content-type', 'nothing')}.",
        remedy=_text(told.get("remedy")),
        errors=tuple(
            Fault(
                parameter=_text(fault.get("parameter")),
                value=_text(fault.get("value")),
                reason=_text(fault.get("reason")),
            )
            for fault in (faults if isinstance(faults, list) else ())
            if isinstance(fault, dict)
        ),
        retry_after_s=retry_after_s,
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
