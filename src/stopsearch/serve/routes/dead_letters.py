"""
Rejected records, as published, with the rules that they broke.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Request, Response
from psycopg import Connection

from stopsearch.domain.errors import BadQuery
from stopsearch.domain.months import Month
from stopsearch.domain.states import LetterState
from stopsearch.flows.public_letters import (
    letters_in_state,
    one_letter,
    snapshot_letters,
)
from stopsearch.serve.answers import Made, answer_of_snapshot
from stopsearch.serve.live_answers import answer_now, live
from stopsearch.serve.parameters import (
    CURSOR,
    MOMENT,
    MONTHS,
    Asked,
    Parameter,
    choice,
    limit,
    openapi_parameters,
    read_query,
)
from stopsearch.serve.places import next_page, place_asked
from stopsearch.serve.problems import PROBLEMS, PROBLEMS_OF_ONE
from stopsearch.serve.values import IN_DIGITS
from stopsearch.store.served_letters import LetterNow, ServedLetter
from stopsearch.store.snapshots import Snapshot

_LETTERS, _MOST_LETTERS = 50, 200
_STATES = tuple(each.value for each in LetterState)
_HIGHEST_ID = 2**63 - 1


def _rule(value: str) -> str:
    if not value.isascii() or not value.replace("_", "").isalnum() or len(value) > 80:
        raise ValueError("it must be the name of a rule, in lower-case words joined by underscores")
    return value


_ALLOWED = (
    *MONTHS,
    Parameter(
        name="rule",
        read=_rule,
        schema={"type": "string", "pattern": "^[0-9A-Za-z_]{1,80}$"},
        description="Only records that broke this rule.",
        example="age_range_is_known",
    ),
    choice("state", _STATES, "With live=true only: letters in these states; open unless given.", is_repeatable=True),
    limit(most=_MOST_LETTERS, default=_LETTERS),
    CURSOR,
    *MOMENT,
    live("which records are rejected, and what became of them,"),
)
_ALLOWED_OF_ONE = (*MOMENT, live("what became of it"))
_EXAMPLE_LETTER = {
    "id": 17,
    "force": "durham",
    "month": "2023-07",
    "revision": 1,
    "record_number": 4,
    "rejections": [
        {
            "rule": "gender_is_known",
            "column": "gender",
            "message": "gender must be one of its 3 known labels, or not given",
        }
    ],
    "raw": {"type": "Person search", "datetime": "2023-07-15T12:30:00+00:00", "gender": "Unknown"},
    "raw_bytes": 87,
    "is_raw_given": True,
}

router = APIRouter(prefix="/v1", tags=["data"])


@router.get(
    "/dead-letters",
    summary="Rejected records, and why",
    openapi_extra={"parameters": openapi_parameters(_ALLOWED)},
    responses={
        200: {
            "description": "One object a rejected record.",
            "content": {"application/json": {"example": {"data": [_EXAMPLE_LETTER], "next": None}}},
        },
        **PROBLEMS,
    },
    dependencies=[],
)
async def get_dead_letters(request: Request) -> Response:
    """
    Give the records that were rejected from the revisions that the snapshot serves, by force, month and record number.

    `raw` is the record letter for letter as it was published; one of more than 16 KiB is left
    out here (`is_raw_given` is false), and given by its number. `meta.counts` counts all that were asked for: by rule,
    where a record counts under each rule that it broke, and by force. What became of a record since is no part of a
    snapshot: `live=true` tells it, of the letters in a `state`, by number.
    """
    asked = await request.app.state.reading.read_query(request, _ALLOWED)
    if asked.get("live"):
        return await answer_now(request, asked, lambda connection, asked: _of_now(request, connection, asked))
    return await answer_of_snapshot(
        request, _ALLOWED, lambda connection, snapshot, asked: _of_snapshot(request, connection, snapshot, asked)
    )


@router.get(
    "/dead-letters/{letter_id}",
    summary="One rejected record",
    openapi_extra={"parameters": openapi_parameters(_ALLOWED_OF_ONE)},
    responses={
        200: {
            "description": "The record, and the rules that it broke.",
            "content": {"application/json": {"example": {"data": {**_EXAMPLE_LETTER, "is_served": True}}}},
        },
        **PROBLEMS_OF_ONE,
    },
    dependencies=[],
)
async def get_dead_letter(
    request: Request, letter_id: Annotated[int, Path(ge=1, le=_HIGHEST_ID, description="Its number."), IN_DIGITS]
) -> Response:
    """
    Give one rejected record by its number.

    `is_served` tells whether the snapshot serves the revision that it was rejected from, or a later one.
    """
    asked = read_query(request, _ALLOWED_OF_ONE)

    def of_now(connection: Connection, _: Asked) -> Made:
        return Made(data=_with_state(one_letter(connection, None, letter_id).now))

    def of_snapshot(connection: Connection, snapshot: Snapshot, _: Asked) -> Made:
        found = one_letter(connection, snapshot, letter_id)
        return Made(data={**_letter(found.now.letter), "is_served": found.is_served})

    if asked.get("live"):
        return await answer_now(request, asked, of_now)
    return await answer_of_snapshot(request, _ALLOWED_OF_ONE, of_snapshot)


def _of_snapshot(request: Request, connection: Connection, snapshot: Snapshot, asked: Asked) -> Made:
    if asked.get("state"):
        reason = "what became of a record is no part of a snapshot: it needs live=true"
        raise BadQuery(
            f"state can't be asked of a snapshot: {reason}.",
            remedy="Add live=true, or leave state out.",
            faults=(("state", ",".join(asked.get("state")), reason),),
        )
    place = place_asked(request, asked, snapshot)
    found = snapshot_letters(
        connection,
        snapshot,
        asked.filter,
        rule=asked.get("rule"),
        after=(place[0], Month.parse(place[1]), place[2]) if place else None,
        limit=asked.get("limit", _LETTERS),
    )
    further = None
    if found.next is not None:
        force, month, record = found.next
        further = next_page(request, asked, snapshot, force, str(month), record)
    counts = found.counts
    return Made(
        data=[_letter(letter) for letter in found.letters],
        next=further,
        extra={"counts": {"letters": counts.letters, "by_rule": counts.by_rule, "by_force": counts.by_force}},
    )


def _of_now(request: Request, connection: Connection, asked: Asked) -> Made:
    place = place_asked(request, asked, None)
    length = asked.get("limit", _LETTERS)
    found = letters_in_state(
        connection,
        asked.filter,
        states=[LetterState(state) for state in asked.get("state", ())] or [LetterState.OPEN],
        rule=asked.get("rule"),
        after=place[0] if place else 0,
        limit=length,
    )
    page = found[:length]
    return Made(
        data=[_with_state(letter) for letter in page],
        next=next_page(request, asked, None, page[-1].letter.id) if len(found) > length else None,
    )


def _letter(letter: ServedLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "force": letter.force,
        "month": str(letter.month),
        "revision": letter.revision,
        "record_number": letter.record_number,
        "rejections": letter.rejections,
        # As it came: read and written again, a number might not be what the publisher wrote.
        "raw": msgspec.Raw(letter.raw.encode()) if letter.raw is not None else None,
        "raw_bytes": letter.raw_bytes,
        "is_raw_given": letter.raw is not None,
    }


def _with_state(found: LetterNow) -> dict[str, Any]:
    return {
        **_letter(found.letter),
        "state": str(found.state),
        "attempts": found.attempts,
        "created_at": found.created_at.isoformat(),
        "decided_at": found.decided_at.isoformat() if found.decided_at else None,
    }
