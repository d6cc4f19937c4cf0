"""
Values of query parameters: each is read from its text, or refused with the reason.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Collection
from typing import Any

from pydantic import BeforeValidator

from stopsearch.domain.filters import NOT_GIVEN, Box

# Control characters and lone surrogates, which no text of the publisher's holds.
UNFIT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")

_NUMBER = re.compile(r"[+-]?\d{1,9}(?:\.\d{1,12})?", re.ASCII)

Read = Callable[[str], Any]

_MOST_SHOWN = 80


def read_text(value: str) -> str:
    """
    Read a text of up to 200 characters.
    """
    if not value or len(value) > 200 or UNFIT.search(value):
        raise ValueError("it must be 1 to 200 characters without control characters")
    return value


def read_boolean(value: str) -> bool:
    """
    Read true or false.
    """
    if value not in ("true", "false"):
        raise ValueError("it must be true or false")
    return value == "true"


def read_three_valued(value: str) -> bool | None:
    """
    Read true, false, or none, which gives None.
    """
    if value == NOT_GIVEN:
        return None
    if value not in ("true", "false"):
        raise ValueError("it must be true, false or none")
    return value == "true"


def one_of(values: Collection[str]) -> Read:
    """
    Read one of some words.
    """

    def read(value: str) -> str:
        if value not in values:
            alike = [each for each in values if each.casefold() == value.casefold()]
            near = alike or difflib.get_close_matches(value, values, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else f"it must be one of {', '.join(values)}"
            raise ValueError(hint if len(hint) < 600 else "it is none of the labels that /v1/vocabulary lists")
        return value

    return read


def whole_number(least: int, most: int) -> Read:
    """
    Read a whole number within bounds, both included.
    """

    def read(value: str) -> int:
        if not re.fullmatch(r"-?\d{1,18}", value, re.ASCII) or not least <= int(value) <= most:
            raise ValueError(f"it must be a whole number from {least} to {most}")
        return int(value)

    return read


def _plain(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(r"[1-9]\d{0,18}", value, re.ASCII):
        raise ValueError("it must be a whole number over 0, in digits alone")
    return value


# For a number in a path: of its many spellings (1_0, +10, 10.0) one alone, so that a thing has one address.
IN_DIGITS = BeforeValidator(_plain)


def _number(value: str) -> float:
    if not _NUMBER.fullmatch(value):
        raise ValueError("it must be a plain decimal number")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("it must be finite")
    return number


def read_box(value: str) -> Box:
    """
    Read a box: west,south,east,north in degrees.
    """
    parts = value.split(",")
    if len(parts) != 4:
        raise ValueError("it must be west,south,east,north in degrees")
    west, south, east, north = map(_number, parts)
    if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
        raise ValueError("it must be west,south,east,north in degrees, west before east and south before north")
    return Box(west=west, south=south, east=east, north=north)


def read_point(value: str) -> tuple[float, float]:
    """
    Read a point, latitude,longitude in degrees, as these two.
    """
    parts = value.split(",")
    if len(parts) != 2:
        raise ValueError("it must be latitude,longitude in degrees")
    latitude, longitude = map(_number, parts)
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        raise ValueError("it must be latitude,longitude in degrees")
    return latitude, longitude


def read_radius(value: str) -> float:
    """
    Read a distance in metres.
    """
    radius = _number(value)
    if not 0 < radius <= 100_000:
        raise ValueError("it must be metres, over 0 and up to 100000")
    return radius


def read_snapshot_id(value: str) -> str:
    """
    Read a snapshot's id, or the first digits of one.
    """
    if not re.fullmatch(r"[0-9a-f]{12,64}", value, re.ASCII):
        raise ValueError("it must be a snapshot's id: 64 hexadecimal digits, or the first 12 at least")
    return value


def shown(text: str) -> str:
    """
    Give a value as a message may repeat it: without control characters, and cut short.
    """
    clean = UNFIT.sub("\N{REPLACEMENT CHARACTER}", text)
    return clean if len(clean) <= _MOST_SHOWN else f"{clean[:_MOST_SHOWN]}…"
