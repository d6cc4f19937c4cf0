"""
Snapshots: what is or was served, under an id that gives the same answers for ever.

A snapshot is the set of the revisions that are served at an instant. Asked with their numbers, every statement gives
exactly that snapshot, whatever is committed meanwhile: revisions and their rows are never changed or deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.types.json import Jsonb

from stopsearch.domain.errors import UnknownSnapshot
from stopsearch.domain.months import Month, month_range
from stopsearch.domain.states import MonthState
from stopsearch.store.as_of import ServedRevision, one_snapshot, served_revisions, snapshot_of
from stopsearch.store.known_months import months_to_tell
from stopsearch.store.releases import last_listing, listing_at

# An id may be shortened, for people who type: as many hexadecimal digits as never meet another by chance.
SHORTEST_ID = 12


@dataclass(frozen=True, kw_only=True)
class Gap:
    """
    Months in a row, first and last included, in which nothing of one force was held, for one reason.
    """

    force: str
    state: MonthState
    first: Month
    last: Month


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """
    One snapshot: the revisions that it serves, by force and month, and what was not held when it was first kept.
    """

    id: str
    served_from: datetime  # when this set was first served; of the empty one: an instant before anything was
    revisions: tuple[ServedRevision, ...] = field(repr=False)
    forces: tuple[str, ...] = field(repr=False)  # every force that was known, sorted
    months: tuple[Month, Month] | None  # the first and the last month that was known
    listed_at: datetime | None  # when the publisher's list was last seen
    gaps: tuple[Gap, ...] = field(repr=False)
    doubtful: frozenset[tuple[str, Month]] = field(repr=False)

    @property
    def stops(self) -> int:
        """
        Give how many stops it serves.
        """
        return sum(revision.stored for revision in self.revisions)


@dataclass(frozen=True, kw_only=True)
class KeptSnapshot:
    """
    One snapshot as the list of snapshots tells it.
    """

    id: str
    served_from: datetime
    kept_at: datetime
    stops: int
    force_months: int
    first_month: Month | None
    last_month: Month | None


def generation(connection: Connection) -> int:
    """
    Give how often what is served has changed: a snapshot found at one generation is current while it stays.
    """
    row = connection.execute("SELECT generation FROM serving").fetchone()
    return int(row[0]) if row else 0


def current_snapshot(connection: Connection) -> tuple[Snapshot, int]:
    """
    Give what is served now, kept for ever, and the generation that it is current at.

    Args:
        connection: One that may write, in autocommit.
    """
    with one_snapshot(connection) as now:
        at_generation = generation(connection)
        found = _found(connection, served_revisions(connection), instant=now, is_now=True)
    return _keep(connection, found), at_generation


def snapshot_at(connection: Connection, instant: datetime) -> Snapshot:
    """
    Give what was served at an instant, kept for ever.

    Args:
        connection: One that may write, in autocommit.
        instant: With its zone.

    Raises:
        RequestError: It lies in the future, or has no zone.
    """
    with one_snapshot(connection):
        served = served_revisions(connection, as_of=instant)
        # What is served still may be kept here for the first time: the answers of now are told with it, too.
        row = connection.execute("SELECT changed_at IS NULL OR changed_at <= %s FROM serving", [instant]).fetchone()
        found = _found(connection, served, instant=instant, is_now=bool(row and row[0]))
    return _keep(connection, found)


def find_snapshot(connection: Connection, snapshot_id: str) -> Snapshot:
    """
    Give a snapshot that was given out before.

    Args:
        snapshot_id: Its id, or the first digits of it, `SHORTEST_ID` at least.

    Raises:
        UnknownSnapshot: No snapshot has this id, or more than one begins so.
    """
    rows = connection.execute(
        """
        SELECT id, served_from, first_month, last_month, listed_at, forces, gaps, doubtful FROM snapshot
        WHERE id >= %(prefix)s AND id < %(prefix)s || 'g' ORDER BY id LIMIT 2
        """,
        {"prefix": snapshot_id},
    ).fetchall()
    if len(rows) != 1:
        raise UnknownSnapshot(
            f"No snapshot has the id '{snapshot_id}'."
            if not rows
            else f"More than one id begins with '{snapshot_id}'.",
            remedy="'/v1/snapshots' and 'stopsearch snapshots' list them; as_of= asks for an instant.",
        )
    row = rows[0]
    return Snapshot(
        id=row[0],
        served_from=row[1],
        revisions=tuple(served_revisions(connection, as_of=row[1], is_of_ledger=True)),
        forces=tuple(row[5]),
        months=(Month.of(row[2]), Month.of(row[3])) if row[2] else None,
        listed_at=row[4],
        gaps=tuple(
            Gap(
                force=gap["force"],
                state=MonthState(gap["state"]),
                first=Month.parse(gap["from"]),
                last=Month.parse(gap["to"]),
            )
            for gap in row[6]
        ),
        doubtful=frozenset((held["force"], Month.parse(held["month"])) for held in row[7]),
    )


def list_snapshots(connection: Connection, *, limit: int, before: datetime | None = None) -> list[KeptSnapshot]:
    """
    List the snapshots that were given out, the newest first.

    Args:
        before: Only those first served before this instant.
    """
    rows = connection.execute(
        """
        SELECT id, served_from, kept_at, stops, force_months, first_month, last_month FROM snapshot
        WHERE %(before)s::timestamptz IS NULL OR served_from < %(before)s
        ORDER BY served_from DESC, id LIMIT %(limit)s
        """,
        {"before": before, "limit": limit},
    )
    return [
        KeptSnapshot(
            id=row[0],
            served_from=row[1],
            kept_at=row[2],
            stops=row[3],
            force_months=row[4],
            first_month=Month.of(row[5]) if row[5] else None,
            last_month=Month.of(row[6]) if row[6] else None,
        )
        for row in rows
    ]


def keep_current(connection: Connection) -> str:
    """
    Keep what is served now as a snapshot, with what is not held, and give its id.
    """
    return current_snapshot(connection)[0].id


def _found(connection: Connection, revisions: Sequence[ServedRevision], *, instant: datetime, is_now: bool) -> Snapshot:
    """
    Make the snapshot of a set of revisions, with the states of all other force-months at an instant.

    Of now, states are those of the ledger. Of an instant before, a force-month is due where the publisher's list of
    then has it, and else not listed or out of the window: what came of looking at it then is not told.
    """
    listing = last_listing(connection) if is_now else listing_at(connection, instant)
    listed = listing[0].listed if listing else {}
    states: dict[tuple[str, Month], MonthState] = {}
    doubtful: set[tuple[str, Month]] = set()
    for month, forces in listed.items():
        states |= {(force, month): MonthState.DUE for force in forces}
    if is_now:
        for force, of_month, state, is_doubtful in months_to_tell(connection):
            states[force, of_month] = state
            if is_doubtful:
                doubtful.add((force, of_month))
    held = {(revision.force, revision.month) for revision in revisions}
    known_pairs = held | set(states)
    all_forces = tuple(sorted({force for force, _ in known_pairs}))
    months = [month for _, month in known_pairs]
    span = (min(months), max(months)) if months else None
    return Snapshot(
        id=snapshot_of(revisions),
        served_from=max((revision.served_from for revision in revisions), default=instant),
        revisions=tuple(revisions),
        forces=all_forces,
        months=span,
        listed_at=listing[1] if listing else None,
        gaps=tuple(_gaps(all_forces, span, held, states, oldest=min(listed, default=None))),
        doubtful=frozenset(doubtful & held),
    )


def _gaps(
    forces: Sequence[str],
    span: tuple[Month, Month] | None,
    held: set[tuple[str, Month]],
    states: dict[tuple[str, Month], MonthState],
    *,
    oldest: Month | None,
) -> Iterable[Gap]:
    if span is None:
        return
    for force in forces:
        run: Gap | None = None
        for month in month_range(*span):
            state = None if (force, month) in held else states.get((force, month)) or _unknown(month, oldest)
            if run is not None and state is not run.state:
                yield run
                run = None
            if state is not None:
                run = Gap(force=force, state=state, first=run.first if run else month, last=month)
        if run is not None:
            yield run


def _unknown(month: Month, oldest: Month | None) -> MonthState:
    return MonthState.OUT_OF_WINDOW if oldest is not None and month < oldest else MonthState.NOT_LISTED


def _keep(connection: Connection, found: Snapshot) -> Snapshot:
    """
    Keep a snapshot unless it was kept before, and give it as it was kept first.
    """
    values: dict[str, Any] = {
        "id": found.id,
        "served_from": found.served_from,
        "stops": found.stops,
        "force_months": len(found.revisions),
        "first_month": found.months[0].first_day if found.months else None,
        "last_month": found.months[1].first_day if found.months else None,
        "listed_at": found.listed_at,
        "forces": Jsonb(list(found.forces)),
        "gaps": Jsonb(
            [
                {"force": gap.force, "state": gap.state, "from": str(gap.first), "to": str(gap.last)}
                for gap in found.gaps
            ]
        ),
        "doubtful": Jsonb([{"force": force, "month": str(month)} for force, month in sorted(found.doubtful)]),
    }
    kept = connection.execute(
        """
        INSERT INTO snapshot
            (id, served_from, stops, force_months, first_month, last_month, listed_at, forces, gaps, doubtful)
        VALUES (%(id)s, %(served_from)s, %(stops)s, %(force_months)s, %(first_month)s, %(last_month)s,
            %(listed_at)s, %(forces)s, %(gaps)s, %(doubtful)s)
        ON CONFLICT (id) DO NOTHING
        """,
        values,
    )
    # The set has come back: what was told of it the first time is told of it still.
    return found if kept.rowcount else find_snapshot(connection, found.id)
