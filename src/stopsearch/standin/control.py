"""
The control requests under `/_standin`: orders for faults and for what is published, and the counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stopsearch.domain.errors import RequestError
from stopsearch.standin.answers import PlainResponse
from stopsearch.standin.faults import Faults
from stopsearch.standin.gate import CONTROL
from stopsearch.standin.publication import Publication
from stopsearch.standin.stats import Stats

FAULT_ORDERS = ("storm", "fail", "slow", "hang", "drop", "cut_off", "truncate", "html")
PUBLICATION_ORDERS = (
    "hide", "release", "unlist", "list_also", "empty", "replace", "change", "reorder", "restore"
)  # fmt: skip


def control_routes(publication: Publication, faults: Faults, stats: Stats) -> list[Route]:
    """
    Give the routes: GET, POST and DELETE of `faults`, POST and DELETE of `publication`, GET and DELETE of `stats`.

    A POST carries a JSON object: `order`, the name of a method of `Faults` or `Publication`, and its arguments.
    """

    async def faults_route(request: Request) -> Response:
        if request.method == "DELETE":
            faults.clear()
        elif request.method == "POST":
            return await _obey(request, {name: getattr(faults, name) for name in FAULT_ORDERS})
        return _json([asdict(order) for order in faults.orders])

    async def publication_route(request: Request) -> Response:
        if request.method == "DELETE":
            publication.reset()
        elif request.method == "POST":
            return await _obey(request, {name: getattr(publication, name) for name in PUBLICATION_ORDERS})
        return _json({str(month): forces for month, forces in publication.listing()})

    async def stats_route(request: Request) -> Response:
        if request.method == "DELETE":
            stats.reset()
        return _json(stats.summary())

    return [
        Route(f"{CONTROL}/faults", faults_route, methods=["GET", "POST", "DELETE"]),
        Route(f"{CONTROL}/publication", publication_route, methods=["GET", "POST", "DELETE"]),
        Route(f"{CONTROL}/stats", stats_route, methods=["GET", "DELETE"]),
    ]


async def _obey(request: Request, orders: dict[str, Callable[..., object]]) -> Response:
    # A web page that a developer has open can send plain text to this machine, but not JSON declared as such.
    if request.headers.get("content-type") != "application/json":
        return _json({"message": "Send the order as application/json."}, status=415)
    try:
        arguments = msgspec.json.decode(await request.body(), type=dict[str, Any])
        order = orders[arguments.pop("order", "")]
        order(**arguments)
    except KeyError:
        return _json({"message": f"The order is none of {', '.join(orders)}."}, status=422)
    except (TypeError, msgspec.MsgspecError, RequestError) as error:
        return _json({"message": f"The order cannot be followed: {error}"}, status=422)
    return _json({"message": "Done."})


def _json(value: object, *, status: int = 200) -> Response:
    return PlainResponse(msgspec.json.encode(value), status=status, content_type="application/json")
