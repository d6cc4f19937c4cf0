"""
What a process of a worker does where its database is of no use to it.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from psycopg.conninfo import conninfo_to_dict
from structlog.testing import capture_logs

from builders.ingests import settings_for
from stopsearch.domain.months import Month
from stopsearch.settings import Settings
from stopsearch.store.database import Database
from stopsearch.worker import workshop as workshop_module
from stopsearch.worker.app import make_celery
from stopsearch.worker.workshop import Workshop

pytestmark = pytest.mark.integration


@pytest.fixture
def told_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A worker that is told to end, so that it waits for nothing.
    """
    monkeypatch.setattr(workshop_module, "is_stopping", lambda: True)


def settings_on(database_url: str) -> Settings:
    return settings_for(database_url=database_url, broker_url="amqp://guest:guest@127.0.0.1:9//")


def kept_its_task(database_url: str) -> bool:
    """
    Tell whether a worker on a database waited with its task in hand, until it was told to end.
    """
    settings = settings_on(database_url)
    shop = Workshop(make_celery(settings), settings)
    with capture_logs() as logs:
        end = shop.bring_in(1, "kent", Month(2023, 7))
    shop.close()
    return end is None and [line["event"] for line in logs] == ["store_away"]


@pytest.mark.usefixtures("told_to_end")
def test_tables_of_another_version_are_waited_for_and_use_no_task_up(database: Database, database_url: str) -> None:
    with database.connect(autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    assert kept_its_task(database_url)


@pytest.mark.usefixtures("told_to_end")
def test_a_database_that_refuses_this_worker_is_waited_for(database_url: str) -> None:
    name = conninfo_to_dict(database_url)["dbname"]
    assert kept_its_task(database_url.replace(f"/{name}", f"/{name}_gone_{datetime.now(UTC):%f}"))
