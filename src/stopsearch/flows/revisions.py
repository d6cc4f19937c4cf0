"""
Look at the history of force-months: list revisions, show one, and tell what changed between two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import polars as pl
from psycopg import Connection

from stopsearch.clean.identity import id_prefix, identify
from stopsearch.clean.normal_form import normal_form
from stopsearch.domain.errors import UnknownRevision
from stopsearch.domain.months import Month
from stopsearch.domain.states import Cause, Standing
from stopsearch.flows.compare_stops import Changes, compare_stops
from stopsearch.flows.plan import Wanted, check_wanted
from stopsearch.flows.prepare_edition import Stopwatch, build_edition, decode
from stopsearch.store.as_of import id_range, one_snapshot
from stopsearch.store.database import Database
from stopsearch.store.forces import known_forces
from stopsearch.store.history import STOP_VALUES, RevisionEntry, find_revision, find_revisions, served_stops
from stopsearch.store.kept_editions import editions_of, read_edition


@dataclass(frozen=True, kw_only=True)
class RevisionDiff:
    """
    What changed from one revision of a force-month to another.

    The stops of a historic edition were never served: they are read from its kept body by today's rules, and
    `read_by_todays_rules` names the revisions that were.
    """

    force: str
    month: Month
    before: RevisionEntry
    after: RevisionEntry
    changes: Changes
    read_by_todays_rules: list[int]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """
    What changed from one revision to another, and the stops that only one has: `id` and `STOP_VALUES`, by id.
    """

    diff: RevisionDiff
    withdrawn: pl.DataFrame = field(repr=False)
    added: pl.DataFrame = field(repr=False)


def list_revisions(
    database: Database,
    wanted: Wanted | None = None,
    *,
    causes: Sequence[Cause] = (),
    standings: Sequence[Standing] = (),
    since: datetime | None = None,
    only_changes: bool = False,
    limit: int | None = None,
) -> list[RevisionEntry]:
    """
    List revisions, by force, month and number.

    Args:
        causes: Only of these causes; empty: of all. So with standings.
        since: Only those that arrived since then.
        only_changes: Leave out the first revision of each force-month.
        limit: At most so many, the latest arrivals.

    Raises:
        UnknownForce: A force that nobody knows.
        MonthOutOfRange: The months start after they end.
    """
    wanted = wanted or Wanted()
    with database.connect(autocommit=True) as connection:
        check_wanted(wanted, forces=known_forces(connection), window=None)
        return find_revisions(
            connection,
            forces=wanted.forces,
            first=wanted.first,
            last=wanted.last,
            causes=causes,
            standings=standings,
            since=since,
            only_changes=only_changes,
            limit=limit,
        )


def show_revision(database: Database, force: str, month: Month, number: int | None = None) -> RevisionEntry:
    """
    Show one revision of a force-month.

    Args:
        number: Its number; None: the current one.

    Raises:
        UnknownForce: Nobody knows the force.
        UnknownRevision: There is no such revision.
    """
    with database.connect(autocommit=True) as connection:
        check_wanted(Wanted(forces=(force,)), forces=known_forces(connection), window=None)
        return find_revision(connection, force, month, number)


def first_served(database: Database, wanted: Wanted) -> datetime | None:
    """
    Tell since when anything of what was asked for was ever served; None: it never was.
    """
    found = list_revisions(database, wanted, standings=(Standing.SERVED,))
    return min((entry.served_from for entry in found if entry.served_from is not None), default=None)


def diff_revisions(
    database: Database, force: str, month: Month, before: int | None = None, after: int | None = None
) -> RevisionDiff:
    """
    Tell what changed from one revision of a force-month to another, in either order.

    Args:
        before: The number of the one; None: the one that was served before the other.
        after: The number of the other; None: the current one.

    Raises:
        UnknownForce: Nobody knows the force.
        UnknownRevision: There is no such revision, or none before.
        BodyGone: A historic edition's body has been pruned.
    """
    with database.connect(autocommit=True) as connection, one_snapshot(connection):
        return compare_revisions(connection, force, month, before, after).diff


def compare_revisions(
    connection: Connection, force: str, month: Month, before: int | None = None, after: int | None = None
) -> Compared:
    """
    Compare two revisions of a force-month as `diff_revisions` does, and give the stops that differ as well.

    Args:
        connection: One that reads a single state of the database, or anything where both revisions are named: what a
            revision served never changes.
    """
    check_wanted(Wanted(forces=(force,)), forces=known_forces(connection), window=None)
    new = find_revision(connection, force, month, after)
    old = find_revision(connection, force, month, _before(connection, new) if before is None else before)
    old_stops, new_stops = (_stops(connection, entry) for entry in (old, new))
    diff = RevisionDiff(
        force=force,
        month=month,
        before=old,
        after=new,
        changes=compare_stops(old_stops, new_stops),
        read_by_todays_rules=[entry.number for entry in (old, new) if entry.standing is Standing.HISTORIC],
    )
    return Compared(
        diff=diff,
        withdrawn=old_stops.join(new_stops, on="id", how="anti").sort("id"),
        added=new_stops.join(old_stops, on="id", how="anti").sort("id"),
    )


def _before(connection: Connection, new: RevisionEntry) -> int:
    served = [
        edition.number
        for edition in editions_of(connection, new.force, new.month)
        if edition.standing is Standing.SERVED and edition.number < new.number
    ]
    if not served:
        raise UnknownRevision(
            f"No revision of {new.force} {new.month} was served before revision {new.number}.",
            remedy="Name the two revisions to compare.",
        )
    return served[-1]


def _stops(connection: Connection, entry: RevisionEntry) -> pl.DataFrame:
    if entry.standing is Standing.SERVED:
        ids = id_range(id_prefix(entry.force, entry.month))
        return served_stops(connection, entry.force, entry.number, ids)
    return _stops_of_body(connection, entry)


def _stops_of_body(connection: Connection, entry: RevisionEntry) -> pl.DataFrame:
    kept = next(e for e in editions_of(connection, entry.force, entry.month) if e.number == entry.number)
    published, body = read_edition(connection, kept)
    source = decode(published.shape, published.body)
    normal = normal_form(source.frame)
    edition, _ = build_edition(
        published,
        source,
        normal,
        identify(entry.force, entry.month, normal),
        body=body,
        limits=None,
        # Nothing is written: the codes stay here.
        name_operations=lambda names: {name: code for code, name in enumerate(sorted(names), start=1)},
        watch=Stopwatch(),
    )
    ids = pl.Series("id", [str(UUID(bytes=row.tobytes())) for row in edition.ids], dtype=pl.String)
    return edition.accepted.select(*STOP_VALUES).insert_column(0, ids)
