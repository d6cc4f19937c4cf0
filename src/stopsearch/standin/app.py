"""
The stand-in's routes: the publisher's API and its archive, with the habits that were recorded or probed.
"""

from __future__ import annotations

from collections.abc import Callable

from anyio import to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from stopsearch.domain.errors import BadMonth
from stopsearch.domain.forces import FORCE_NAMES
from stopsearch.domain.months import Month
from stopsearch.standin.answers import PlainResponse, empty_answer, json_answer, json_value
from stopsearch.standin.area import Area, located_in, without_location
from stopsearch.standin.control import control_routes
from stopsearch.standin.encoded import EMPTY, Encoded
from stopsearch.standin.faults import Faults
from stopsearch.standin.gate import Gate
from stopsearch.standin.limit import LeakyBuckets, Limit
from stopsearch.standin.publication import Publication
from stopsearch.standin.stats import Stats

# The publisher's own list: btp is not in it, though it publishes stops (probed 2026-10-01).
LISTED_FORCES = [{"id": id_, "name": name} for id_, name in FORCE_NAMES.items() if id_ != "btp"]
_LISTED_IDS = {force["id"] for force in LISTED_FORCES}


def create_app(
    publication: Publication,
    *,
    limit: Limit | None = None,
    faults: Faults | None = None,
    stats: Stats | None = None,
    latency_s: float = 0.0,
) -> ASGIApp:
    """
    Build the stand-in.

    Args:
        publication: What is published.
        limit: The rate limit of `/api`, by client address; none: no limit.
        faults: What goes wrong, on order.
        stats: Where requests are recorded.
        latency_s: Seconds that every answer of `/api` takes at least.
    """
    faults, stats = faults or Faults(), stats or Stats()
    api = Api(publication)
    routes = [
        Route("/api/stops-force", api.stops_force),
        Route("/api/stops-no-location", api.stops_no_location),
        Route("/api/stops-street", api.stops_street),
        Route("/api/crimes-street-dates", api.street_dates),
        Route("/api/crime-last-updated", api.last_updated),
        Route("/api/forces", api.forces),
        Route("/api/forces/{force}", api.force),
        Route("/data/archive/latest.zip", api.latest_archive),
        Route("/data/archive/{name}.zip", api.archive),
        Route("/policeuk-data/archive/{name}.zip", api.archive_file),
        *control_routes(publication, faults, stats),
    ]
    app = Starlette(routes=routes, exception_handlers={404: _not_found, 405: _not_found})
    return Gate(
        app,
        faults=faults,
        stats=stats,
        buckets=LeakyBuckets(limit) if limit else None,
        latency_s=latency_s,
    )


class Api:
    """
    One method a route.
    """

    def __init__(self, publication: Publication) -> None:
        self._publication = publication

    async def stops_force(self, request: Request) -> Response:
        """
        Answer every stop of one force and month, those without location too.
        """
        force = request.query_params.get("force")
        if not force:
            return empty_answer(400)
        # A month before the window is a 502 here and a 404 elsewhere (probed 2026-10-01). What a malformed date
        # gives here is not known; it is taken to be as elsewhere.
        month = self._asked_month(request, before_window=502)
        if isinstance(month, Response):
            return month
        return json_answer(request, await self._answer(force, month))

    async def stops_no_location(self, request: Request) -> Response:
        """
        Answer the stops of one force and month that have no location: some of those above, in the same order.
        """
        force = request.query_params.get("force")
        if not force:
            return empty_answer(400)
        month = self._asked_month(request, before_window=404)
        if isinstance(month, Response):
            return month
        answer = await self._answer(force, month)
        return json_answer(request, await to_thread.run_sync(without_location, answer))

    async def stops_street(self, request: Request) -> Response:
        """
        Answer the located stops of every force within a mile of a point, or in a polygon.
        """
        month = self._asked_month(request, before_window=404)
        if isinstance(month, Response):
            return month
        try:
            area = Area.of(request.query_params)
        except ValueError:
            return empty_answer(400 if "poly" not in request.query_params else 404)
        forces = [force for listed, names in self._publication.listing() if listed == month for force in names]
        answers = [await self._answer(force, month) for force in forces]
        return json_answer(request, await to_thread.run_sync(located_in, area, answers))

    async def street_dates(self, request: Request) -> Response:
        """
        Answer which forces published stops for each month of the window, newest first.
        """
        listing = self._publication.listing()
        return json_value(request, [{"date": str(month), "stop-and-search": forces} for month, forces in listing])

    async def last_updated(self, request: Request) -> Response:
        """
        Answer the first day of the newest month.
        """
        newest = self._publication.newest
        return json_value(request, {"date": f"{newest}-01"}) if newest else empty_answer(404)

    async def forces(self, request: Request) -> Response:
        """
        Answer the publisher's list of forces.
        """
        return json_value(request, LISTED_FORCES)

    async def force(self, request: Request) -> Response:
        """
        Answer what is told of one force; an unknown id is the one error with words in its body.
        """
        force = request.path_params["force"]
        if force not in _LISTED_IDS:
            return PlainResponse(b"Not Found", status=404, content_type="text/plain")
        return json_value(
            request,
            {
                "description": None,
                "url": f"https://www.{force}.police.uk/",
                "engagement_methods": [],
                "telephone": "101",
                "id": force,
                "name": FORCE_NAMES[force],
            },
        )

    async def latest_archive(self, request: Request) -> Response:
        """
        Send the client to the newest archive.
        """
        archives = self._publication.catalogue.archives
        return _redirect(request, f"{max(archives)}.zip") if archives else empty_answer(404)

    async def archive(self, request: Request) -> Response:
        """
        Send the client to an archive where it is kept, as the publisher sends it to a bucket elsewhere.
        """
        return _redirect(request, f"{request.path_params['name']}.zip")

    async def archive_file(self, request: Request) -> Response:
        """
        Answer an archive, or the range of it that was asked for.
        """
        name = request.path_params["name"]
        archives = {str(month): path for month, path in self._publication.catalogue.archives.items()}
        if name not in archives:
            return empty_answer(404)
        return FileResponse(archives[name], media_type="application/zip")

    async def _answer(self, force: str, month: Month) -> Encoded:
        newest = self._publication.newest
        if newest is None or month > newest:
            return EMPTY
        answer: Callable[[str, Month], Encoded] = self._publication.answer
        if self._publication.is_ready(force, month):
            return answer(force, month)
        return await to_thread.run_sync(answer, force, month)

    def _asked_month(self, request: Request, *, before_window: int) -> Month | Response:
        text = request.query_params.get("date")
        newest, oldest = self._publication.newest, self._publication.oldest
        if newest is None or oldest is None:
            return empty_answer(before_window)
        # Without `date`, or with its name misspelled, the newest month of any force is meant, even if this force
        # has nothing in it (documented and probed).
        if text is None:
            return newest
        try:
            month = Month.parse(text)
        except BadMonth:
            return empty_answer(404)
        return month if month >= oldest else empty_answer(before_window)


def _redirect(request: Request, name: str) -> Response:
    return RedirectResponse(request.url.replace(path=f"/policeuk-data/archive/{name}", query=""), status_code=302)


async def _not_found(_: Request, error: Exception) -> Response:
    return empty_answer(getattr(error, "status_code", 404))
