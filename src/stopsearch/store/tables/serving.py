"""
What serving needs beside the stops: denominators, snapshots and keys.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKeyConstraint,
    Index,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from stopsearch.store.tables.base import Base, Small


class Population(Base):
    """
    One count of a census: the residents of one police force's area in one ethnic group, the denominator of rates.
    """

    __tablename__ = "population"

    force_code: Mapped[Small] = mapped_column(primary_key=True)
    census_year: Mapped[Small] = mapped_column(primary_key=True, autoincrement=False)
    ethnic_group: Mapped[str] = mapped_column(primary_key=True)
    label_group: Mapped[str | None]  # the broad group that stops are counted by
    persons: Mapped[int]
    source: Mapped[str]
    licence: Mapped[str]

    __table_args__ = (
        ForeignKeyConstraint(["force_code"], ["force.code"]),
        CheckConstraint("persons >= 0", name="persons_not_negative"),
    )


class Serving(Base):
    """
    One row only: how often what is served has changed, and when it last did.

    It is bumped in the transaction of each new revision, as its last statement: whoever reads the same generation in
    the same statement as the data knows that a snapshot found before is what is served still.
    """

    __tablename__ = "serving"

    is_only: Mapped[bool] = mapped_column(primary_key=True, server_default=text("true"))
    generation: Mapped[int] = mapped_column(BigInteger)
    changed_at: Mapped[datetime | None]

    __table_args__ = (CheckConstraint("is_only", name="one_row"),)


class Snapshot(Base):
    """
    One snapshot that was ever given out: an id for a set of served revisions, with what was not held then.

    `served_from` is when that set was first served. Forces, months, gaps and doubts are as the publisher's list and
    the last looks told when the snapshot was first kept: answers that name it give the same bytes for ever.
    """

    __tablename__ = "snapshot"

    id: Mapped[str] = mapped_column(primary_key=True)
    served_from: Mapped[datetime]
    kept_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))
    stops: Mapped[int] = mapped_column(BigInteger)
    force_months: Mapped[int]
    first_month: Mapped[date | None]
    last_month: Mapped[date | None]
    listed_at: Mapped[datetime | None]
    forces: Mapped[list[dict[str, Any]]]  # ids of the known forces, sorted
    gaps: Mapped[list[dict[str, Any]]]  # runs of months that were not held: force, state, from, to
    doubtful: Mapped[list[dict[str, Any]]]  # held force-months in doubt: force, month

    __table_args__ = (
        CheckConstraint("id ~ '^[0-9a-f]{64}$'", name="id_is_sha256"),
        Index(None, "served_from"),
    )


class ServerKey(Base):
    """
    One secret of the servers of this database: what cursors are signed with. Readers have no right to it.
    """

    __tablename__ = "server_key"

    name: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[bytes]
    made_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
