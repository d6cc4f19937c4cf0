"""
What the data is made of: forces, words, and the quality of each force-month.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from psycopg import Connection

from stopsearch.domain.months import Month
from stopsearch.flows.forces import force_summaries
from stopsearch.flows.quality import month_quality
from stopsearch.flows.vocabulary import vocabulary
from stopsearch.serve.answers import Made, answer_of_snapshot
from stopsearch.serve.parameters import CURSOR, MOMENT, MONTHS, Asked, limit, openapi_parameters
from stopsearch.serve.places import next_page, place_asked
from stopsearch.serve.problems import PROBLEMS
from stopsearch.store.snapshots import Snapshot

_MONTHS_A_PAGE, _MOST_MONTHS = 100, 500
_OF_QUALITY = (*MONTHS, limit(most=_MOST_MONTHS, default=_MONTHS_A_PAGE), CURSOR, *MOMENT)

_EXAMPLE_OF_FORCES = {
    "data": [
        {
            "id": "durham",
            "name": "Durham Constabulary",
            "first_held": "2019-01",
            "last_held": "2020-12",
            "held": 18,
            "missing": 54,
            "missing_by_state": {"not_listed": 54},
            "doubtful": 0,
            "stops": 3322,
            "residents": {"2011": 618806, "2021": 629863},
            "no_residents_because": None,
        }
    ],
    "next": None,
}
_EXAMPLE_OF_VOCABULARY = {
    "data": [
        {
            "field": "officer_defined_ethnicity",
            "group_field": "officer_defined_ethnic_group",
            "labels": [{"label": "White", "group": "White"}, {"label": "Black", "group": "Black"}],
            "groups": ["White", "Black"],
            "not_given": "none",
        }
    ],
    "next": None,
}
_EXAMPLE_OF_QUALITY = {
    "data": [
        {
            "force": "durham",
            "month": "2020-02",
            "revision": 2,
            "flags": ["restated"],
            "received": 135,
            "stored": 135,
            "rejected": {"count": 0, "of": 135, "share": 0.0},
            "rejected_by_rule": {},
            "mended_by_rule": {},
            "not_given": {
                "gender": {"count": 23, "of": 135, "share": 0.17037},
                "outcome": {"count": 3, "of": 135, "share": 0.022222},
            },
            "at_local_midnight": {"count": 0, "of": 135, "share": 0.0},
            "repeats": {"count": 4, "of": 135, "share": 0.02963},
            "dated_outside_month": {"count": 0, "of": 135, "share": 0.0},
            "far_from_force": {"count": 0, "of": 135, "share": 0.0},
            "unknown_keys": {},
            "volume": {"stops": 135, "other_months": 17, "median_of_others": 179.0, "ratio": 0.7542},
        }
    ],
    "next": None,
}

router = APIRouter(prefix="/v1", tags=["data"], dependencies=[])


@router.get(
    "/forces",
    summary="Police forces, and what is held of each",
    openapi_extra={"parameters": openapi_parameters(MOMENT)},
    responses={
        200: {"description": "One object a force.", "content": {"application/json": {"example": _EXAMPLE_OF_FORCES}}},
        **PROBLEMS,
    },
)
async def get_forces(request: Request) -> Response:
    """
    Give every force that the snapshot knows of, by id.

    `held` and `missing` count the months between the first and the last that the snapshot knows of, of all forces.
    `stops` is null where nothing is held, which is not zero stops. `residents` are those of the force's area by census
    year; a force without any (`btp`) says why, and has no rates.
    """
    return await answer_of_snapshot(
        request, MOMENT, lambda _, snapshot, __: Made(data=[force.as_json() for force in force_summaries(snapshot)])
    )


@router.get(
    "/vocabulary",
    summary="The words that fields are given in",
    openapi_extra={"parameters": openapi_parameters(MOMENT)},
    responses={
        200: {
            "description": "One object a field with a closed list of values.",
            "content": {"application/json": {"example": _EXAMPLE_OF_VOCABULARY}},
        },
        **PROBLEMS,
    },
)
async def get_vocabulary(request: Request) -> Response:
    """
    Give the labels of each field in the publisher's words, and the broad group of each.

    Filters take these labels exactly, and `none` for stops without one. "Not stated" is no ethnic group: its group is
    null, and such stops count as of unknown ethnicity. The lists are those of this version of the server.
    """
    return await answer_of_snapshot(request, MOMENT, lambda *_: Made(data=vocabulary()))


@router.get(
    "/quality",
    summary="The quality of each force-month, in parts",
    openapi_extra={"parameters": openapi_parameters(_OF_QUALITY)},
    responses={
        200: {
            "description": "One object a force-month that is held.",
            "content": {"application/json": {"example": _EXAMPLE_OF_QUALITY}},
        },
        **PROBLEMS,
    },
)
async def get_quality(request: Request) -> Response:
    """
    Give what is odd or lacking in each force-month that the snapshot holds, by force and month.

    A part is a `count`, `of` how many records or stops that could have it, and their `share`. There is no single score:
    what matters depends on the question. `volume.ratio` is the month's stops to the median of the force's other months
    in the same snapshot: far from 1, either policing changed or a part of the month is lacking. What the rules mended
    or rejected is counted by rule; a record counts under each rule that it broke.
    """

    def make(connection: Connection, snapshot: Snapshot, asked: Asked) -> Made:
        place = place_asked(request, asked, snapshot)
        length = asked.get("limit", _MONTHS_A_PAGE)
        found = month_quality(
            connection,
            snapshot,
            asked.filter,
            after=(place[0], Month.parse(place[1])) if place else None,
            limit=length + 1,
        )
        page = found[:length]
        further = None
        if len(found) > length:
            further = next_page(request, asked, snapshot, page[-1].force, str(page[-1].month))
        return Made(data=[month.as_json() for month in page], next=further)

    return await answer_of_snapshot(request, _OF_QUALITY, make)
