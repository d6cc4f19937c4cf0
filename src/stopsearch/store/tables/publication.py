"""
What the publisher publishes: forces, months, labels, streets and bodies as they came.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    ForeignKeyConstraint,
    Identity,
    Index,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from stopsearch.domain.states import MonthState, Shape
from stopsearch.store.tables.base import Base, Small, one_of


class Force(Base):
    """
    One police force: its id is the publisher's, its code is ours, for the tables to hold in two bytes.
    """

    __tablename__ = "force"

    code: Mapped[Small] = mapped_column(primary_key=True, autoincrement=False)
    id: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str | None]


class Vocabulary(Base):
    """
    One label of one field of a stop, with the code that `stop` keeps and the broad group that totals use.
    """

    __tablename__ = "vocabulary"

    field: Mapped[str] = mapped_column(primary_key=True)
    code: Mapped[Small] = mapped_column(primary_key=True, autoincrement=False)
    label: Mapped[str]
    label_group: Mapped[str | None]

    __table_args__ = (UniqueConstraint("field", "label"),)


class OperationName(Base):
    """
    One name of a policing operation: free text of the publisher's, null in every record seen so far.
    """

    __tablename__ = "operation_name"

    code: Mapped[int] = mapped_column(Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)


class Street(Base):
    """
    One point of the publisher's map with its street, which only the API tells: enrichment, joined by the point.

    It stays outside identity, digests, revisions and snapshots. `month` is the month that it was first seen for.
    """

    __tablename__ = "street"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str]
    latitude: Mapped[float]
    longitude: Mapped[float]
    month: Mapped[date]

    __table_args__ = (Index(None, "latitude", "longitude"),)


class PublishedBody(Base):
    """
    What the publisher sent for one force-month, compressed with Zstandard, addressed by the SHA-256 of its bytes.
    """

    __tablename__ = "published_body"

    digest: Mapped[bytes] = mapped_column(primary_key=True)
    shape: Mapped[str]
    body_bytes: Mapped[int]
    compressed: Mapped[bytes]
    kept_at: Mapped[datetime] = mapped_column(server_default=text("now()"))

    __table_args__ = (one_of("shape", Shape),)


class Listing(Base):
    """
    One answer of the publisher's availability list, kept when it differs from the one before.
    """

    __tablename__ = "listing"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    digest: Mapped[bytes]
    first_month: Mapped[date]
    last_month: Mapped[date]
    forces_by_month: Mapped[dict[str, Any]]
    listed_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]


class MonthRelease(Base):
    """
    One force-month: what upstream lists of it, what the last look at it gave, and which revision is current.

    `current_published_at` is when the newest edition that holds the current content was published: an edition
    older than that is historic. `seen_body_digest` is a body known to hold the current content.
    """

    __tablename__ = "month_release"

    force_code: Mapped[Small] = mapped_column(primary_key=True, autoincrement=False)
    month: Mapped[date] = mapped_column(primary_key=True)
    state: Mapped[str]
    is_listed: Mapped[bool] = mapped_column(server_default=text("false"))
    doubtful_since: Mapped[datetime | None]
    first_listed_at: Mapped[datetime | None]
    last_listed_at: Mapped[datetime | None]
    last_checked_at: Mapped[datetime | None]
    current_revision: Mapped[Small | None]
    current_published_at: Mapped[datetime | None]
    seen_body_digest: Mapped[bytes | None]

    __table_args__ = (
        ForeignKeyConstraint(["force_code"], ["force.code"]),
        ForeignKeyConstraint(
            ["force_code", "month", "current_revision"],
            ["revision.force_code", "revision.month", "revision.number"],
            use_alter=True,
        ),
        one_of("state", MonthState),
        CheckConstraint("(current_revision IS NOT NULL) = (state = 'held')", name="held_has_revision"),
        CheckConstraint("extract(day FROM month) = 1", name="month_is_first_day"),
    )
