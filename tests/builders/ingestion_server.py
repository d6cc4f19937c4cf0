"""
A small server of the routes that start and watch batches, on a loopback port, and a client that has its token.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
from fastapi import FastAPI
from psycopg import Connection

from stopsearch.flows.dispatch import Dispatch
from stopsearch.serve.ingestion_runner import IngestionRunner
from stopsearch.serve.problems import handle_errors
from stopsearch.serve.routes.ingestions import router
from stopsearch.settings import Settings
from stopsearch.standin.serve import serving_in_thread
from stopsearch.store.database import Database

TOKEN = "a token for the tests alone"
ENDED = ("finished", "finished_with_failures", "cancelled")
_PATIENCE_S = 60.0


@dataclass(frozen=True, kw_only=True)
class IngestionServer:
    """
    A server that answers, and its client.
    """

    client: httpx2.Client
    runner: IngestionRunner
    app: FastAPI

    def post(self, path: str = "/v1/ingestions", **body: Any) -> dict[str, Any]:
        """
        Ask for a batch, see that it is taken on, and give it.
        """
        answer = self.client.post(path, json=body)
        assert answer.status_code == 202, answer.text
        assert answer.headers["location"] == answer.json()["data"]["links"]["self"]
        return dict(answer.json()["data"])

    def get(self, path: str) -> Any:
        """
        Ask, and give the answer's body.
        """
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def batch(self, batch_id: int) -> dict[str, Any]:
        """
        Look at a batch.
        """
        return dict(self.get(f"/v1/ingestions/{batch_id}")["data"])

    def until(self, batch_id: int, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """
        Look at a batch again and again until something holds of it.
        """
        deadline = time.monotonic() + _PATIENCE_S
        while not holds(found := self.batch(batch_id)):
            assert time.monotonic() < deadline, found
            time.sleep(0.02)
        return found

    def until_ended(self, batch_id: int) -> dict[str, Any]:
        """
        Look at a batch until it has ended.
        """
        return self.until(batch_id, lambda batch: batch["status"] in ENDED)


def server_settings(upstream_url: str = "http://127.0.0.1:9/api", **changes: Any) -> Settings:
    """
    Give settings with a token, that no file and no environment has a say in.
    """
    return Settings(_env_file=None, **{"upstream_url": upstream_url, "api_token": TOKEN, **changes})  # type: ignore[call-arg]  # of pydantic


@contextmanager
def ingestion_server(
    database: Database, settings: Settings, *, is_running: bool = True, dispatch: Dispatch | None = None
) -> Iterator[IngestionServer]:
    """
    Serve the routes until the block ends.

    Args:
        is_running: Whether batches are run; else they stay queued.
        dispatch: What batches are sent to workers by, where there are any.
    """
    app = FastAPI()
    handle_errors(app)
    app.include_router(router)

    def read(question: Callable[[Connection], Any]) -> Any:
        with database.connect(autocommit=True) as connection:
            return question(connection)

    async def reads(question: Callable[[Connection], Any]) -> Any:
        return await asyncio.to_thread(read, question)

    with ExitStack() as stack:
        runner = IngestionRunner(database, settings)
        app.state.database, app.state.settings, app.state.runner, app.state.reads = database, settings, runner, reads
        app.state.dispatch = dispatch
        root = stack.enter_context(serving_in_thread(app))
        if is_running:
            stack.enter_context(runner)
        headers = {"Authorization": f"Bearer {TOKEN}"}
        client = stack.enter_context(httpx2.Client(base_url=root, headers=headers, timeout=20))
        yield IngestionServer(client=client, runner=runner, app=app)
