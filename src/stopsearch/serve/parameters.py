"""
The query parameters of every route: one table, from which they are read and documented.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request

from stopsearch.domain.dimensions import GROUPED_FIELDS
from stopsearch.domain.errors import BadQuery, RequestError
from stopsearch.domain.filters import NOT_GIVEN, RevisionState, StopFilter
from stopsearch.domain.forces import FORCE_NAMES
from stopsearch.domain.instants import read_instant, read_local
from stopsearch.domain.months import Month
from stopsearch.domain.stops import BOOLEAN_FIELDS
from stopsearch.domain.vocabulary import VOCABULARY, labels_of
from stopsearch.serve.filter_values import LABEL_NAMES, contradictions, filter_of, unknown_forces
from stopsearch.serve.values import (
    Read,
    one_of,
    read_boolean,
    read_box,
    read_point,
    read_radius,
    read_snapshot_id,
    read_text,
    read_three_valued,
    shown,
    whole_number,
)

_MAX_FIELDS = 200
# Faults that are told; no more are looked for, as finding what may have been meant takes time.
_MOST_FAULTS = 20


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """
    One query parameter: how one value of it is read, and how it is documented.

    `read` gives the value, or raises RequestError or ValueError with the reason as its text.
    """

    name: str
    read: Read
    schema: dict[str, Any]
    description: str
    example: Any = None  # /docs fills it in, so all of one route together ask for something that the sample holds
    is_repeatable: bool = False
    splits_commas: bool = False
    is_canonical: bool = True  # whether it tells which data is meant, and so is part of what an answer is known by


@dataclass(frozen=True, kw_only=True)
class Asked:
    """
    What one request asks for. `canonical` is its query in one spelling, without cursor and moment.
    """

    path: str
    filter: StopFilter
    values: dict[str, Any] = field(default_factory=dict)
    as_of: datetime | None = None
    snapshot: str | None = None
    canonical: str = ""

    def get(self, name: str, default: Any = None) -> Any:
        """
        Give the value of a parameter that is no filter.
        """
        return self.values.get(name, default)


def _labels(name: str, labels: Iterable[str], what: str) -> Parameter:
    words = [*labels, NOT_GIVEN]
    return Parameter(
        name=name,
        read=one_of(words),
        schema={"type": "array", "items": {"type": "string", "enum": words}},
        description=f"{what} Repeat it for several; `none` is for stops without one.",
        is_repeatable=True,
    )


_MONTH_SCHEMA = {"type": "string", "pattern": "^20[0-9]{2}-(0[1-9]|1[0-2])$"}
_INSTANT_SCHEMA = {"type": "string", "format": "date-time"}
_BOOLEAN_SCHEMA = {"type": "boolean"}
_THREE_VALUED = {"type": "string", "enum": ["true", "false", NOT_GIVEN]}

FORCE = Parameter(
    name="force",
    read=lambda value: value,
    schema={"type": "array", "items": {"type": "string", "enum": sorted(FORCE_NAMES)}},
    description="Police forces by id, as /v1/forces lists them. Repeat it, or separate them by commas.",
    example=["leicestershire"],
    is_repeatable=True,
    splits_commas=True,
)
FROM = Parameter(
    name="from",
    read=Month.parse,
    schema=_MONTH_SCHEMA,
    description="First month, YYYY-MM, included.",
    example="2020-01",
)
TO = Parameter(
    name="to", read=Month.parse, schema=_MONTH_SCHEMA, description="Last month, YYYY-MM, included.", example="2020-01"
)
MONTHS: tuple[Parameter, ...] = (FORCE, FROM, TO)

MOMENT: tuple[Parameter, ...] = (
    Parameter(
        name="as_of",
        read=lambda value: read_instant(value, name="as_of", now=datetime.now(UTC)),
        schema={"type": "string"},
        description="Answer as it was served at this instant (with its zone), or at the end of this date (UTC).",
        is_canonical=False,
    ),
    Parameter(
        name="snapshot",
        read=read_snapshot_id,
        schema={"type": "string", "pattern": "^[0-9a-f]{12,64}$"},
        description="Answer from this snapshot: its id, or the first 12 digits of it at least. The same id gives the "
        "same rows and figures for ever, and from the same version of the server the same bytes.",
        is_canonical=False,
    ),
)

_ZONES = (
    "An instant with its zone (2020-02-01T00:00:00Z), or a date, which stands for the midnight that begins it in "
    "Europe/London."
)
FILTERS: tuple[Parameter, ...] = (
    *MONTHS,
    Parameter(
        name="datetime_from",
        read=lambda value: read_local(value, name="datetime_from"),
        schema={"type": "string"},
        description=f"Stops at or after it. {_ZONES}",
    ),
    Parameter(
        name="datetime_before",
        read=lambda value: read_local(value, name="datetime_before"),
        schema={"type": "string"},
        description=f"Stops strictly before it, so that ranges join without overlap. {_ZONES}",
    ),
    *(_labels(name, labels_of(name), f"Label of {name.replace('_', ' ')}.") for name in VOCABULARY),
    *(
        _labels(
            name,
            dict.fromkeys(label.group for label in VOCABULARY[of] if label.group),
            f"Broad group of {of.replace('_', ' ')}.",
        )
        for name, of in GROUPED_FIELDS.items()
    ),
    *(
        Parameter(
            name=name,
            read=read_three_valued,
            schema=_THREE_VALUED,
            description=f"{name.replace('_', ' ').capitalize()}; `none` is for stops that don't say.",
        )
        for name in BOOLEAN_FIELDS
    ),
    Parameter(
        name="operation_name",
        read=read_text,
        schema={"type": "string", "minLength": 1, "maxLength": 200},
        description="Name of the policing operation, exactly.",
    ),
    Parameter(name="located", read=read_boolean, schema=_BOOLEAN_SCHEMA, description="Whether a stop has coordinates."),
    Parameter(
        name="bbox",
        read=read_box,
        schema={"type": "string"},
        description="Box in degrees: west,south,east,north, edges included, as -1.2,52.5,-1.0,52.7. Places are "
        "snapped, so approximate.",
    ),
    Parameter(
        name="near",
        read=read_point,
        schema={"type": "string"},
        description="Point: latitude,longitude, as 52.6369,-1.1398. Needs radius_m.",
    ),
    Parameter(
        name="radius_m",
        read=read_radius,
        schema={"type": "number", "exclusiveMinimum": 0, "maximum": 100000},
        description="Metres around near, on a sphere.",
    ),
    Parameter(
        name="date_only",
        read=read_boolean,
        schema=_BOOLEAN_SCHEMA,
        description="Whether the stop's force-month gives dates without times.",
    ),
    Parameter(
        name="doubled",
        read=read_boolean,
        schema=_BOOLEAN_SCHEMA,
        description="Whether every record of the stop's force-month occurs an even number of times.",
    ),
    Parameter(
        name="far_from_force",
        read=read_boolean,
        schema=_BOOLEAN_SCHEMA,
        description="Whether the stop lies over 150 km from its force's usual place: a place most likely wrong.",
    ),
    Parameter(
        name="revision_state",
        read=lambda value: RevisionState(one_of([each.value for each in RevisionState])(value)),
        schema={"type": "string", "enum": [each.value for each in RevisionState]},
        description="served (default): what the snapshot serves; restated: of these, what a later revision brought; "
        "withdrawn: what an earlier revision served and the snapshot no more does.",
    ),
)

CURSOR = Parameter(
    name="cursor",
    read=lambda value: value,
    schema={"type": "string", "maxLength": 500},
    description="Where to go on, from `next` of the page before. It belongs to its query and its snapshot.",
    is_canonical=False,
)


def limit(*, most: int = 1000, default: int = 100) -> Parameter:
    """
    Give the parameter of a page's length.
    """
    return Parameter(
        name="limit",
        read=whole_number(1, most),
        schema={"type": "integer", "minimum": 1, "maximum": most, "default": default},
        description=f"Rows of one page, {most} at most.",
    )


def flag(name: str, description: str) -> Parameter:
    """
    Give a parameter that is true or false.
    """
    return Parameter(name=name, read=read_boolean, schema=_BOOLEAN_SCHEMA, description=description)


def choice(
    name: str, values: Collection[str], description: str, *, is_repeatable: bool = False, example: Any = None
) -> Parameter:
    """
    Give a parameter that is one of some words, or several of them by commas.
    """
    words = {"type": "string", "enum": list(values)}
    return Parameter(
        name=name,
        read=one_of(values),
        schema={"type": "array", "items": words} if is_repeatable else words,
        description=description,
        is_repeatable=is_repeatable,
        splits_commas=is_repeatable,
        example=example,
    )


def openapi_parameters(allowed: Iterable[Parameter]) -> list[dict[str, Any]]:
    """
    Give the parameters as an OpenAPI document lists them.
    """
    listed = []
    for parameter in allowed:
        entry: dict[str, Any] = {
            "name": parameter.name,
            "in": "query",
            "required": False,
            "description": parameter.description,
            "schema": parameter.schema,
        }
        if parameter.is_repeatable:
            entry |= {"style": "form", "explode": True}
        if parameter.example is not None:
            entry["example"] = parameter.example
        listed.append(entry)
    return listed


_OF_FILTER = {parameter.name for parameter in FILTERS} | {"as_of", "snapshot"}
_UNORDERED = {"force", *LABEL_NAMES}


def read_query(request: Request, allowed: Iterable[Parameter], *, known_forces: Collection[str] = ()) -> Asked:
    """
    Read a request's query.

    Args:
        allowed: The parameters that its route knows.
        known_forces: Forces that the database knows beside those that everybody does.

    Raises:
        BadQuery: A parameter is unknown, or a value can't be meant; every fault is named.
    """
    by_name = {parameter.name: parameter for parameter in allowed}
    faults: list[tuple[str, str, str]] = []
    found: dict[str, list[Any]] = {}
    spelt: dict[str, list[str]] = {}
    for name, value in _pairs(request):
        if len(faults) >= _MOST_FAULTS:
            break
        parameter = by_name.get(name)
        if parameter is None:
            near = difflib.get_close_matches(name, by_name, n=2, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else "this route does not know it"
            faults.append((shown(name), shown(value), f"no such parameter: {hint}"))
            continue
        for part in value.split(",") if parameter.splits_commas else [value]:
            if len(faults) >= _MOST_FAULTS:
                break
            try:
                read = parameter.read(part)
            except (RequestError, ValueError) as error:
                faults.append((name, shown(part), str(error)))
                continue
            found.setdefault(name, []).append(read)
            spelt.setdefault(name, []).append(part)
        if not parameter.is_repeatable and len(found.get(name, ())) > 1:
            faults.append((name, shown(value), "it may be given once only"))
    faults += unknown_forces(found.get("force", ()), known_forces, most=_MOST_FAULTS)
    values: dict[str, Any] = {
        name: tuple(dict.fromkeys(got)) if by_name[name].is_repeatable else got[0] for name, got in found.items()
    }
    at_fault = {name for name, _, _ in faults}
    faults += [fault for fault in contradictions(values) if fault[0] not in at_fault]
    if faults:
        raise BadQuery(
            "; ".join(f"{name} '{value}': {reason}" for name, value, reason in faults[:5]),
            remedy="The parameters of every route are described at /docs and in /openapi.json.",
            faults=tuple(faults[:_MOST_FAULTS]),
        )
    canonical = urlencode(
        [
            (name, part)
            for name in sorted(spelt)
            if by_name[name].is_canonical
            for part in (sorted(set(spelt[name])) if name in _UNORDERED else spelt[name])
        ]
    )
    return Asked(
        path=request.url.path,
        filter=filter_of(values),
        values={name: value for name, value in values.items() if name not in _OF_FILTER},
        as_of=values.get("as_of"),
        snapshot=values.get("snapshot"),
        canonical=canonical,
    )


def _pairs(request: Request) -> list[tuple[str, str]]:
    text = request.scope["query_string"].decode("latin-1")
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="replace") if text else []
    except ValueError:
        raise BadQuery(
            f"The query has more than {_MAX_FIELDS} parameters.", remedy="Ask for less at once, or leave filters out."
        ) from None
