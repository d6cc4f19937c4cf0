"""
How requests read: through a role that can only read, from the snapshot of now, and again after the database was away.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from starlette.testclient import TestClient

from builders.archives import csv_of, csv_rows, sample_month
from builders.ingests import bring_in, edition
from stopsearch.domain.errors import QueryTooSlow
from stopsearch.store.database import Database

pytestmark = pytest.mark.integration

LATER = csv_rows(sample_month("durham", "2020-01"))


def end_connections(database: Database, names: str) -> None:
    """
    End the server's connections, as a restart of PostgreSQL does.
    """
    with database.connect(autocommit=True) as connection:
        connection.execute(
            """
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE %s
            """,
            [names],
        )


def test_the_same_new_snapshot_is_found_by_all_who_ask_at_once(own_stocked: Database, make_api: Any) -> None:
    api: TestClient = make_api(own_stocked)
    for count in (50, 60, 70):
        bring_in(own_stocked, edition(csv_of(LATER[:count]), month="2020-01", published="2023-01"))
        with ThreadPoolExecutor(8) as pool:
            found = set(pool.map(lambda _: api.get("/v1/forces").headers["stopsearch-snapshot"], range(16)))
        assert len(found) == 1
        [snapshot] = found
        page = api.get("/v1/stops?force=durham&from=2020-01&to=2020-01&total=true&limit=1").json()
        assert (page["meta"]["snapshot"]["id"], page["meta"]["total"]["stops"]) == (snapshot, count)


def test_a_lost_connection_is_made_anew_and_no_request_is_lost(own_stocked: Database, make_api: Any) -> None:
    api: TestClient = make_api(own_stocked)
    before = api.get("/v1/counts").json()["data"]
    for _ in range(3):
        end_connections(own_stocked, "stopsearch%")
        answers = [api.get("/v1/counts"), api.get("/v1/stops?limit=3"), api.get("/v1/counts?by=hour")]
        answers += [api.get("/v1/counts")]
        assert [answer.status_code for answer in answers] == [200] * 4
        assert answers[-1].json()["data"] == before


def test_a_question_that_takes_too_long_is_told_so_and_frees_its_connection(
    own_stocked: Database, make_api: Any
) -> None:
    api: TestClient = make_api(own_stocked, statement_timeout_s=0.4, read_connections=1)
    reading = api.app.state.reading  # type: ignore[attr-defined]  # of FastAPI

    for _ in range(3):
        with pytest.raises(QueryTooSlow, match=r"0\.4 s"):
            api.portal.call(reading.run, lambda connection: connection.execute("SELECT pg_sleep(30)"))  # type: ignore[union-attr]
    with own_stocked.connect() as connection:
        [(active,)] = connection.execute(
            """
            SELECT count(*) FROM pg_stat_activity
            WHERE state = 'active' AND pid <> pg_backend_pid() AND datname = current_database()
            """
        ).fetchall()
    assert active == 0
    assert api.get("/v1/forces").status_code == 200


def test_what_is_served_is_read_by_a_role_that_can_not_write(own_stocked: Database, make_api: Any) -> None:
    api: TestClient = make_api(own_stocked)
    reading = api.app.state.reading  # type: ignore[attr-defined]  # of FastAPI

    def try_to_write(connection: Any) -> tuple[str, str]:
        [(user,)] = connection.execute("SELECT current_user").fetchall()
        try:
            connection.execute("DELETE FROM stop")
        except Exception as error:  # whatever it is, its name is looked at
            return user, type(error).__name__
        return user, "written"

    user, trouble = api.portal.call(reading.run, try_to_write)  # type: ignore[union-attr]  # it is entered
    assert trouble in ("InsufficientPrivilege", "ReadOnlySqlTransaction")
    assert user == "stopsearch_reader"
