"""
Revisions of force-months, and what changed between two of one.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from psycopg import Connection

from stopsearch.domain.filters import StopFilter
from stopsearch.domain.months import Month
from stopsearch.domain.states import Cause, Standing
from stopsearch.flows.arrivals import arrival_json, list_arrivals, served_number
from stopsearch.flows.covered import covered
from stopsearch.flows.revision_diffs import diff_page
from stopsearch.serve.answers import Made, answer_of_snapshot
from stopsearch.serve.live_answers import answer_now, live
from stopsearch.serve.parameters import (
    CURSOR,
    MOMENT,
    MONTHS,
    Asked,
    Parameter,
    choice,
    flag,
    limit,
    openapi_parameters,
)
from stopsearch.serve.places import next_page, place_asked
from stopsearch.serve.problems import PROBLEMS, PROBLEMS_OF_ONE
from stopsearch.serve.since import SINCE, asked_since
from stopsearch.serve.values import IN_DIGITS, whole_number
from stopsearch.store.arrivals import Arrival
from stopsearch.store.snapshots import Snapshot

_REVISIONS, _MOST_REVISIONS = 100, 1000
_STOPS, _MOST_STOPS = 100, 1000
_HIGHEST_NUMBER = 32_767

_OF_LIST = (
    *MONTHS,
    choice("cause", [each.value for each in Cause], "Only revisions made for these reasons.", is_repeatable=True),
    choice(
        "standing",
        [each.value for each in Standing],
        "served: what readers saw at some time; historic: an edition older than the current one that arrived late, and "
        "was never served.",
        is_repeatable=True,
    ),
    SINCE,
    flag("only_changes", "Leave out the first revision of each force-month."),
    choice("sort", ("-arrival", "arrival"), "-arrival (default): the newest first; arrival: the oldest first."),
    limit(most=_MOST_REVISIONS, default=_REVISIONS),
    CURSOR,
    *MOMENT,
    live("which revisions there are"),
)
_OF_DIFF = (
    Parameter(
        name="against",
        read=whole_number(1, _HIGHEST_NUMBER),
        schema={"type": "integer", "minimum": 1, "maximum": _HIGHEST_NUMBER},
        description="The revision to compare with. Without it: the one that was served before.",
    ),
    limit(most=_MOST_STOPS, default=_STOPS),
    CURSOR,
    *MOMENT,
)
EXAMPLE_REVISION: dict[str, Any] = {
    "force": "durham",
    "month": "2020-02",
    "revision": 2,
    "cause": "upstream",
    "standing": "served",
    "is_served": True,
    "served_from": "2026-11-24T22:41:40.319967+00:00",
    "served_until": None,
    "source": "archive",
    "origin": "2021-11.zip!2020-02/2020-02-durham-stop-and-search.csv",
    "published_at": "2021-11-30T23:59:59+00:00",
    "fetched_at": "2026-11-24T22:41:36.384835+00:00",
    "received": 135,
    "stored": 135,
    "rejected": 0,
    "added": 85,
    "withdrawn": 85,
    "flags": ["restated"],
    "mended_by_rule": {},
    "rejected_by_rule": {},
    "content_digest": "ff2da5b34d6950fec25c97756b9c7e900299d91f526e3599f8c79ff5e4b9b6d2",
    "body_digest": "fe6c1f47b6c304c2157e7fb737cd2ab969b5cd89f614593cf1adf73436cb6c9e",
    "identity_version": 1,
    "rules_version": 1,
}
EXAMPLE_CHANGE: dict[str, Any] = {
    "change": "added",
    "stop": {
        "id": "5eb1ec91-003d-8610-b6c4-9fd13b3cd4cd",
        "force": "durham",
        "month": "2020-02",
        "type": "Person search",
        "datetime": "2020-02-22T19:55:36+00:00",
        "local_date": "2020-02-22",
        "operation": None,
        "operation_name": None,
        "latitude": 54.533454,
        "longitude": -1.553037,
        "gender": "Female",
        "age_range": "25-34",
        "self_defined_ethnicity": "White - English/Welsh/Scottish/Northern Irish/British",
        "self_defined_ethnic_group": "White",
        "officer_defined_ethnicity": "White",
        "officer_defined_ethnic_group": "White",
        "legislation": "Misuse of Drugs Act 1971 (section 23)",
        "object_of_search": "Controlled drugs",
        "outcome": "A no further action disposal",
        "outcome_group": "No further action",
        "outcome_linked_to_object_of_search": False,
        "removal_of_more_than_outer_clothing": False,
        "is_far_from_force": False,
        "is_month_doubled": False,
        "is_month_date_only": False,
    },
}
_EXAMPLE_DIFF = {
    "data": {
        "force": "durham",
        "month": "2020-02",
        "revision": 2,
        "against": 1,
        "added": 85,
        "withdrawn": 85,
        "kept": 50,
        "changed_pairs": 85,
        "changed_by_field": [
            {
                "field": "outcome",
                "records": 85,
                "values": [{"before": None, "after": "A no further action disposal", "records": 85}],
            }
        ],
        "remade_by_field": [],
        "read_by_todays_rules": [],
        "stops": [EXAMPLE_CHANGE],
    },
    "next": None,
}

router = APIRouter(prefix="/v1", tags=["data"], dependencies=[])


@router.get(
    "/revisions",
    summary="Revisions of force-months",
    openapi_extra={"parameters": openapi_parameters(_OF_LIST)},
    responses={
        200: {
            "description": "One object a revision, in the order of their arrival.",
            "content": {"application/json": {"example": {"data": [EXAMPLE_REVISION], "next": None}}},
        },
        **PROBLEMS,
    },
)
async def get_revisions(request: Request) -> Response:
    """
    Give the revisions that had arrived when the snapshot was served, the newest first.

    A revision is one edition of a force-month, numbered by arrival. `is_served` marks the one that the snapshot serves;
    when it stopped being served is no part of that snapshot. A historic edition is listed once a later revision of its
    force-month is served. Where a set of revisions is served again, by a revert say, its snapshot is current again, and
    tells what had arrived the first time. `live=true` lists all that there are, with nothing held back.
    """
    asked = await request.app.state.reading.read_query(request, _OF_LIST)
    since = await asked_since(request, asked)
    if asked.get("live"):
        return await answer_now(
            request, asked, lambda connection, asked: _made(request, connection, None, asked, since)
        )
    return await answer_of_snapshot(
        request, _OF_LIST, lambda connection, snapshot, asked: _made(request, connection, snapshot, asked, since)
    )


@router.get(
    "/revisions/{force}/{month}/{number}/diff",
    summary="What changed between two revisions",
    openapi_extra={"parameters": openapi_parameters(_OF_DIFF)},
    responses={
        200: {
            "description": "A summary by field, and the stops added and withdrawn, by id.",
            "content": {"application/json": {"example": _EXAMPLE_DIFF}},
        },
        **PROBLEMS_OF_ONE,
    },
)
async def get_diff(
    request: Request,
    force: Annotated[str, Path(description="A police force, by its id.", max_length=60)],
    month: Annotated[str, Path(description="A month, YYYY-MM.", max_length=20)],
    number: Annotated[int, Path(ge=1, le=_HIGHEST_NUMBER, description="The revision's number."), IN_DIGITS],
) -> Response:
    """
    Tell what changed from one revision of a force-month to another: counts, changes by field, and the stops by page.

    Stops have no number of the publisher's. An added and a withdrawn stop that are alike in all but at most three
    fields are taken for one record that changed (`changed_pairs`). `remade_by_field` is about kept stops to which our
    own rules gave another value. A historic edition is read from its kept body by today's rules.
    """
    in_month = Month.parse(month)

    def make(connection: Connection, snapshot: Snapshot, asked: Asked) -> Made:
        place = place_asked(request, asked, snapshot)
        found = diff_page(
            connection,
            force,
            in_month,
            number,
            against=asked.get("against"),
            after=place[0] if place else None,
            limit=asked.get("limit", _STOPS),
        )
        of_month = StopFilter(forces=(force,), first=in_month, last=in_month)
        return Made(
            data={**found.summary, "stops": found.stops},
            next=next_page(request, asked, snapshot, found.next) if found.next else None,
            extra={"coverage": covered(snapshot, of_month).as_json(with_gaps=False)},
        )

    return await answer_of_snapshot(request, _OF_DIFF, make, is_costly=True)


def _made(
    request: Request,
    connection: Connection,
    snapshot: Snapshot | None,
    asked: Asked,
    since: Snapshot | datetime | None,
) -> Made:
    place = place_asked(request, asked, snapshot)
    found = list_arrivals(
        connection,
        snapshot,
        asked.filter,
        since=since,
        causes=[Cause(cause) for cause in asked.get("cause", ())],
        standings=[Standing(standing) for standing in asked.get("standing", ())],
        only_changes=asked.get("only_changes", False),
        newest_first=asked.get("sort") != "arrival",
        after=read_arrival(place) if place else None,
        limit=asked.get("limit", _REVISIONS),
    )
    numbers = served_number(snapshot) if snapshot is not None else {}
    return Made(
        data=[
            arrival_json(
                entry,
                is_served=entry.is_current
                if snapshot is None
                else numbers.get((entry.force, entry.month)) == entry.number,
            )
            for entry in found.entries
        ],
        next=next_page(request, asked, snapshot, *arrival_parts(found.next)) if found.next else None,
    )


def arrival_parts(arrival: Arrival) -> tuple[str, str, str, int]:
    """
    Give the parts of a place in the order of arrival, as a cursor carries them.
    """
    return arrival.at.isoformat(), arrival.force, str(arrival.month), arrival.number


def read_arrival(place: tuple[Any, ...]) -> Arrival:
    """
    Read what `arrival_parts` gave.
    """
    return Arrival(at=datetime.fromisoformat(place[0]), force=place[1], month=Month.parse(place[2]), number=place[3])
