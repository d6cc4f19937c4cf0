"""
The ledger: what was asked for, what was tried, and the revisions that came of it.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from stopsearch.domain.states import BatchStatus, Cause, LetterState, RunStatus, Source, Standing
from stopsearch.store.tables.base import Base, Small, one_of


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
    # Run by workers: no one process holds its lock, and whether it has ended is told by its rows of `batch_month`.
    is_distributed: Mapped[bool] = mapped_column(server_default=text("false"))
    sent_at: Mapped[datetime | None]  # when workers were last told to plan it
    cancel_asked_at: Mapped[datetime | None]
    cancel_asked_by: Mapped[str | None]

    __table_args__ = (one_of("status", BatchStatus),)


class BatchMonth(Base):
    """
    One force-month of a batch that workers run: planned, sent to a queue, and how it ended.

    It is outstanding until `ended_at`; a batch with no outstanding one is over. A task is only a call to look here:
    lost, it is sent again; delivered twice, the second finds nothing to do.
    """

    __tablename__ = "batch_month"

    batch_id: Mapped[int] = mapped_column(ForeignKey("ingest_batch.id"), primary_key=True, autoincrement=False)
    force_code: Mapped[Small] = mapped_column(primary_key=True, autoincrement=False)
    month: Mapped[date] = mapped_column(primary_key=True)
    ordinal: Mapped[int]  # the order in which they are sent
    queue: Mapped[str]
    reason: Mapped[str]
    planned_at: Mapped[datetime]
    next_at: Mapped[datetime]  # it is not sent before
    sent_at: Mapped[datetime | None]
    deliveries: Mapped[Small] = mapped_column(server_default=text("0"))  # since it was last sent
    tries: Mapped[Small] = mapped_column(server_default=text("0"))  # that failed in passing, or found it busy
    status: Mapped[str | None]  # how its last run ended; NULL before the first has
    ended_at: Mapped[datetime | None]

    __table_args__ = (
        ForeignKeyConstraint(["force_code"], ["force.code"]),
        one_of("status", RunStatus),
        CheckConstraint("ended_at IS NULL OR status IS NOT NULL", name="ended_with_status"),
        Index("ix_batch_month_outstanding", "batch_id", postgresql_where=text("ended_at IS NULL")),
    )


class ScheduleSlot(Base):
    """
    One tick of a schedule that was taken: whoever inserts the row starts what is due then, and nobody else does.
    """

    __tablename__ = "schedule_slot"

    schedule: Mapped[str] = mapped_column(primary_key=True)
    due_at: Mapped[datetime] = mapped_column(primary_key=True)
    taken_at: Mapped[datetime]
    batch_id: Mapped[int | None] = mapped_column(ForeignKey("ingest_batch.id"))  # NULL where it started none


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
        one_of("status", RunStatus),
        one_of("source", Source),
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
    # The earliest and the latest stop: a page of some months is looked for between them.
    first_datetime: Mapped[datetime | None]
    last_datetime: Mapped[datetime | None]
    run_id: Mapped[int | None] = mapped_column(ForeignKey("ingest_run.id"))

    __table_args__ = (
        ForeignKeyConstraint(["force_code"], ["force.code"]),
        one_of("cause", Cause),
        one_of("standing", Standing),
        one_of("source", Source),
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
        one_of("state", LetterState),
        CheckConstraint("jsonb_array_length(rejections) > 0", name="says_why"),
    )


class CallBudget(Base):
    """
    One upstream's call budget, shared by all processes: the instant from which the next request may be sent.
    """

    __tablename__ = "call_budget"

    upstream: Mapped[str] = mapped_column(primary_key=True)
    next_at: Mapped[datetime]
