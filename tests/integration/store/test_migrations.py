"""
Models and migrations agree, and migrating is safe to repeat.
"""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from stopsearch.domain.errors import SchemaOutOfDate
from stopsearch.domain.vocabulary import VOCABULARY
from stopsearch.store.database import Database
from stopsearch.store.migrate import check_models, migrate, newest_revision, require_schema, schema_revision

pytestmark = pytest.mark.integration


def test_models_and_migrations_agree(database: Database) -> None:
    check_models(database.engine)


def test_migrating_again_changes_nothing(database: Database) -> None:
    assert migrate(database.engine) == migrate(database.engine) == newest_revision()


def test_every_label_is_in_the_vocabulary_with_its_code(database: Database) -> None:
    with database.connect() as connection:
        stored = {
            (field, code, label, group)
            for field, code, label, group in connection.execute(
                "SELECT field, code, label, label_group FROM vocabulary"
            )
        }
    assert stored == {
        (field, label.code, label.text, label.group) for field, labels in VOCABULARY.items() for label in labels
    }


def test_an_older_schema_is_named_with_its_remedy(database: Database) -> None:
    with database.engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0000'"))
    assert schema_revision(database.engine) == "0000"
    with pytest.raises(SchemaOutOfDate, match="stopsearch db migrate"):
        require_schema(database.engine)
