"""
The tables, as SQLAlchemy models: what one row of each is, and the constraints that keep the laws.

Forces, months and revisions are referred to by (`force_code`, `month`, `number`), where a month is its first day.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, ClassVar
from uuid import UUID

from sqlalchemy import (
    JSON,
    CheckConstraint,
    Date,
    DateTime,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    LargeBinary,
    MetaData,
    SmallInteger,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from stopsearch.domain.states import BatchStatus, Cause, LetterState, MonthState, RunStatus, Shape, Source, Standing

NAMING = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
}


Small = Annotated[int, mapped_column(SmallInteger)]


class Base(DeclarativeBase):
    """
    Base of all models; constraint names come from one naming convention.
    """

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: DateTime(timezone=True),
        date: Date(),
        str: Text(),
        bytes: LargeBinary(),
        float: Double(),
        dict[str, Any]: JSONB(),
        list[dict[str, Any]]: JSONB(),
    }


def _one_of(column: str, members: type[Any]) -> CheckConstraint:
    values = ", ".join(f"'{member.value}'" for member in members)
    return CheckConstraint(f"{column} IN ({values})", name=f"{column}_known")


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

    __table_args__ = (_one_of("shape", Shape),)


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
        _one_of("state", MonthState),
        CheckConstraint("(current_revision IS NOT NULL) = (state = 'held')", name="held_has_revision"),
        CheckConstraint("extract(day FROM month) = 1", name="month_is_first_day"),
    )


class IngestBatch(Base):
    """
    One batch: the runs that one trigger asked for.
    """

    __tablename__ = "ingest_batch"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    trigger: Mapped[str]
    requested_by: Mapped[str]
    asked_for: Mapped[dict[str, Any]]
    status: Mapped[str]
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]

    __table_args__ = (_one_of("status", BatchStatus),)


class IngestRun(Base):
    """
    One run: one attempt to bring one force-month in. The ledger of everything that was tried.
    """

    __tablename__ = "ingest_run"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    batch_id: Mapped[int] = mapped_column(ForeignKey("ingest_batch.id"))
    force_code: Mapped[Small]
    month: Mapped[date]
    source: Mapped[str]
    origin: Mapped[str | None]
    attempt: Mapped[Small]
    status: Mapped[str]
    error_kind: Mapped[str | None]
    error_text: Mapped[str | None]
    revision: Mapped[Small | None]
    received: Mapped[int | None]
    stored: Mapped[int | None]
    rejected: Mapped[int | None]
    added: Mapped[int | None]
    withdrawn: Mapped[int | None]
    mended: Mapped[dict[str, Any] | None]
    rejected_by_rule: Mapped[dict[str, Any] | None]
    durations_s: Mapped[dict[str, Any] | None]
    # What was fetched, kept before anything could go wrong with it: a run that was cut short leaves it to the next.
    body_digest: Mapped[bytes | None]
    fetched_at: Mapped[datetime | None]
    published_at: Mapped[datetime | None]
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]

    __table_args__ = (
        ForeignKeyConstraint(["force_code"], ["force.code"]),
        _one_of("status", RunStatus),
        _one_of("source", Source),
        CheckConstraint("received = stored + rejected", name="conservation"),
        Index(None, "force_code", "month"),
        Index(None, "batch_id"),
    )


class Revision(Base):
    """
    One revision of a force-month: an edition of its content, numbered by arrival, with what it changed.

    Law 1, conservation, is a CHECK here. `served_from` to `served_until` is when readers saw it; a historic edition
    was never served. `confirmed_at` is when the newest edition was published that was
    known to hold the same content, as its time came to an end.
    At most one revision of a force-month is current (served, not yet until).
    """

    __tablename__ = "revision"

    force_code: Mapped[Small] = mapped_column(primary_key=True, autoincrement=False)
    month: Mapped[date] = mapped_column(primary_key=True)
    number: Mapped[Small] = mapped_column(primary_key=True, autoincrement=False)
    cause: Mapped[str]
    standing: Mapped[str]
    source: Mapped[str]
    origin: Mapped[str]
    body_digest: Mapped[bytes] = mapped_column(ForeignKey("published_body.digest"))
    content_digest: Mapped[bytes]
    identity_version: Mapped[Small]
    rules_version: Mapped[Small]
    fetched_at: Mapped[datetime]
    published_at: Mapped[datetime]
    confirmed_at: Mapped[datetime | None]
    served_from: Mapped[datetime | None]
    served_until: Mapped[datetime | None]
    received: Mapped[int]
    stored: Mapped[int]
    rejected: Mapped[int]
    added: Mapped[int]
    withdrawn: Mapped[int]
    mended: Mapped[dict[str, Any]]
    rejected_by_rule: Mapped[dict[str, Any]]
    quality: Mapped[dict[str, Any]]
    is_restated: Mapped[bool]
    is_doubled: Mapped[bool]
    is_date_only: Mapped[bool]
    run_id: Mapped[int | None] = mapped_column(ForeignKey("ingest_run.id"))

    __table_args__ = (
        ForeignKeyConstraint(["force_code"], ["force.code"]),
        _one_of("cause", Cause),
        _one_of("standing", Standing),
        _one_of("source", Source),
        CheckConstraint("number >= 1", name="number_from_one"),
        CheckConstraint("received = stored + rejected", name="conservation"),
        CheckConstraint("(standing = 'served') = (served_from IS NOT NULL)", name="served_has_start"),
        CheckConstraint("served_until > served_from", name="served_forwards"),
        CheckConstraint("least(received, stored, rejected, added, withdrawn) >= 0", name="counts_not_negative"),
        CheckConstraint("octet_length(content_digest) = 32", name="content_digest_is_sha256"),
        Index(
            "uq_revision_current",
            "force_code",
            "month",
            unique=True,
            postgresql_where=text("standing = 'served' AND served_until IS NULL"),
        ),
        Index(None, "served_from"),
    )


class Stop(Base):
    """
    One stop as served from one revision until, but not with, another: the row's one interval of life.

    A stop that goes and comes back has two rows with one id. Labels are codes of `vocabulary`; nothing given is
    NULL. `record_number` leads back to the published record, in the body that the first revision rests on. Every
    column has a fixed width, which the binary COPY relies on.
    """

    __tablename__ = "stop"

    id: Mapped[UUID] = mapped_column()
    force_code: Mapped[Small]
    month: Mapped[date]
    first_revision: Mapped[Small] = mapped_column()
    withdrawn_revision: Mapped[Small | None]
    record_number: Mapped[int]
    datetime: Mapped[datetime]
    local_date: Mapped[date]
    type_code: Mapped[Small]
    operation: Mapped[bool | None]
    operation_name_code: Mapped[int | None] = mapped_column(ForeignKey("operation_name.code"))
    latitude: Mapped[float | None]
    longitude: Mapped[float | None]
    is_far_from_force: Mapped[bool | None]
    gender_code: Mapped[Small | None]
    age_range_code: Mapped[Small | None]
    self_defined_ethnicity_code: Mapped[Small | None]
    officer_defined_ethnicity_code: Mapped[Small | None]
    legislation_code: Mapped[Small | None]
    object_of_search_code: Mapped[Small | None]
    outcome_code: Mapped[Small | None]
    outcome_linked_to_object_of_search: Mapped[bool | None]
    removal_of_more_than_outer_clothing: Mapped[bool | None]

    __table_args__ = (
        # One index for two promises: one current row a stop, and one row a stop and withdrawal. An id begins with
        # its month and force, so that it is also the index of a force-month. Foreign keys of the nine labels
        # would make a load 3.4 times as long (measured): the contract keeps them, and `doctor` checks.
        Index(
            "uq_stop_id_withdrawn_revision",
            "id",
            "withdrawn_revision",
            unique=True,
            postgresql_nulls_not_distinct=True,
        ),
        Index(None, "force_code", "datetime", "id"),
        Index(None, "datetime", "id"),
        Index(None, "latitude", "longitude"),
        ForeignKeyConstraint(
            ["force_code", "month", "first_revision"], ["revision.force_code", "revision.month", "revision.number"]
        ),
        ForeignKeyConstraint(
            ["force_code", "month", "withdrawn_revision"], ["revision.force_code", "revision.month", "revision.number"]
        ),
        CheckConstraint("withdrawn_revision > first_revision", name="withdrawn_after_first"),
        CheckConstraint("(latitude IS NULL) = (longitude IS NULL)", name="location_is_whole"),
    )
    __mapper_args__ = {  # noqa: RUF012  # SQLAlchemy reads it from the class
        "primary_key": [id, first_revision],
    }


class DeadLetter(Base):
    """
    One rejected record of one revision, as published, with every rule that it broke.
    """

    __tablename__ = "dead_letter"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    force_code: Mapped[Small]
    month: Mapped[date]
    revision: Mapped[Small]
    record_number: Mapped[int]
    # JSON and not JSONB: what the publisher wrote stays letter for letter, also an escaped NUL.
    raw: Mapped[Any] = mapped_column(JSON)
    rejections: Mapped[list[dict[str, Any]]]
    state: Mapped[str]
    reason: Mapped[str | None]
    attempts: Mapped[Small] = mapped_column(server_default=text("0"))
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    decided_at: Mapped[datetime | None]

    __table_args__ = (
        ForeignKeyConstraint(
            ["force_code", "month", "revision"], ["revision.force_code", "revision.month", "revision.number"]
        ),
        UniqueConstraint("force_code", "month", "revision", "record_number"),
        _one_of("state", LetterState),
        CheckConstraint("jsonb_array_length(rejections) > 0", name="says_why"),
    )


class StopCount(Base):
    """
    The rollup: how many stops of one force-month share six labels, from one revision until another. 0 is not given.
    """

    __tablename__ = "stop_count"

    force_code: Mapped[Small] = mapped_column(primary_key=True, autoincrement=False)
    month: Mapped[date] = mapped_column(primary_key=True)
    first_revision: Mapped[Small] = mapped_column(primary_key=True, autoincrement=False)
    withdrawn_revision: Mapped[Small | None]
    type_code: Mapped[Small] = mapped_column(primary_key=True, autoincrement=False)
    gender_code: Mapped[Small] = mapped_column(primary_key=True, autoincrement=False)
    age_range_code: Mapped[Small] = mapped_column(primary_key=True, autoincrement=False)
    self_defined_ethnicity_code: Mapped[Small] = mapped_column(primary_key=True, autoincrement=False)
    officer_defined_ethnicity_code: Mapped[Small] = mapped_column(primary_key=True, autoincrement=False)
    outcome_code: Mapped[Small] = mapped_column(primary_key=True, autoincrement=False)
    stops: Mapped[int]

    __table_args__ = (
        ForeignKeyConstraint(
            ["force_code", "month", "first_revision"], ["revision.force_code", "revision.month", "revision.number"]
        ),
        CheckConstraint("stops > 0", name="counts_something"),
    )


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


class CallBudget(Base):
    """
    One upstream's call budget, shared by all processes: the instant from which the next request may be sent.
    """

    __tablename__ = "call_budget"

    upstream: Mapped[str] = mapped_column(primary_key=True)
    next_at: Mapped[datetime]
