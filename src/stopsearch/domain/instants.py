"""
Instants and dates as people write them, and which instant each stands for.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from stopsearch.domain.errors import RequestError

LOCAL_ZONE = ZoneInfo("Europe/London")

_FIRST_YEAR, _LAST_YEAR = 1900, 2999

_REMEDY = "Write an instant with its zone, 2026-03-31T12:00:00Z, or a date, 2026-03-31."


def read_instant(text: str, *, name: str, now: datetime) -> datetime:
    """
    Read an instant, or a date, of which the end counts: the last microsecond of it in UTC, or now if it is not over.

    Args:
        name: What it was given as, for the message.

    Raises:
        RequestError: It is neither, or an instant without its zone.
    """
    if (day := _date(text, name)) is not None:
        start = datetime.combine(day, time.min, tzinfo=UTC)
        return min(datetime.combine(day, time.max, tzinfo=UTC), max(now, start))
    return _instant(text, name)


def read_local(text: str, *, name: str) -> datetime:
    """
    Read an instant, or a date, which stands for its local midnight (Europe/London): the day's beginning.

    Raises:
        RequestError: It is neither, or an instant without its zone.
    """
    if (day := _date(text, name)) is not None:
        return datetime.combine(day, time.min, tzinfo=LOCAL_ZONE).astimezone(UTC)
    return _instant(text, name)


def _date(text: str, name: str) -> date | None:
    if len(text) != 10:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    if not _FIRST_YEAR <= day.year <= _LAST_YEAR:
        raise _no_instant(text, name)
    return day


def _instant(text: str, name: str) -> datetime:
    # In a query, an unescaped + of an offset arrives as a space.
    if len(text) > 19 and text[-6] == " ":
        text = f"{text[:-6]}+{text[-5:]}"
    try:
        if not (text.isascii() and text.isprintable()):  # anything may stand between date and time, as Python reads it
            raise ValueError(text)
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is None:
            raise RequestError(f"{name} '{text}' has no time zone.", remedy=_REMEDY)
        # Offsets beyond the calendar's ends can't be told in UTC, nor years that the database does not know.
        in_utc = instant.astimezone(UTC)
        if in_utc.utcoffset() != timedelta(0) or not _FIRST_YEAR <= in_utc.year <= _LAST_YEAR:
            raise ValueError(text)
    except (ValueError, OverflowError):
        raise _no_instant(text, name) from None
    return in_utc


def _no_instant(text: str, name: str) -> RequestError:
    return RequestError(f"{name} '{text[:40]}' is no instant.", remedy=_REMEDY)
