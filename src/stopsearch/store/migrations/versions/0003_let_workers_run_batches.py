"""
Add what workers need: the force-months that a batch has planned, the ticks of schedules, and the wish to cancel.

The new columns of `ingest_batch` have constant defaults, so no row is rewritten; its lock is held for a moment.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_RUN_STATUSES = (
    "'queued', 'running', 'revised', 'unchanged', 'historic', 'empty', 'busy', 'failed', 'refused', 'cancelled'"
)


def upgrade() -> None:
    op.add_column(
        "ingest_batch", sa.Column("is_distributed", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.add_column("ingest_batch", sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("ingest_batch", sa.Column("cancel_asked_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("ingest_batch", sa.Column("cancel_asked_by", sa.Text(), nullable=True))
    op.create_table(
        "batch_month",
        sa.Column("batch_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("force_code", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("planned_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deliveries", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("tries", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("status", sa.Text(), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("ended_at IS NULL OR status IS NOT NULL", name=op.f("ck_batch_month_ended_with_status")),
        sa.CheckConstraint(f"status IN ({_RUN_STATUSES})", name=op.f("ck_batch_month_status_known")),
        sa.ForeignKeyConstraint(["batch_id"], ["ingest_batch.id"], name=op.f("fk_batch_month_batch_id")),
        sa.ForeignKeyConstraint(["force_code"], ["force.code"], name=op.f("fk_batch_month_force_code")),
        sa.PrimaryKeyConstraint("batch_id", "force_code", "month", name=op.f("pk_batch_month")),
    )
    op.create_index(
        "ix_batch_month_outstanding",
        "batch_month",
        ["batch_id"],
        unique=False,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "schedule_slot",
        sa.Column("schedule", sa.Text(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("batch_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["batch_id"], ["ingest_batch.id"], name=op.f("fk_schedule_slot_batch_id")),
        sa.PrimaryKeyConstraint("schedule", "due_at", name=op.f("pk_schedule_slot")),
    )


def downgrade() -> None:
    op.execute(
        "UPDATE ingest_batch SET status = 'cancelled', ended_at = now() "
        "WHERE is_distributed AND status IN ('queued', 'running')"
    )
    op.drop_table("schedule_slot")
    op.drop_index("ix_batch_month_outstanding", table_name="batch_month", postgresql_where=sa.text("ended_at IS NULL"))
    op.drop_table("batch_month")
    for column in ("cancel_asked_by", "cancel_asked_at", "sent_at", "is_distributed"):
        op.drop_column("ingest_batch", column)
