"""
The web application: its routes, what it holds while it runs, and what stands around it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.types import ASGIApp

from stopsearch.flows.dispatch import Dispatch
from stopsearch.serve.answer_cache import AnswerCache
from stopsearch.serve.answers import SOFTWARE_VERSION
from stopsearch.serve.document import complete_document
from stopsearch.serve.ingestion_runner import IngestionRunner
from stopsearch.serve.limits import edge_around
from stopsearch.serve.pages_first import PagesFirst
from stopsearch.serve.plain_route import PlainRoute
from stopsearch.serve.problems import handle_errors
from stopsearch.serve.reading import Reading
from stopsearch.serve.routes import (
    changes,
    counts,
    coverage,
    dead_letters,
    exports,
    health,
    ingestions,
    rates,
    reference,
    revisions,
    snapshots,
    stops,
)
from stopsearch.serve.routes.docs import add_docs
from stopsearch.settings import Settings
from stopsearch.store.database import Database
from stopsearch.store.server_key import cursor_key

_DESCRIPTION = """
Every stop and search that the police forces of England and Wales and the British Transport Police publish on
data.police.uk: cleaned, checked, and kept with every revision.

* Every answer names its **snapshot**. Ask with `snapshot=` and the same id, and the same figures come back, for ever;
  from the same version of the server, the same bytes.
* `meta.coverage` tells what of the question is held. **A missing month is never zero stops.**
* Records are events, not people; places are snapped to a grid of points; forces follow conventions of their own.
* Errors are problem details (RFC 9457) that name what is wrong and what to do.
"""


_ROUTERS: tuple[APIRouter, ...] = tuple(
    module.router
    for module in (
        stops,
        counts,
        rates,
        coverage,
        snapshots,
        revisions,
        changes,
        reference,
        dead_letters,
        exports,
        ingestions,
        health,
    )
)


class _App(FastAPI):
    settings: Settings

    def build_middleware_stack(self) -> ASGIApp:
        # Around everything, the framework's own answer to a fault included.
        pages = {
            route.path: route.endpoint
            for route in stops.router.routes
            if isinstance(route, PlainRoute) and "{" not in route.path
        }
        first = PagesFirst(super().build_middleware_stack(), self, pages)
        return edge_around(first, self.settings)

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = complete_document(
                super().openapi(), (route for router in _ROUTERS for route in router.routes)
            )
        return self.openapi_schema


def _dispatch(settings: Settings) -> Dispatch | None:
    """
    Give what batches are sent to workers by, where there are any.
    """
    if not settings.is_distributed:
        return None
    from stopsearch.worker.dispatch import CeleryDispatch  # it brings Celery along, which no other server needs

    return CeleryDispatch.from_settings(settings)


def make_app(database: Database, settings: Settings) -> FastAPI:
    """
    Make the application for a database that is ready for use.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with database.connect(autocommit=True) as connection:
            app.state.cursor_key = cursor_key(connection)
        app.state.dispatch = _dispatch(settings)
        app.state.answers = AnswerCache(settings, secret=app.state.cursor_key)
        try:
            async with Reading(database, settings) as reading:
                app.state.reading, app.state.reads = reading, reading.run
                with IngestionRunner(database, settings) as runner:
                    app.state.runner = runner
                    yield
        finally:
            await app.state.answers.close()

    app = _App(
        title="stopsearch",
        version=SOFTWARE_VERSION,
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # our own, which asks no other server for its script
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,  # as which clients that are made from it call it
        redirect_slashes=False,  # a redirect would lead to whatever host the request names
        license_info={"name": "MIT (software); the data: Open Government Licence v3.0"},
        openapi_tags=[
            {"name": "stops", "description": "The records, and the history of each."},
            {"name": "totals", "description": "Counts and rates."},
            {"name": "data", "description": "What is held, how good it is, and how it changed."},
            {"name": "exports", "description": "Whole files."},
            {"name": "ingestions", "description": "Bringing data in. These need the server's token."},
            {"name": "server", "description": "How the server is."},
        ],
    )
    app.settings = settings
    app.state.database, app.state.settings = database, settings
    handle_errors(app)
    add_docs(app)
    for router in _ROUTERS:
        app.include_router(router)
    return app
