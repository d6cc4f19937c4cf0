"""
Instants and dates as people write them, and which instant each stands for.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from stopsearch.domain.errors import RequestError

LOCAL_ZONE = ZoneInfo("Europe/London")

_REMEDY = "Write an instant with its zone, 2026-03-31T12:00:00Z, or a date, 2026-03-31."


def read_instant(text: str, *, name: str, now: datetime) -> datetime:
    """
    Read an instant, or a date, of which the end counts: the last microsecond of it in UTC, or now if it is not over.

    Args:
        name: What it was given as, for the message.

    Raises:
        RequestError: It is neither, or an instant without its zone.
    """
    if (day := _date(text)) is not None:
        start = datetime.combine(day, time.min, tzinfo=UTC)
        return min(datetime.combine(day, time.max, tzinfo=UTC), max(now, start))
    return _instant(text, name)


def read_local(text: str, *, name: str) -> datetime:
    """
    Read an instant, or a date, which stands for its local midnight (Europe/London): the day's beginning.

    Raises:
        RequestError: It is neither, or an instant without its zone.
    """
    if (day := _date(text)) is not None:
        return datetime.combine(day, time.min, tzinfo=LOCAL_ZONE).astimezone(UTC)
    return _instant(text, name)


def _date(text: str) -> date | None:
    if len(text) != 10:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _instant(text: str, name: str) -> datetime:
    # In a query, an unescaped + of an offset arrives as a space.
    if len(text) > 19 and text[-6] == " ":
        text = f"{text[:-6]}+{text[-5:]}"
    try:
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is None:
            raise RequestError(f"{name} '{text}' has no time zone.", remedy=_REMEDY)
        # Offsets beyond the calendar's ends can't be told in UTC, nor years that the database does not know.
        in_utc = instant.astimezone(UTC)
        if in_utc.utcoffset() != timedelta(0) or not 1900 <= in_utc.year <= 2999:
            raise ValueError(text)
    except (ValueError, OverflowError):
        raise RequestError(f"{name} '{text[:40]}' is no instant.", remedy=_REMEDY) from None
    return in_utc
