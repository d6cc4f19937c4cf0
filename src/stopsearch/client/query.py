"""
What can be asked for, by the server's names, and how it is written into an address.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, TypedDict

from stopsearch.client.errors import BadArgument

Month = str | date  # "2020-02", or a day in it
Instant = str | date  # "2020-02-01T00:00:00Z", a datetime with its zone, or a date
Words = str | Iterable[str]
Pairs = list[tuple[str, str]]


class Moment(TypedDict, total=False):
    """
    Of which state the answer is: an instant, or a snapshot by its id. Left out, that of the client, or of now.
    """

    as_of: Instant | None
    snapshot: str | None


class Months(Moment, total=False):
    """
    Which force-months are asked for: forces by their ids, and the first and the last month, both included.
    """

    force: Words | None
    from_: Month | None
    to: Month | None


class Filters(Months, total=False):
    """
    Which stops are asked for, by the parameters that `/docs` of the server describes.

    Every part that is given must hold; within one part, any of its values may. Labels are the publisher's words, as
    `vocabulary()` lists them; the word "none" is for stops that don't say. None, as a value, leaves a part out.
    """

    datetime_from: Instant | None
    datetime_before: Instant | None
    type: Words | None
    gender: Words | None
    age_range: Words | None
    self_defined_ethnicity: Words | None
    self_defined_ethnic_group: Words | None
    officer_defined_ethnicity: Words | None
    officer_defined_ethnic_group: Words | None
    legislation: Words | None
    object_of_search: Words | None
    outcome: Words | None
    outcome_group: Words | None
    operation: bool | str | None
    outcome_linked_to_object_of_search: bool | str | None
    removal_of_more_than_outer_clothing: bool | str | None
    operation_name: str | None
    located: bool | None
    bbox: str | tuple[float, float, float, float] | None  # west, south, east, north
    near: str | tuple[float, float] | None  # latitude, longitude
    radius_m: float | None
    date_only: bool | None
    doubled: bool | None
    far_from_force: bool | None
    revision_state: str | None


# Their values are one text with commas; those of others are repeated.
_JOINED = frozenset({"bbox", "near", "by", "fields"})
_MONTHS = frozenset({"from", "to", "month"})


def pairs_of(parameters: Mapping[str, Any]) -> Pairs:
    """
    Write parameters as the names and values of a query, in the order in which they were given.

    Raises:
        BadArgument: A datetime has no zone, or a value is of a kind that no parameter takes.
    """
    pairs: Pairs = []
    for given, value in parameters.items():
        name = "from" if given == "from_" else given
        if value is None:
            continue
        if isinstance(value, str | bool | int | float | date):
            pairs.append((name, _written(name, value)))
        elif isinstance(value, Iterable):
            words = [_written(name, part) for part in value]
            if not words:
                # An empty list would be sent as no filter at all, which asks for everything.
                raise BadArgument(f"{given} holds nothing. Leave it out to ask for all.")
            pairs += [(name, ",".join(words))] if name in _JOINED else [(name, word) for word in words]
        else:
            raise BadArgument(f"{given} can't be a {type(value).__name__}.")
    return pairs


def _written(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        # Never with an exponent, which the server does not read.
        return format(Decimal(repr(value)), "f")
    if isinstance(value, datetime) and value.utcoffset() is None:
        raise BadArgument(
            f"{name} {value.isoformat()} has no time zone. Say which is meant: "
            "datetime(…, tzinfo=ZoneInfo('Europe/London')), or UTC."
        )
    if isinstance(value, date):
        return f"{value:%Y-%m}" if name in _MONTHS else value.isoformat()
    raise BadArgument(f"{name} can't hold a {type(value).__name__}; leave a part out, or give the word 'none'.")
