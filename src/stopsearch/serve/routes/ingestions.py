"""
Starting and watching batches over HTTP. Every route here needs the server's token.
"""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Header, Path, Request, Response
from fastapi.responses import StreamingResponse

from stopsearch.domain.errors import ServerBusy
from stopsearch.flows.asked_batches import AskedBatch
from stopsearch.flows.cancel_batch import cancel_batch
from stopsearch.flows.queued_batches import take_on
from stopsearch.serve.access import BEARER, GuardedRoute
from stopsearch.serve.answers import base_url
from stopsearch.serve.ingestion_bodies import (
    Batches,
    BatchWithRuns,
    IngestionRequest,
    OneBatch,
    OneBatchWithRuns,
    ReplayRequest,
    batch_answer,
    run_answer,
)
from stopsearch.serve.ingestion_events import EventStream, Position, follow, has_ended
from stopsearch.serve.ingestion_examples import (
    CANCELLED_BATCH,
    EVENTS,
    FINISHED_BATCH,
    LIST_OF_BATCHES,
    QUEUED_BATCH,
    QUEUED_REPLAY,
)
from stopsearch.serve.parameters import Parameter, limit, openapi_parameters, read_query
from stopsearch.serve.problems import problem_answers
from stopsearch.serve.values import IN_DIGITS, whole_number
from stopsearch.store.batch_reports import find_batch, list_batches, runs_of_batch

_NEWEST_ID = 2**31 - 1  # numbers in the database have 32 bits
_RETRY_AFTER_S = 15

_BatchId = Annotated[int, Path(ge=1, le=_NEWEST_ID, description="A batch's number."), IN_DIGITS]
_LastEventId = Annotated[
    str | None, Header(max_length=2500, description="The id of the last event that came: the stream goes on after it.")
]

_PROBLEMS = problem_answers(401, 403, 414, 422, 429, 500, 503)
_PROBLEMS_OF_ONE = _PROBLEMS | problem_answers(404)
_PROBLEMS_OF_CANCELLING = _PROBLEMS_OF_ONE | problem_answers(409)
_PROBLEMS_OF_STARTING = _PROBLEMS | problem_answers(400, 409, 413, 415)

_BATCHES, _RUNS = 20, 100
_OF_BATCHES = (
    limit(most=100, default=_BATCHES),
    Parameter(
        name="before",
        read=whole_number(1, _NEWEST_ID),
        schema={"type": "integer", "minimum": 1, "maximum": _NEWEST_ID},
        description="Only batches older than the one of this number.",
    ),
)
_OF_RUNS = (
    limit(most=500, default=_RUNS),
    Parameter(
        name="runs_after",
        read=whole_number(0, _NEWEST_ID),
        schema={"type": "integer", "minimum": 0, "maximum": _NEWEST_ID, "default": 0},
        description="Only runs that began after the run of this number.",
    ),
)


def _example(description: str, example: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"example": example}}}


async def _no_parameters(request: Request) -> None:
    read_query(request, ())


router = APIRouter(prefix="/v1", tags=["ingestions"], route_class=GuardedRoute, dependencies=[Depends(BEARER)])


@router.post(
    "/ingestions",
    status_code=202,
    summary="Start an ingestion",
    responses={202: _example("The batch was queued.", QUEUED_BATCH), **_PROBLEMS_OF_STARTING},
    dependencies=[Depends(_no_parameters)],
)
def start_ingestion(request: Request, response: Response, asked: IngestionRequest) -> OneBatch:
    """
    Queue a batch that brings in what is due of what is asked for, as `stopsearch ingest` does.

    It is run by workers where the server has a broker, else in the server, after those that were asked for before.
    Archives are files of the server, and always run in it. `Location` is where the batch is looked at.
    """
    return _queue(request, response, asked.as_asked())


@router.post(
    "/dead-letters/replay",
    status_code=202,
    summary="Replay dead letters",
    responses={202: _example("The batch was queued.", QUEUED_REPLAY), **_PROBLEMS_OF_STARTING},
    dependencies=[Depends(_no_parameters)],
)
def replay_dead_letters(request: Request, response: Response, asked: ReplayRequest) -> OneBatch:
    """
    Queue a batch that runs open dead letters through today's rules, as `stopsearch dead-letters replay` does.
    """
    return _queue(request, response, asked.as_asked())


@router.get(
    "/ingestions",
    summary="List batches",
    responses={200: _example("A page of batches.", LIST_OF_BATCHES), **_PROBLEMS},
    openapi_extra={"parameters": openapi_parameters(_OF_BATCHES)},
)
async def list_ingestions(request: Request) -> Batches:
    """
    List batches of every trigger, the newest first: also those that the command line ran.
    """
    asked = read_query(request, _OF_BATCHES)
    most, before = asked.get("limit", _BATCHES), asked.get("before")
    found = await request.app.state.reads(lambda connection: list_batches(connection, limit=most + 1, before=before))
    shown, at = found[:most], _address(request)
    older = f"{at}?{urlencode({'limit': most, 'before': shown[-1].id})}" if len(found) > most else None
    return Batches(data=[batch_answer(entry, at=at) for entry in shown], next=older)


@router.get(
    "/ingestions/{batch_id}",
    summary="Look at a batch",
    responses={200: _example("The batch, and a page of its runs.", FINISHED_BATCH), **_PROBLEMS_OF_ONE},
    openapi_extra={"parameters": openapi_parameters(_OF_RUNS)},
)
async def show_ingestion(request: Request, batch_id: _BatchId) -> OneBatchWithRuns:
    """
    Show how a batch stands, and its runs in the order in which they began.
    """
    asked = read_query(request, _OF_RUNS)
    most, runs_after = asked.get("limit", _RUNS), asked.get("runs_after", 0)
    batch = await request.app.state.reads(lambda connection: find_batch(connection, batch_id))
    runs = await request.app.state.reads(
        lambda connection: runs_of_batch(connection, batch_id, after=runs_after, limit=most + 1)
    )
    shown, at = runs[:most], _address(request)
    later = f"{at}/{batch_id}?{urlencode({'runs_after': shown[-1].id, 'limit': most})}" if len(runs) > most else None
    answer = batch_answer(batch, at=at)
    return OneBatchWithRuns(
        data=BatchWithRuns(**answer.model_dump(), runs=[run_answer(run) for run in shown]), next=later
    )


@router.post(
    "/ingestions/{batch_id}/cancel",
    status_code=202,
    summary="Cancel a batch",
    responses={
        202: _example("It ends: at once, or when what is being stored is finished.", CANCELLED_BATCH),
        **_PROBLEMS_OF_CANCELLING,
    },
    dependencies=[Depends(_no_parameters)],
)
def cancel_ingestion(request: Request, batch_id: _BatchId) -> OneBatch:
    """
    End a batch of any trigger, whoever runs it. Asked again, nothing more happens; one that has ended is a 409.

    What was brought in stays, and what was not is due again.
    """
    entry = cancel_batch(request.app.state.database, batch_id, requested_by=_whoever_asks(request))
    return OneBatch(data=batch_answer(entry, at=_address(request)))


@router.get(
    "/ingestions/{batch_id}/events",
    summary="Follow a batch",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Server-sent events `batch`, `run` and, at last, `end`.",
            "content": {"text/event-stream": {"schema": {"type": "string"}, "example": EVENTS}},
        },
        204: {"description": "The end was told already: there is nothing to come back for."},
        **_PROBLEMS_OF_ONE,
    },
    dependencies=[Depends(_no_parameters)],
)
async def follow_ingestion(request: Request, batch_id: _BatchId, last_event_id: _LastEventId = None) -> Response:
    """
    Follow a batch as it goes on. A stream that breaks off is gone on with after `Last-Event-ID`.
    """
    position = Position.parse(last_event_id)
    state = request.app.state
    batch = await state.reads(lambda connection: find_batch(connection, batch_id))
    if position.is_over and has_ended(batch):
        return Response(status_code=204)
    open_streams = getattr(state, "open_event_streams", 0)
    if open_streams >= state.settings.event_streams:
        raise ServerBusy(
            f"{open_streams} clients follow events of ingestions, which is as many as may.",
            remedy=f"Try again in {_RETRY_AFTER_S} seconds, or look at the batch itself from time to time.",
            retry_after_s=_RETRY_AFTER_S,
        )
    state.open_event_streams = open_streams + 1

    def give_back() -> None:
        state.open_event_streams -= 1

    is_stopping = getattr(state, "is_stopping", lambda: False)  # of whoever runs the server
    events = follow(state.reads, batch_id, position, at=_address(request), is_stopping=is_stopping)
    return EventStream(events, when_over=give_back)


def _queue(request: Request, response: Response, asked: AskedBatch) -> OneBatch:
    state = request.app.state
    batch_id = take_on(
        state.database, state.settings, asked, requested_by=_whoever_asks(request), dispatch=state.dispatch
    )
    state.runner.wake()
    with state.database.connect(autocommit=True) as connection:
        answer = batch_answer(find_batch(connection, batch_id), at=_address(request))
    response.headers["Location"] = answer.links.self
    return OneBatch(data=answer)


def _whoever_asks(request: Request) -> str:
    return f"token@{request.client.host}" if request.client and request.client.host else "token"


def _address(request: Request) -> str:
    """
    Give the address of all batches, as people reach it.
    """
    return f"{base_url(request)}/v1/ingestions"
