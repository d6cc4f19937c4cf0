"""
Totals by up to three groups.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response
from psycopg import Connection

from stopsearch.domain.grouping import MOST_GROUPS, Group
from stopsearch.flows.count_stops import Counts, count_stops
from stopsearch.flows.write_counts import counts_csv, counts_json, counts_ndjson
from stopsearch.serve.answer_cache import Answer, answer_key
from stopsearch.serve.answers import SOFTWARE_VERSION, Made, answer_of_snapshot, base_url, snapshot_headers
from stopsearch.serve.conditional import cache_control, conditional_headers, etag_of, not_modified, not_modified_answer
from stopsearch.serve.parameters import FILTERS, MOMENT, Asked, choice, openapi_parameters
from stopsearch.serve.problems import PROBLEMS, problem
from stopsearch.serve.stop_formats import FORMATS, accepted_format
from stopsearch.serve.total_examples import COUNTS_AS_CSV, COUNTS_AS_NDJSON, COUNTS_EXAMPLE
from stopsearch.store.snapshots import Snapshot

_BY = choice(
    "by",
    [group.value for group in Group],
    f"What to group by: up to {MOST_GROUPS}, in the order that rows are sorted by. Without it there is one row, the "
    "total, or none where nothing is held. hour and weekday are local (Europe/London); the hour is null where a "
    "force-month gives dates without times. quarter and year are those of the published month.",
    is_repeatable=True,
    example=["force", "month", "self_defined_ethnic_group"],
)
_ALLOWED = (_BY, *FILTERS, *MOMENT)
_WRITERS: dict[str, Callable[[Counts], bytes]] = {"json": counts_json, "ndjson": counts_ndjson, "csv": counts_csv}
_MEDIA_TYPES = {each.name: each.media_types[0] for each in FORMATS if each.name in _WRITERS}
_EXAMPLES: dict[str, Any] = {"json": COUNTS_EXAMPLE, "ndjson": COUNTS_AS_NDJSON, "csv": COUNTS_AS_CSV}

router = APIRouter(prefix="/v1", tags=["totals"])


def _content(*names: str) -> dict[str, Any]:
    return {_MEDIA_TYPES[name].partition(";")[0]: {"example": _EXAMPLES[name]} for name in names}


@router.get(
    "/counts",
    summary="Totals by up to three groups",
    openapi_extra={"parameters": openapi_parameters(_ALLOWED)},
    responses={
        200: {"description": "One row a combination of groups that has stops.", "content": _content(*_WRITERS)},
        **PROBLEMS,
    },
    dependencies=[],
)
async def get_counts(request: Request) -> Response:
    """
    Count the stops that a filter lets through, always exactly for the snapshot.

    Rows are sorted by the groups: forces by id, months forward, labels as `/v1/vocabulary` lists them, null (nothing
    given, or "not stated" of a broad ethnic group) last.

    A combination without a stop is not listed. In a force-month that is held it is zero. **In one that is missing it
    is unknown:** `meta.coverage.gaps` names every missing force-month of the question, and none of them is zero. Where
    nothing of the question is held there is no row at all, without groups too.

    `meta.counted_from` says what was added up: `revisions`, the rollups `stop_total` and `stop_count`, or `rows`. All
    give the same numbers. Where ethnicities are compared, `meta.unknown_ethnicity` gives the share of the counted
    stops that are of no known ethnic group.

    The format goes by `Accept` (JSON, NDJSON or CSV), or by a suffix: `/v1/counts.csv`. NDJSON and CSV hold the rows
    only; the `Link` header leads to the same answer with its meta.
    """
    accepted = accepted_format(", ".join(request.headers.getlist("accept")))
    if accepted is None or accepted.name not in _WRITERS:
        return problem(
            request,
            kind="not_acceptable",
            status=406,
            detail="Totals can't be had in any format that the Accept header names.",
            remedy=f"Accept one of {', '.join(_MEDIA_TYPES.values())}, or use a suffix.",
        )
    return await _answer(request, accepted.name)


def _add_suffix(name: str) -> None:
    @router.get(
        f"/counts.{name}",
        name=f"get_counts_{name}",
        summary=f"Totals by up to three groups, as {name.upper()}",
        description=f"The same as /v1/counts, as {_MEDIA_TYPES[name]}, whatever the Accept header says.",
        openapi_extra={"parameters": openapi_parameters(_ALLOWED)},
        responses={
            200: {"description": "One row a combination of groups that has stops.", "content": _content(name)},
            **PROBLEMS,
        },
        response_class=Response,  # of this one media type, and not of the usual one too
        dependencies=[],
    )
    async def get_counts_as(request: Request) -> Response:
        return await _answer(request, name)


for _name in _WRITERS:
    _add_suffix(_name)


async def _answer(request: Request, form: str) -> Response:
    if form == "json":
        return await answer_of_snapshot(request, _ALLOWED, _make, grouped=True, is_costly=True)
    reading = request.app.state.reading
    asked = await reading.read_query(request, _ALLOWED)
    snapshot = await reading.snapshot(asked)
    base = base_url(request)
    etag = etag_of(snapshot.id, asked.canonical, asked.path, base, SOFTWARE_VERSION, variant=form)
    is_pinned = asked.snapshot == snapshot.id
    if not_modified(request, etag):
        return not_modified_answer(etag, cache_control(is_pinned))

    async def made() -> Answer:
        counts = await reading.run(_count, snapshot, asked)
        return Answer(content=_WRITERS[form](counts), media_type=_MEDIA_TYPES[form])

    key = answer_key(SOFTWARE_VERSION, snapshot.id, asked.path, asked.canonical, base, form)
    answer = await request.app.state.answers.get_or_make(key, made)
    query = "&".join(filter(None, (asked.canonical, f"snapshot={snapshot.id}")))
    described = {"Link": f'<{base}/v1/counts.json?{query}>; rel="describedby"'}
    return Response(
        answer.content,
        media_type=answer.media_type,
        headers=snapshot_headers(snapshot) | conditional_headers(etag, is_pinned=is_pinned) | described,
    )


def _count(connection: Connection, snapshot: Snapshot, asked: Asked) -> Counts:
    return count_stops(connection, snapshot, asked.filter, tuple(map(Group, asked.get("by", ()))))


def _make(connection: Connection, snapshot: Snapshot, asked: Asked) -> Made:
    counts = _count(connection, snapshot, asked)
    return Made(data=msgspec.Raw(counts_json(counts)), extra=counts.about())
