"""
Rates by residents, and find rates.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from psycopg import Connection

from stopsearch.domain.measures import Definer, Measure
from stopsearch.flows.rate_stops import CENSUS_YEAR, AskedRates, rate_stops
from stopsearch.flows.rates import BROAD_GROUPS, REFERENCE, as_json
from stopsearch.flows.refusals import OVERRIDES
from stopsearch.serve.answers import Made, answer_of_snapshot, coverage_of
from stopsearch.serve.parameters import MOMENT, MONTHS, Asked, Parameter, choice, openapi_parameters
from stopsearch.serve.problems import PROBLEMS
from stopsearch.serve.total_examples import RATES_EXAMPLE
from stopsearch.serve.values import whole_number
from stopsearch.store.snapshots import Snapshot

_ALLOWED = (
    *MONTHS,
    choice(
        "measure",
        [each.value for each in Measure],
        "residents (default): stops by 1,000 residents; find: stops that found something, by stops with an outcome.",
    ),
    choice(
        "ethnicity",
        [each.value for each in Definer],
        "Whose word for the ethnic group: the person's own (self, the default) or the officer's.",
    ),
    choice("reference", BROAD_GROUPS, f"The group that the others are held against; {REFERENCE} unless given."),
    Parameter(
        name="census_year",
        read=whole_number(1801, 2100),
        schema={"type": "integer", "enum": [2011, 2021], "default": CENSUS_YEAR},
        description="The census that counted the residents.",
    ),
    choice(
        "override",
        OVERRIDES,
        "Give figures in spite of these reasons: gap (a month is missing or doubtful), few_stops (under 20).",
        is_repeatable=True,
    ),
    *MOMENT,
)

router = APIRouter(prefix="/v1", tags=["totals"])


@router.get(
    "/rates",
    summary="Rates by force and ethnic group",
    openapi_extra={"parameters": openapi_parameters(_ALLOWED)},
    responses={
        200: {"description": "One object a force.", "content": {"application/json": {"example": RATES_EXAMPLE}}},
        **PROBLEMS,
    },
    dependencies=[],
)
async def get_rates(request: Request) -> Response:
    """
    Give stops by 1,000 residents, or find rates, by force and ethnic group. Only stops that search a person count.

    Each group has its rate, its ratio to the reference group with a 95 % interval, and that ratio with every stop of
    unknown ethnicity counted as the reference group's, and as the group's own. `meta` names the census and its source,
    and the caveats: pass them on with the figures.

    What would mislead is refused, with the reason: all figures of a force without residents (btp) or over a gap, a
    ratio where a group has fewer than 20 stops. Counts are given all the same. Where every force is refused, the answer
    is a 422 that says why, and what lifts it. Where no months are named, they are the last twelve that the snapshot
    knows of: `meta.period` tells them.
    """
    return await answer_of_snapshot(request, _ALLOWED, _make, grouped=True, is_costly=True)


def _make(connection: Connection, snapshot: Snapshot, asked: Asked) -> Made:
    wanted = AskedRates(
        forces=asked.filter.forces,
        first=asked.filter.first,
        last=asked.filter.last,
        definer=Definer(asked.get("ethnicity", Definer.SELF)),
        measure=Measure(asked.get("measure", Measure.RESIDENTS)),
        reference=asked.get("reference", REFERENCE),
        census_year=asked.get("census_year", CENSUS_YEAR),
        overrides=asked.get("override", ()),
    )
    found = rate_stops(connection, snapshot, wanted)
    return Made(
        data=[as_json(each) for each in found.figures],
        extra={**found.about(), "coverage": coverage_of(snapshot, found.months)},
    )
