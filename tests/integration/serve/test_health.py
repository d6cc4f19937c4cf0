"""
Probes tell a server that lives from one that can answer, and cost the database next to nothing.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from builders.ingests import settings_for
from builders.valkey import running_valkey
from stopsearch.clean.clean_stops import RULES_VERSION
from stopsearch.serve import readiness
from stopsearch.serve.answer_cache import AnswerCache
from stopsearch.serve.limits import edge_around
from stopsearch.serve.problems import handle_errors
from stopsearch.serve.routes import health
from stopsearch.store.database import Database, outside_database
from stopsearch.store.migrate import newest_revision

pytestmark = pytest.mark.integration


class Probed:
    """
    A server with nothing but its probes, over a database in whatever state.
    """

    def __init__(self, stack: ExitStack, database: Database, **settings: Any) -> None:
        given = settings_for(**settings)
        app = FastAPI()
        handle_errors(app)
        app.include_router(health.router)
        app.state.database, app.state.settings = database, given
        app.state.answers = AnswerCache(given)
        app.state.runner = None
        self.state = app.state
        self._client = stack.enter_context(TestClient(edge_around(app, given), raise_server_exceptions=False))

    def get(self, path: str = "/health/ready") -> tuple[int, dict[str, Any]]:
        """
        Ask one probe.
        """
        answer = self._client.get(path)
        assert answer.headers["cache-control"] == "no-store"
        return answer.status_code, answer.json()

    def look_again(self) -> tuple[int, dict[str, Any]]:
        """
        Ask as if a second had passed.
        """
        if hasattr(self.state, "readiness"):
            del self.state.readiness
        return self.get()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def test_a_server_that_can_answer_says_so(stack: ExitStack, database: Database) -> None:
    probed = Probed(stack, database)
    assert probed.get() == (
        200,
        {
            "status": "ready",
            "checks": {
                "database": "ready",
                "migrations": newest_revision(),
                "reads_as": "stopsearch_reader",
                "redis": "off",
                "ingestions": "running",
            },
        },
    )


def test_the_process_lives_whatever_the_database_does(stack: ExitStack, free_port: int) -> None:
    away = outside_database(f"postgresql://someone:a-password@127.0.0.1:{free_port}/nothing")
    probed = Probed(stack, away)
    assert probed.get("/health/live") == (200, {"status": "live"})
    assert probed.get("/version")[0] == 200
    status, problem = probed.get()
    assert (status, problem["type"]) == (503, "/problems/store_unavailable")
    assert not {"a-password", "127.0.0.1", str(free_port)} & set(str(problem).split())
    assert "a-password" not in str(problem)


@pytest.fixture
def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_a_database_without_its_tables_is_not_ready(stack: ExitStack, blank_database: Database) -> None:
    status, problem = Probed(stack, blank_database).get()
    assert (status, problem["type"]) == (503, "/problems/schema_out_of_date")
    assert "none" in problem["detail"]


@pytest.mark.parametrize("found", ["0001", "9999"])
def test_a_database_at_another_migration_is_not_ready(stack: ExitStack, database: Database, found: str) -> None:
    probed = Probed(stack, database)
    with database.connect(autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = %s", [found])
    status, problem = probed.get()
    assert (status, problem["type"]) == (503, "/problems/schema_out_of_date")
    assert found in problem["detail"]
    assert newest_revision() in problem["detail"]


def test_a_database_that_hangs_is_not_waited_for(
    stack: ExitStack, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "_PATIENCE_S", 0.5)
    with database.connect() as connection:
        connection.execute("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE")
        assert Probed(stack, database).get()[0] == 503
    assert Probed(stack, database).get()[0] == 200


def test_redis_away_is_no_reason_to_be_taken_away(stack: ExitStack, database: Database, tmp_path: Path) -> None:
    with running_valkey(tmp_path) as valkey:
        probed = Probed(stack, database, redis_url=valkey.url)
        status, told = probed.get()
        assert (status, told["status"], told["checks"]["redis"]) == (200, "ready", "ready")
        valkey.kill()
        status, told = probed.look_again()
        assert (status, told["status"], told["checks"]["redis"]) == (200, "degraded", "away")


def test_a_runner_that_has_stopped_is_told(stack: ExitStack, database: Database) -> None:
    class Stopped:
        is_running = False

    probed = Probed(stack, database)
    probed.state.runner = Stopped()
    status, told = probed.get()
    assert (status, told["status"], told["checks"]["ingestions"]) == (200, "degraded", "stopped")


def test_probes_do_not_load_the_database(stack: ExitStack, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    probed = Probed(stack, database)
    looks = 0
    look = readiness.Readiness._look

    async def counted(self: readiness.Readiness) -> Any:
        nonlocal looks
        looks += 1
        return await look(self)

    monkeypatch.setattr(readiness.Readiness, "_look", counted)
    monkeypatch.setattr(readiness, "_FRESH_S", 60)
    with ThreadPoolExecutor(8) as threads:
        assert {status for status, _ in threads.map(lambda _: probed.get(), range(40))} == {200}
    assert looks == 1
    monkeypatch.setattr(readiness, "_FRESH_S", 0)
    probed.get()
    assert looks == 2


def test_what_was_seen_holds_for_a_second_at_most() -> None:
    assert readiness._FRESH_S <= 1


def test_probes_need_no_token_and_have_no_limit(stack: ExitStack, database: Database) -> None:
    probed = Probed(stack, database, client_requests_per_s=0.1, client_burst=1, api_token="a-token-of-the-tests")
    for path in ("/health/live", "/health/ready", "/version"):
        assert {probed.get(path)[0] for _ in range(5)} == {200}


def test_the_version_names_everything_that_answers_go_by(stack: ExitStack, database: Database) -> None:
    _, told = Probed(stack, database).get("/version")
    assert set(told) == {"software", "migrations", "identity", "rules", "snapshot", "python"}
    assert told["migrations"] == newest_revision()
    assert told["rules"] == RULES_VERSION


def test_the_application_has_its_probes(api: TestClient) -> None:
    assert api.get("/health/ready").json()["status"] == "ready"
    assert api.get("/health/live").json() == {"status": "live"}
    assert api.head("/health/live").status_code == 200
