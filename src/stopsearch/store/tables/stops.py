"""
Stops, and how many of them there are.
"""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from stopsearch.store.tables.base import Base, Small


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
        # Of the few rows that are closed, so that a load does not notice it.
        Index("ix_stop_withdrawn", "datetime", "id", postgresql_where=text("withdrawn_revision IS NOT NULL")),
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


class StopTotal(Base):
    """
    The narrow rollup: how many stops of one force-month have one value of one dimension, from one revision until
    another. Value 0 is not given.
    """

    __tablename__ = "stop_total"

    dimension_code: Mapped[Small] = mapped_column(primary_key=True, autoincrement=False)
    force_code: Mapped[Small] = mapped_column(primary_key=True, autoincrement=False)
    month: Mapped[date] = mapped_column(primary_key=True)
    value_code: Mapped[Small] = mapped_column(primary_key=True, autoincrement=False)
    first_revision: Mapped[Small] = mapped_column(primary_key=True, autoincrement=False)
    withdrawn_revision: Mapped[Small | None]
    stops: Mapped[int]

    __table_args__ = (
        ForeignKeyConstraint(
            ["force_code", "month", "first_revision"], ["revision.force_code", "revision.month", "revision.number"]
        ),
        CheckConstraint("stops > 0", name="counts_something"),
    )
