"""
Create the tables of the design, and the view that gives a stop's words back.

It runs on an empty database, so that no lock is held for long.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

STOP_IN_WORDS = """
CREATE VIEW stop_in_words AS
SELECT
    stop.id,
    force.id AS force,
    to_char(stop.month, 'YYYY-MM') AS month,
    stop.first_revision,
    stop.withdrawn_revision,
    stop.record_number,
    type.label AS type,
    type.label <> 'Vehicle search' AS involved_person,
    stop.datetime,
    stop.local_date,
    stop.operation,
    operation_name.name AS operation_name,
    stop.latitude,
    stop.longitude,
    stop.is_far_from_force,
    gender.label AS gender,
    age_range.label AS age_range,
    self_defined_ethnicity.label AS self_defined_ethnicity,
    self_defined_ethnicity.label_group AS self_defined_ethnic_group,
    officer_defined_ethnicity.label AS officer_defined_ethnicity,
    officer_defined_ethnicity.label_group AS officer_defined_ethnic_group,
    legislation.label AS legislation,
    object_of_search.label AS object_of_search,
    outcome.label AS outcome,
    outcome.label_group AS outcome_group,
    stop.outcome_linked_to_object_of_search,
    stop.removal_of_more_than_outer_clothing,
    stop.force_code,
    stop.month AS first_day
FROM stop
JOIN force ON force.code = stop.force_code
LEFT JOIN operation_name ON operation_name.code = stop.operation_name_code
LEFT JOIN vocabulary AS type ON type.field = 'type' AND type.code = stop.type_code
LEFT JOIN vocabulary AS gender ON gender.field = 'gender' AND gender.code = stop.gender_code
LEFT JOIN vocabulary AS age_range ON age_range.field = 'age_range' AND age_range.code = stop.age_range_code
LEFT JOIN vocabulary AS self_defined_ethnicity ON self_defined_ethnicity.field = 'self_defined_ethnicity' AND self_defined_ethnicity.code = stop.self_defined_ethnicity_code
LEFT JOIN vocabulary AS officer_defined_ethnicity ON officer_defined_ethnicity.field = 'officer_defined_ethnicity' AND officer_defined_ethnicity.code = stop.officer_defined_ethnicity_code
LEFT JOIN vocabulary AS legislation ON legislation.field = 'legislation' AND legislation.code = stop.legislation_code
LEFT JOIN vocabulary AS object_of_search ON object_of_search.field = 'object_of_search' AND object_of_search.code = stop.object_of_search_code
LEFT JOIN vocabulary AS outcome ON outcome.field = 'outcome' AND outcome.code = stop.outcome_code
"""

# A point of the publisher's map changes its street's id over the years: the one that was first seen for the
# month nearest before the stop's own is taken, else the oldest.
STOP_STREET = """
CREATE VIEW stop_street AS
SELECT stop.id, stop.first_revision, street.id AS street_id, street.name AS street_name
FROM stop
CROSS JOIN LATERAL (
    SELECT street.id, street.name
    FROM street
    WHERE street.latitude = stop.latitude AND street.longitude = stop.longitude
    ORDER BY street.month > stop.month, CASE WHEN street.month > stop.month THEN street.month END,
        street.month DESC, street.id
    LIMIT 1
) AS street
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.create_table(
        "call_budget",
        sa.Column("upstream", sa.Text(), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("upstream", name=op.f("pk_call_budget")),
    )
    op.create_table(
        "force",
        sa.Column("code", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_force")),
        sa.UniqueConstraint("id", name=op.f("uq_force_id")),
    )
    op.create_table(
        "ingest_batch",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("trigger", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("asked_for", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status IN ('running', 'finished', 'finished_with_failures', 'cancelled')",
            name=op.f("ck_ingest_batch_status_known"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ingest_batch")),
    )
    op.create_table(
        "listing",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("first_month", sa.Date(), nullable=False),
        sa.Column("last_month", sa.Date(), nullable=False),
        sa.Column("forces_by_month", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("listed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_listing")),
    )
    op.create_table(
        "operation_name",
        sa.Column("code", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_operation_name")),
        sa.UniqueConstraint("name", name=op.f("uq_operation_name_name")),
    )
    op.create_table(
        "published_body",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("shape", sa.Text(), nullable=False),
        sa.Column("body_bytes", sa.Integer(), nullable=False),
        sa.Column("compressed", sa.LargeBinary(), nullable=False),
        sa.Column("kept_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("shape IN ('json', 'csv')", name=op.f("ck_published_body_shape_known")),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_published_body")),
    )
    op.create_table(
        "street",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("latitude", sa.Double(), nullable=False),
        sa.Column("longitude", sa.Double(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_street")),
    )
    op.create_index(op.f("ix_street_latitude_longitude"), "street", ["latitude", "longitude"], unique=False)
    op.create_table(
        "vocabulary",
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("code", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("label_group", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("field", "code", name=op.f("pk_vocabulary")),
        sa.UniqueConstraint("field", "label", name=op.f("uq_vocabulary_field_label")),
    )
    op.create_table(
        "ingest_run",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("batch_id", sa.Integer(), nullable=False),
        sa.Column("force_code", sa.SmallInteger(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=True),
        sa.Column("attempt", sa.SmallInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("error_kind", sa.Text(), nullable=True),
        sa.Column("error_text", sa.Text(), nullable=True),
        sa.Column("revision", sa.SmallInteger(), nullable=True),
        sa.Column("received", sa.Integer(), nullable=True),
        sa.Column("stored", sa.Integer(), nullable=True),
        sa.Column("rejected", sa.Integer(), nullable=True),
        sa.Column("added", sa.Integer(), nullable=True),
        sa.Column("withdrawn", sa.Integer(), nullable=True),
        sa.Column("mended", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("rejected_by_rule", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("durations_s", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("body_digest", sa.LargeBinary(), nullable=True),
        sa.Column("fetched_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("source IN ('api', 'archive', 'kept')", name=op.f("ck_ingest_run_source_known")),
        sa.CheckConstraint(
            "status IN ('queued', 'running', 'revised', 'unchanged', 'historic', 'empty', 'busy', 'failed', 'refused', 'cancelled')",
            name=op.f("ck_ingest_run_status_known"),
        ),
        sa.CheckConstraint("received = stored + rejected", name=op.f("ck_ingest_run_conservation")),
        sa.ForeignKeyConstraint(["batch_id"], ["ingest_batch.id"], name=op.f("fk_ingest_run_batch_id")),
        sa.ForeignKeyConstraint(["force_code"], ["force.code"], name=op.f("fk_ingest_run_force_code")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ingest_run")),
    )
    op.create_index(op.f("ix_ingest_run_batch_id"), "ingest_run", ["batch_id"], unique=False)
    op.create_index(op.f("ix_ingest_run_force_code_month"), "ingest_run", ["force_code", "month"], unique=False)
    op.create_table(
        "month_release",
        sa.Column("force_code", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("is_listed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("doubtful_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("first_listed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_listed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("current_revision", sa.SmallInteger(), nullable=True),
        sa.Column("current_published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("seen_body_digest", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint(
            "(current_revision IS NOT NULL) = (state = 'held')", name=op.f("ck_month_release_held_has_revision")
        ),
        sa.CheckConstraint(
            "state IN ('held', 'due', 'empty', 'failed', 'refused', 'not_listed', 'out_of_window')",
            name=op.f("ck_month_release_state_known"),
        ),
        sa.CheckConstraint("extract(day FROM month) = 1", name=op.f("ck_month_release_month_is_first_day")),
        sa.ForeignKeyConstraint(["force_code"], ["force.code"], name=op.f("fk_month_release_force_code")),
        sa.PrimaryKeyConstraint("force_code", "month", name=op.f("pk_month_release")),
    )
    op.create_table(
        "population",
        sa.Column("force_code", sa.SmallInteger(), nullable=False),
        sa.Column("census_year", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("ethnic_group", sa.Text(), nullable=False),
        sa.Column("label_group", sa.Text(), nullable=True),
        sa.Column("persons", sa.Integer(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("licence", sa.Text(), nullable=False),
        sa.CheckConstraint("persons >= 0", name=op.f("ck_population_persons_not_negative")),
        sa.ForeignKeyConstraint(["force_code"], ["force.code"], name=op.f("fk_population_force_code")),
        sa.PrimaryKeyConstraint("force_code", "census_year", "ethnic_group", name=op.f("pk_population")),
    )
    op.create_table(
        "revision",
        sa.Column("force_code", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("number", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("standing", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("body_digest", sa.LargeBinary(), nullable=False),
        sa.Column("content_digest", sa.LargeBinary(), nullable=False),
        sa.Column("identity_version", sa.SmallInteger(), nullable=False),
        sa.Column("rules_version", sa.SmallInteger(), nullable=False),
        sa.Column("fetched_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("served_from", sa.DateTime(timezone=True), nullable=True),
        sa.Column("served_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("received", sa.Integer(), nullable=False),
        sa.Column("stored", sa.Integer(), nullable=False),
        sa.Column("rejected", sa.Integer(), nullable=False),
        sa.Column("added", sa.Integer(), nullable=False),
        sa.Column("withdrawn", sa.Integer(), nullable=False),
        sa.Column("mended", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("rejected_by_rule", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("quality", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("is_restated", sa.Boolean(), nullable=False),
        sa.Column("is_doubled", sa.Boolean(), nullable=False),
        sa.Column("is_date_only", sa.Boolean(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=True),
        sa.CheckConstraint(
            "(standing = 'served') = (served_from IS NOT NULL)", name=op.f("ck_revision_served_has_start")
        ),
        sa.CheckConstraint("cause IN ('upstream', 'rules', 'replay', 'revert')", name=op.f("ck_revision_cause_known")),
        sa.CheckConstraint("source IN ('api', 'archive', 'kept')", name=op.f("ck_revision_source_known")),
        sa.CheckConstraint("standing IN ('served', 'historic')", name=op.f("ck_revision_standing_known")),
        sa.CheckConstraint(
            "least(received, stored, rejected, added, withdrawn) >= 0", name=op.f("ck_revision_counts_not_negative")
        ),
        sa.CheckConstraint("number >= 1", name=op.f("ck_revision_number_from_one")),
        sa.CheckConstraint("octet_length(content_digest) = 32", name=op.f("ck_revision_content_digest_is_sha256")),
        sa.CheckConstraint("received = stored + rejected", name=op.f("ck_revision_conservation")),
        sa.CheckConstraint("served_until > served_from", name=op.f("ck_revision_served_forwards")),
        sa.ForeignKeyConstraint(["body_digest"], ["published_body.digest"], name=op.f("fk_revision_body_digest")),
        sa.ForeignKeyConstraint(["force_code"], ["force.code"], name=op.f("fk_revision_force_code")),
        sa.ForeignKeyConstraint(["run_id"], ["ingest_run.id"], name=op.f("fk_revision_run_id")),
        sa.PrimaryKeyConstraint("force_code", "month", "number", name=op.f("pk_revision")),
    )
    op.create_index(op.f("ix_revision_served_from"), "revision", ["served_from"], unique=False)
    op.create_index(
        "uq_revision_current",
        "revision",
        ["force_code", "month"],
        unique=True,
        postgresql_where=sa.text("standing = 'served' AND served_until IS NULL"),
    )
    op.create_table(
        "dead_letter",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("force_code", sa.SmallInteger(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("revision", sa.SmallInteger(), nullable=False),
        sa.Column("record_number", sa.Integer(), nullable=False),
        sa.Column("raw", sa.JSON(), nullable=False),
        sa.Column("rejections", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("attempts", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('open', 'replayed', 'dismissed', 'superseded')", name=op.f("ck_dead_letter_state_known")
        ),
        sa.CheckConstraint("jsonb_array_length(rejections) > 0", name=op.f("ck_dead_letter_says_why")),
        sa.ForeignKeyConstraint(
            ["force_code", "month", "revision"],
            ["revision.force_code", "revision.month", "revision.number"],
            name=op.f("fk_dead_letter_force_code_month_revision"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dead_letter")),
        sa.UniqueConstraint(
            "force_code",
            "month",
            "revision",
            "record_number",
            name=op.f("uq_dead_letter_force_code_month_revision_record_number"),
        ),
    )
    op.create_table(
        "stop",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("force_code", sa.SmallInteger(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("first_revision", sa.SmallInteger(), nullable=False),
        sa.Column("withdrawn_revision", sa.SmallInteger(), nullable=True),
        sa.Column("record_number", sa.Integer(), nullable=False),
        sa.Column("datetime", sa.DateTime(timezone=True), nullable=False),
        sa.Column("local_date", sa.Date(), nullable=False),
        sa.Column("type_code", sa.SmallInteger(), nullable=False),
        sa.Column("operation", sa.Boolean(), nullable=True),
        sa.Column("operation_name_code", sa.Integer(), nullable=True),
        sa.Column("latitude", sa.Double(), nullable=True),
        sa.Column("longitude", sa.Double(), nullable=True),
        sa.Column("is_far_from_force", sa.Boolean(), nullable=True),
        sa.Column("gender_code", sa.SmallInteger(), nullable=True),
        sa.Column("age_range_code", sa.SmallInteger(), nullable=True),
        sa.Column("self_defined_ethnicity_code", sa.SmallInteger(), nullable=True),
        sa.Column("officer_defined_ethnicity_code", sa.SmallInteger(), nullable=True),
        sa.Column("legislation_code", sa.SmallInteger(), nullable=True),
        sa.Column("object_of_search_code", sa.SmallInteger(), nullable=True),
        sa.Column("outcome_code", sa.SmallInteger(), nullable=True),
        sa.Column("outcome_linked_to_object_of_search", sa.Boolean(), nullable=True),
        sa.Column("removal_of_more_than_outer_clothing", sa.Boolean(), nullable=True),
        sa.CheckConstraint("(latitude IS NULL) = (longitude IS NULL)", name=op.f("ck_stop_location_is_whole")),
        sa.CheckConstraint("withdrawn_revision > first_revision", name=op.f("ck_stop_withdrawn_after_first")),
        sa.ForeignKeyConstraint(
            ["force_code", "month", "first_revision"],
            ["revision.force_code", "revision.month", "revision.number"],
            name=op.f("fk_stop_force_code_month_first_revision"),
        ),
        sa.ForeignKeyConstraint(
            ["force_code", "month", "withdrawn_revision"],
            ["revision.force_code", "revision.month", "revision.number"],
            name=op.f("fk_stop_force_code_month_withdrawn_revision"),
        ),
        sa.ForeignKeyConstraint(
            ["operation_name_code"], ["operation_name.code"], name=op.f("fk_stop_operation_name_code")
        ),
    )
    op.create_index(op.f("ix_stop_datetime_id"), "stop", ["datetime", "id"], unique=False)
    op.create_index(op.f("ix_stop_force_code_datetime_id"), "stop", ["force_code", "datetime", "id"], unique=False)
    op.create_index(op.f("ix_stop_latitude_longitude"), "stop", ["latitude", "longitude"], unique=False)
    op.create_index(
        "uq_stop_id_withdrawn_revision",
        "stop",
        ["id", "withdrawn_revision"],
        unique=True,
        postgresql_nulls_not_distinct=True,
    )
    op.create_table(
        "stop_count",
        sa.Column("force_code", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("first_revision", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("withdrawn_revision", sa.SmallInteger(), nullable=True),
        sa.Column("type_code", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("gender_code", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("age_range_code", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("self_defined_ethnicity_code", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("officer_defined_ethnicity_code", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("outcome_code", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("stops", sa.Integer(), nullable=False),
        sa.CheckConstraint("stops > 0", name=op.f("ck_stop_count_counts_something")),
        sa.ForeignKeyConstraint(
            ["force_code", "month", "first_revision"],
            ["revision.force_code", "revision.month", "revision.number"],
            name=op.f("fk_stop_count_force_code_month_first_revision"),
        ),
        sa.PrimaryKeyConstraint(
            "force_code",
            "month",
            "first_revision",
            "type_code",
            "gender_code",
            "age_range_code",
            "self_defined_ethnicity_code",
            "officer_defined_ethnicity_code",
            "outcome_code",
            name=op.f("pk_stop_count"),
        ),
    )
    op.create_foreign_key(
        op.f("fk_month_release_force_code_month_current_revision"),
        "month_release",
        "revision",
        ["force_code", "month", "current_revision"],
        ["force_code", "month", "number"],
    )
    # Bodies are compressed already: trying again would only cost time.
    op.execute("ALTER TABLE published_body ALTER COLUMN compressed SET STORAGE EXTERNAL")
    op.execute(STOP_IN_WORDS)
    op.execute(STOP_STREET)


def downgrade() -> None:
    op.execute("DROP VIEW stop_street")
    op.execute("DROP VIEW stop_in_words")
    op.drop_constraint(op.f("fk_month_release_force_code_month_current_revision"), "month_release")
    op.drop_table("stop_count")
    op.drop_index("uq_stop_id_withdrawn_revision", table_name="stop", postgresql_nulls_not_distinct=True)
    op.drop_index(op.f("ix_stop_latitude_longitude"), table_name="stop")
    op.drop_index(op.f("ix_stop_force_code_datetime_id"), table_name="stop")
    op.drop_index(op.f("ix_stop_datetime_id"), table_name="stop")
    op.drop_table("stop")
    op.drop_table("dead_letter")
    op.drop_index(
        "uq_revision_current",
        table_name="revision",
        postgresql_where=sa.text("standing = 'served' AND served_until IS NULL"),
    )
    op.drop_index(op.f("ix_revision_served_from"), table_name="revision")
    op.drop_table("revision")
    op.drop_table("population")
    op.drop_table("month_release")
    op.drop_index(op.f("ix_ingest_run_force_code_month"), table_name="ingest_run")
    op.drop_index(op.f("ix_ingest_run_batch_id"), table_name="ingest_run")
    op.drop_table("ingest_run")
    op.drop_table("vocabulary")
    op.drop_index(op.f("ix_street_latitude_longitude"), table_name="street")
    op.drop_table("street")
    op.drop_table("published_body")
    op.drop_table("operation_name")
    op.drop_table("listing")
    op.drop_table("ingest_batch")
    op.drop_table("force")
    op.drop_table("call_budget")
