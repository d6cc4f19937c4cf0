"""
Add what serving needs: snapshots, the narrow rollup, the time that each revision spans, and batches that wait.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_STATUSES = "'running', 'finished', 'finished_with_failures', 'cancelled'"

# The rollup of every revision that was ever served, each under its own interval: a later revision closes only those
# rows of it that it changes.
_FILL_TOTALS = """
    WITH served AS (
        SELECT force_code, month, number, is_date_only,
            lead(number) OVER (PARTITION BY force_code, month ORDER BY number) AS next_number
        FROM revision WHERE standing = 'served'
    )
    INSERT INTO stop_total
        (dimension_code, force_code, month, value_code, first_revision, withdrawn_revision, stops)
    SELECT value.dimension_code, served.force_code, served.month, coalesce(value.code, 0), served.number,
        served.next_number, count(*)
    FROM served
    JOIN stop ON stop.force_code = served.force_code AND stop.month = served.month
        AND stop.first_revision <= served.number
        AND (stop.withdrawn_revision IS NULL OR stop.withdrawn_revision > served.number)
    CROSS JOIN LATERAL (VALUES
        (1, stop.type_code),
        (2, stop.gender_code),
        (3, stop.age_range_code),
        (4, stop.self_defined_ethnicity_code),
        (5, stop.officer_defined_ethnicity_code),
        (6, stop.legislation_code),
        (7, stop.object_of_search_code),
        (8, stop.outcome_code),
        (9, CASE WHEN NOT served.is_date_only
            THEN extract(hour FROM stop.datetime AT TIME ZONE 'Europe/London')::smallint + 1::smallint END),
        (10, extract(isodow FROM stop.local_date)::smallint)
    ) AS value (dimension_code, code)
    GROUP BY 1, 2, 3, 4, 5, 6
"""
_FILL_SPANS = """
    UPDATE revision SET (first_datetime, last_datetime) = (
        SELECT min(stop.datetime), max(stop.datetime) FROM stop
        WHERE stop.force_code = revision.force_code AND stop.month = revision.month
            AND stop.first_revision <= revision.number
            AND (stop.withdrawn_revision IS NULL OR stop.withdrawn_revision > revision.number)
    )
    WHERE standing = 'served'
"""


def upgrade() -> None:
    op.create_table(
        "serving",
        sa.Column("is_only", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("is_only", name=op.f("ck_serving_one_row")),
        sa.PrimaryKeyConstraint("is_only", name=op.f("pk_serving")),
    )
    op.create_table(
        "snapshot",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("served_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kept_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("stops", sa.BigInteger(), nullable=False),
        sa.Column("force_months", sa.Integer(), nullable=False),
        sa.Column("first_month", sa.Date(), nullable=True),
        sa.Column("last_month", sa.Date(), nullable=True),
        sa.Column("listed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("forces", postgresql.JSONB(), nullable=False),
        sa.Column("gaps", postgresql.JSONB(), nullable=False),
        sa.Column("doubtful", postgresql.JSONB(), nullable=False),
        sa.CheckConstraint("id ~ '^[0-9a-f]{64}$'", name=op.f("ck_snapshot_id_is_sha256")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_snapshot")),
    )
    op.create_index(op.f("ix_snapshot_served_from"), "snapshot", ["served_from"], unique=False)
    op.create_table(
        "server_key",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_server_key")),
    )
    op.create_table(
        "stop_total",
        sa.Column("dimension_code", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("force_code", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("value_code", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("first_revision", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("withdrawn_revision", sa.SmallInteger(), nullable=True),
        sa.Column("stops", sa.Integer(), nullable=False),
        sa.CheckConstraint("stops > 0", name=op.f("ck_stop_total_counts_something")),
        sa.ForeignKeyConstraint(
            ["force_code", "month", "first_revision"],
            ["revision.force_code", "revision.month", "revision.number"],
            name=op.f("fk_stop_total_force_code_month_first_revision"),
        ),
        sa.PrimaryKeyConstraint(
            "dimension_code", "force_code", "month", "value_code", "first_revision", name=op.f("pk_stop_total")
        ),
    )
    op.add_column("revision", sa.Column("first_datetime", sa.DateTime(timezone=True), nullable=True))
    op.add_column("revision", sa.Column("last_datetime", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_stop_withdrawn",
        "stop",
        ["datetime", "id"],
        unique=False,
        postgresql_where=sa.text("withdrawn_revision IS NOT NULL"),
    )
    _allow_statuses(f"'queued', {_STATUSES}")
    op.execute(
        """
        INSERT INTO serving (generation, changed_at)
        SELECT count(*), max(served_from) FROM revision WHERE standing = 'served'
        """
    )
    op.execute(_FILL_SPANS)
    op.execute(_FILL_TOTALS)


def downgrade() -> None:
    op.execute("UPDATE ingest_batch SET status = 'cancelled', ended_at = now() WHERE status = 'queued'")
    _allow_statuses(_STATUSES)
    op.drop_index("ix_stop_withdrawn", table_name="stop", postgresql_where=sa.text("withdrawn_revision IS NOT NULL"))
    op.drop_column("revision", "last_datetime")
    op.drop_column("revision", "first_datetime")
    op.drop_table("stop_total")
    op.drop_table("server_key")
    op.drop_index(op.f("ix_snapshot_served_from"), table_name="snapshot")
    op.drop_table("snapshot")
    op.drop_table("serving")


def _allow_statuses(statuses: str) -> None:
    op.drop_constraint(op.f("ck_ingest_batch_status_known"), "ingest_batch")
    op.create_check_constraint(op.f("ck_ingest_batch_status_known"), "ingest_batch", f"status IN ({statuses})")
