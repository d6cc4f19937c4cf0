"""
What may be said of an unexpected error, in a log, in the ledger or to a person: never a value out of anybody's record.
"""

from __future__ import annotations

import os
import traceback
from pathlib import Path

import psycopg

from stopsearch.domain.errors import StopSearchError

_PACKAGE = Path(__file__).parents[1]


def describe_fault(error: BaseException) -> str:
    """
    Say what went wrong and where, without a value that the error may carry.

    Of the database's errors: type, code, message and constraint; never its detail or context, which quote whole rows,
    nor the message of a data exception, which quotes the value. Of other errors: type and place in our code alone, as
    their text is anybody's (Polars quotes values). Our own errors are written for people, and are given as they are.
    """
    if isinstance(error, StopSearchError):
        return str(error)
    if isinstance(error, BaseExceptionGroup):
        return f"{type(error).__name__} of {'; '.join(describe_fault(part) for part in error.exceptions)}"
    place = _place(error)
    return f"{_name(error)} at {place}" if place else _name(error)


def format_frames(error: BaseException) -> str:
    """
    Give an error's traceback, and those of the errors that led to it, with what may be said of each and no more.
    """
    parts: list[str] = []
    seen: set[int] = set()
    here: BaseException | None = error
    while here is not None and id(here) not in seen:
        seen.add(id(here))
        frames = "".join(traceback.format_list(traceback.extract_tb(here.__traceback__)))
        parts.append(f"Traceback (most recent call last):\n{frames}{_name(here)}\n")
        if isinstance(here, BaseExceptionGroup):
            parts.extend(format_frames(part) for part in here.exceptions)
        here = here.__cause__ or (None if here.__suppress_context__ else here.__context__)
    return "\n".join(reversed(parts))


def _name(error: BaseException) -> str:
    known = database_error(error)
    if known is not None:
        return _name_database_error(known)
    name = type(error).__name__
    if isinstance(error, OSError) and error.errno is not None:
        return f"{name} ({os.strerror(error.errno)})"
    return name


def database_error(error: BaseException) -> psycopg.Error | None:
    """
    Give the driver's error: the error itself, or the one that SQLAlchemy wrapped.
    """
    known = getattr(error, "orig", error)
    return known if isinstance(known, psycopg.Error) else None


def _name_database_error(error: psycopg.Error) -> str:
    if error.sqlstate is None and isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        # Said by libpq, of the connection: the server, which alone quotes rows, had no part in it.
        return " ".join(str(error).split()).rstrip(".") or type(error).__name__
    said = [error.sqlstate or ""]
    if error.sqlstate and not error.sqlstate.startswith("22"):
        said.append(error.diag.message_primary or "")
    if error.diag.constraint_name:
        said.append(f"constraint {error.diag.constraint_name}")
    words = ", ".join(part for part in said if part)
    return f"{type(error).__name__} ({words})" if words else type(error).__name__


def _place(error: BaseException) -> str:
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_relative_to(_PACKAGE):
            return f"{path.relative_to(_PACKAGE.parent).as_posix()}:{frame.lineno}"
    return ""
