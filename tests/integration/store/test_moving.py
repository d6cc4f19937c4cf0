"""
An embedded database moves to another server and back; where the tests run on an outside server, to its major version.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.ingests import bring_in, edition, settings_for
from builders.source_bodies import api_record
from builders.store_state import breaches_of, content_of
from stopsearch.store.database import Database, open_database
from stopsearch.store.dumps import dump, restore
from stopsearch.store.migrate import migrate

pytestmark = pytest.mark.integration


def test_an_embedded_database_moves_to_another_server_and_back(blank_database: Database, tmp_path: Path) -> None:
    with open_database(settings_for(data_dir=tmp_path / "first")) as first:
        migrate(first.engine)
        bring_in(first, edition([api_record(), api_record(gender="?")]), edition([api_record(gender=None)]))
        held = content_of(first)
        dump(first, tmp_path / "there.dump")
    restore(blank_database, tmp_path / "there.dump")
    assert migrate(blank_database.engine)
    assert content_of(blank_database) == held
    dump(blank_database, tmp_path / "back.dump")
    with open_database(settings_for(data_dir=tmp_path / "second")) as second:
        restore(second, tmp_path / "back.dump")
        migrate(second.engine)
        assert content_of(second) == held
        assert breaches_of(second) == {}
