"""
What an answer of the publisher's API means: a list, a listing, or an error.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from stopsearch.domain.errors import SourceShapeChanged, SourceUnavailable
from stopsearch.source.http import Answer

T = TypeVar("T")


class ListedMonth(msgspec.Struct):
    """
    One entry of the availability list. Absent forces are none.
    """

    date: str
    forces: list[str | None] | None = msgspec.field(default=None, name="stop-and-search")


class ListedForce(msgspec.Struct):
    """
    One entry of the list of forces.
    """

    id: str
    name: str | None = None


_LISTED_MONTHS = msgspec.json.Decoder(list[ListedMonth])
_LISTED_FORCES = msgspec.json.Decoder(list[ListedForce])
_ANY_LIST = msgspec.json.Decoder(list[msgspec.Raw])


def read_listed_months(answer: Answer) -> list[ListedMonth]:
    """
    Read the availability list.

    Raises:
        SourceShapeChanged: It has another shape than it had.
    """
    return _decode(_LISTED_MONTHS, answer, "the months that are published")


def read_listed_forces(answer: Answer) -> list[ListedForce]:
    """
    Read the list of forces.

    Raises:
        SourceShapeChanged: It has another shape than it had.
    """
    return _decode(_LISTED_FORCES, answer, "the police forces")


def is_empty(body: bytes) -> bool:
    """
    Tell whether a JSON body is a list without any record.
    """
    return len(body) <= 64 and b"".join(body.split()) == b"[]"


def check_is_list(answer: Answer) -> None:
    """
    Check that the body is a whole JSON list.

    Raises:
        SourceUnavailable: It was cut off, or is something else: a page of HTML, an object, nothing.
    """
    # The whole syntax is checked, at about 0.4 ms a megabyte; the records themselves stay unread.
    try:
        _ANY_LIST.decode(answer.body)
    except msgspec.DecodeError as error:
        raise SourceUnavailable(
            f"The answer from {answer.address} is no whole JSON list ({len(answer.body)} bytes: {error})."
        ) from error


def _decode(decoder: msgspec.json.Decoder[T], answer: Answer, what: str) -> T:
    try:
        return decoder.decode(answer.body)
    except msgspec.DecodeError as error:
        raise SourceShapeChanged(
            f"{answer.address} no longer lists {what} as it did: {error}.",
            remedy="The publisher has changed its API; this version of stopsearch can't read it.",
        ) from error


def error_of(answer: Answer, retry_after_s: float | None) -> SourceUnavailable:
    """
    Give the error that an answer with another status than 200 stands for.
    """
    remedy = ""
    said = f"{answer.address} answered {answer.status}."
    if answer.status == 429:
        said = f"The publisher refused {answer.address}: too many requests (429)."
        remedy = "Something else may be asking it from this network; STOPSEARCH_RATE_PER_SECOND can be lowered."
    elif answer.status < 400:
        said = f"{answer.address} answered {answer.status}, pointing to {answer.location or 'nowhere'}."
        remedy = "Redirects are not followed; look at STOPSEARCH_UPSTREAM_URL, and for a login page on the network."
    elif answer.status < 500:
        remedy = "Look at STOPSEARCH_UPSTREAM_URL."
    return SourceUnavailable(said, remedy=remedy, status=answer.status, retry_after_s=retry_after_s)
