"""
Examine an installation: one finding a check, each with what to do about it.
"""

from __future__ import annotations

import asyncio
import difflib
import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from stopsearch.domain.errors import StopSearchError
from stopsearch.domain.months import Month
from stopsearch.flows.call_limits import call_limits
from stopsearch.settings import ENV_PREFIX, Settings, read_settings, unknown_settings
from stopsearch.source.api import PoliceApi
from stopsearch.store.as_of import one_snapshot
from stopsearch.store.database import OLDEST_MAJOR, Database, open_database
from stopsearch.store.integrity import (
    ForceMonth,
    count_months,
    months_that_disagree,
    months_without_body,
    stale_batches,
    vocabulary_differences,
)
from stopsearch.store.migrate import model_differences, newest_revision, schema_revision

OLDEST_PYTHON = (3, 11)
_PACKAGES = ("stopsearch", "polars", "pandera", "psycopg", "sqlalchemy", "alembic", "httpx2")
_LITTLE_SPACE = 1_000_000_000
_NO_SPACE = 100_000_000
_UPSTREAM_PATIENCE_S = 30.0
_MOST_NAMED = 5


class Verdict(StrEnum):
    """
    How one check came out.
    """

    OK = "ok"
    WARN = "warn"  # it works, but should be looked at
    FAIL = "fail"  # something does not work, or a promise is broken


@dataclass(frozen=True, kw_only=True)
class Finding:
    """
    What one check found, and what to do about it; the remedy is empty where all is well.
    """

    check: str
    verdict: Verdict
    message: str
    remedy: str = ""


def doctor(*, read: Callable[[], Settings] = read_settings, ask_upstream: bool = False) -> list[Finding]:
    """
    Examine everything that can be, from the Python that runs this to the laws that the database keeps.

    A check that rests on one that failed is left out. Nothing is written, but that an embedded database is started,
    and made when it is absent.

    Args:
        read: Reads the settings.
        ask_upstream: Whether to ask the publisher what it lists, by one request.
    """
    findings = [_python(), _packages()]
    try:
        settings = read()
    except StopSearchError as error:
        return [*findings, _failed("settings", error)]
    findings.append(_settings())
    if settings.is_embedded:
        findings += [_data_folder(settings.data_dir), _embedded_server()]
    with ExitStack() as stack:
        try:
            database = stack.enter_context(open_database(settings))
            findings += examine_database(database)
        except StopSearchError as error:
            return [*findings, _failed("database", error)]
        if ask_upstream:
            findings.append(asyncio.run(_upstream(database, settings)))
    return findings


def examine_database(database: Database) -> list[Finding]:
    """
    Examine a database that can be reached: its version, its schema, and whether it keeps the laws.

    Raises:
        StoreUnavailable: It does not answer.
    """
    with database.connect(autocommit=True) as connection:
        version = connection.info.server_version
        reached = f"the {database.place} answers, PostgreSQL {version // 10_000}.{version % 10_000}"
        if version < OLDEST_MAJOR * 10_000:
            return [_fail("database", reached, f"Use PostgreSQL {OLDEST_MAJOR} or newer.")]
        findings = [_ok("database", reached)]
        found, needed = schema_revision(database.engine), newest_revision()
        if found != needed:
            what = "there is no schema yet" if found is None else f"the schema is at {found}, not {needed}"
            return [*findings, _fail("schema", what, "Run 'stopsearch db migrate'.")]
        findings.append(_schema(found, model_differences(database.engine)))
        with one_snapshot(connection):
            counted = count_months(connection)
            unknown = [(month.force, month.month) for month in counted if month.unknown_labels]
            broken = [(month.force, month.month) for month in counted if not month.is_conserved]
            return [
                *findings,
                _vocabulary(vocabulary_differences(connection)),
                _months(
                    "labels",
                    unknown,
                    good="every label of every stop is known",
                    bad="have stops with labels that nobody knows",
                    remedy="Newer code has written them: update stopsearch, or run 'stopsearch reprocess'.",
                ),
                _months(
                    "conservation",
                    broken,
                    good=f"{sum(month.stops for month in counted)} stops in {len(counted)} force-months: received = "
                    "stored + rejected, in rows, totals and dead letters alike",
                    bad="do not hold what their revisions say",
                    remedy="Restore the last dump, or run 'stopsearch reprocess'; and report it, for it is a fault.",
                ),
                _months(
                    "revisions",
                    months_that_disagree(connection),
                    good="each held force-month has one current revision",
                    bad="disagree with their revisions on what is current",
                    remedy="Restore the last dump; and report it, for it is a fault.",
                ),
                _months(
                    "bodies",
                    months_without_body(connection),
                    good="what the publisher sent is kept for every revision",
                    bad="have a revision without what the publisher sent",
                    remedy="Restore the last dump, or bring these months in again.",
                ),
                _batches(stale_batches(connection)),
            ]


def _python() -> Finding:
    found = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info < OLDEST_PYTHON:
        return _fail("python", found, f"Use Python {'.'.join(map(str, OLDEST_PYTHON))} or newer.")
    return _ok("python", found)


def _packages() -> Finding:
    found: list[str] = []
    missing: list[str] = []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return _fail("packages", f"not installed: {', '.join(missing)}", "Install stopsearch again, say by 'uv sync'.")
    return _ok("packages", ", ".join(found))


def _settings() -> Finding:
    unknown = unknown_settings()
    if not unknown:
        return _ok("settings", "every setting can be read")
    known = [f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields]
    near = list(dict.fromkeys(match for name in unknown for match in difflib.get_close_matches(name, known, n=1)))
    meant = f"Is {' or '.join(near)} meant? " if near else ""
    return Finding(
        check="settings",
        verdict=Verdict.WARN,
        message=f"no setting has this name, so it changes nothing: {_some(unknown)}",
        remedy=f"{meant}.env.example names every setting.",
    )


def _schema(found: str, different: Sequence[str]) -> Finding:
    if not different:
        return _ok("schema", f"at {found}, the newest, and as this code has it")
    message = f"at {found}, the newest, but {len(different)} parts are not as this code has them: {_some(different)}"
    if all(name.startswith("remove_") for name in different):
        return Finding(
            check="schema",
            verdict=Verdict.WARN,
            message=message,
            remedy="Somebody added them; they do no harm unless they stand in the way of a migration.",
        )
    return _fail("schema", message, "Somebody changed the tables: restore a dump into an empty database.")


def _data_folder(folder: Path) -> Finding:
    place = next(path for path in (folder, *folder.parents) if path.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        return _fail(
            "data folder", f"{place} can't be written", "Set STOPSEARCH_DATA_DIR to a folder that you can write."
        )
    free = shutil.disk_usage(place).free
    message = f"{folder} can be written, {free / 1e9:.1f} GB free"
    if free < _NO_SPACE:
        return _fail("data folder", message, "Make room, or move the data folder: set STOPSEARCH_DATA_DIR.")
    if free < _LITTLE_SPACE:
        return Finding(
            check="data folder",
            verdict=Verdict.WARN,
            message=message,
            remedy="A million stops need about half a gigabyte: make room, or set STOPSEARCH_DATA_DIR.",
        )
    return _ok("data folder", message)


def _embedded_server() -> Finding:
    # Only here: the embedded server exists on Unix alone.
    from stopsearch.store.embedded.binaries import wheel_binaries

    try:
        binaries = wheel_binaries()
    except StopSearchError as error:
        return _failed("embedded server", error)
    return _ok("embedded server", f"PostgreSQL {binaries.version} in {binaries.folder}")


def _vocabulary(different: Sequence[str]) -> Finding:
    if different:
        return _fail(
            "vocabulary",
            f"{len(different)} labels differ from those of this code: {_some(different)}",
            "Run 'stopsearch db migrate'; if that does not help, this code is older than the database.",
        )
    return _ok("vocabulary", "the labels are those of this code")


def _months(check: str, found: Sequence[ForceMonth], *, good: str, bad: str, remedy: str) -> Finding:
    if not found:
        return _ok(check, good)
    named = _some([f"{force} {month}" for force, month in found])
    return _fail(check, f"{len(found)} force-months {bad}: {named}", remedy)


def _batches(stale: Sequence[int]) -> Finding:
    if not stale:
        return _ok("batches", "none was cut short")
    return Finding(
        check="batches",
        verdict=Verdict.WARN,
        message=f"cut short, their process is gone: {_some([f'batch {number}' for number in stale])}",
        remedy="The next 'stopsearch ingest' closes them and goes on where they stopped.",
    )


async def _upstream(database: Database, settings: Settings) -> Finding:
    once = settings.model_copy(
        update={
            "retry_attempts": 1,
            "retry_time_s": _UPSTREAM_PATIENCE_S,
            "request_timeout_s": min(settings.request_timeout_s, _UPSTREAM_PATIENCE_S),
        }
    )
    try:
        # Within everybody's limit, but past everybody's breaker: whether the publisher is up is the question.
        async with (
            call_limits(database, once) as limits,
            PoliceApi.from_settings(once, limiter=limits.limiter) as api,
        ):
            availability = await api.availability()
    except StopSearchError as error:
        return _failed("upstream", error)
    first, last = availability.months[0], availability.months[-1]
    return _ok("upstream", f"{settings.upstream_url} lists {_span(first, last)} of {len(availability.forces)} forces")


def _span(first: Month, last: Month) -> str:
    return f"{first} to {last}"


def _some(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _ok(check: str, message: str) -> Finding:
    return Finding(check=check, verdict=Verdict.OK, message=message)


def _fail(check: str, message: str, remedy: str) -> Finding:
    return Finding(check=check, verdict=Verdict.FAIL, message=message, remedy=remedy)


def _failed(check: str, error: StopSearchError) -> Finding:
    return _fail(check, error.message, error.remedy)
