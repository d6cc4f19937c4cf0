"""
What a person wants to know of the database at a glance.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

from stopsearch.domain.months import Month
from stopsearch.domain.states import Cause, MonthFlag, MonthState
from stopsearch.store.as_of import one_snapshot, snapshot_id
from stopsearch.store.database import Database
from stopsearch.store.known_months import KnownMonth, known_months
from stopsearch.store.migrate import require_schema, schema_revision
from stopsearch.store.releases import last_listing
from stopsearch.store.status import (
    BatchFigures,
    CallBudgetFigures,
    call_budgets,
    database_bytes,
    last_batch,
    open_letters,
    open_letters_by_rule,
    revisions_by_cause,
    running_batches,
    stop_figures,
)

RECENT = timedelta(days=30)


@dataclass(frozen=True, kw_only=True)
class NewestMonth:
    """
    The newest month of which anything is held, and how many forces are. Others may come late: it is not the end.
    """

    month: Month
    forces: int


@dataclass(frozen=True, kw_only=True)
class Status:
    """
    The state of the whole database.
    """

    database: str
    database_bytes: int
    schema: str | None  # the migration that it is at
    stops_current: int
    stops_total: int  # with those that were withdrawn, kept for history
    snapshot: str  # the id that cites what is served now
    force_months: dict[MonthState, int]  # by state, every state among them
    flags: dict[MonthFlag, int]  # force-months by flag, every flag among them
    newest: NewestMonth | None
    listed_at: datetime | None  # when the publisher's list was last seen; None: never
    last_batch: BatchFigures | None
    running: list[BatchFigures]  # batches without an end; those that are not alive were cut short
    open_letters: int
    open_letters_by_rule: dict[str, int]
    revisions_by_cause: dict[Cause, int]  # of the last 30 days
    call_budgets: list[CallBudgetFigures]


def status(database: Database) -> Status:
    """
    Give the state of the database, from one consistent state of it.

    Raises:
        SchemaOutOfDate: The database has no schema, or another than this code needs.
    """
    require_schema(database.engine)
    with database.connect(autocommit=True) as connection, one_snapshot(connection):
        known = known_months(connection)
        listing = last_listing(connection)
        stops = stop_figures(connection)
        return Status(
            database=database.place,
            database_bytes=database_bytes(connection),
            schema=schema_revision(database.engine),
            stops_current=stops.current,
            stops_total=stops.total,
            snapshot=snapshot_id(connection),
            force_months=_by_state(known),
            flags=_by_flag(known),
            newest=_newest(known),
            listed_at=listing[1] if listing else None,
            last_batch=last_batch(connection),
            running=running_batches(connection),
            open_letters=open_letters(connection),
            open_letters_by_rule=open_letters_by_rule(connection),
            revisions_by_cause=revisions_by_cause(connection, within=RECENT),
            call_budgets=call_budgets(connection),
        )


def _by_state(known: list[KnownMonth]) -> dict[MonthState, int]:
    counts = Counter(month.state for month in known)
    return {state: counts[state] for state in MonthState}


def _by_flag(known: list[KnownMonth]) -> dict[MonthFlag, int]:
    counts = Counter(flag for month in known for flag in month.flags)
    return {flag: counts[flag] for flag in MonthFlag}


def _newest(known: list[KnownMonth]) -> NewestMonth | None:
    held = [month.month for month in known if month.state is MonthState.HELD]
    return NewestMonth(month=max(held), forces=held.count(max(held))) if held else None
