"""
The values of a query taken together: what they ask of stops, and what of them contradicts itself.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import Any

from stopsearch.domain.dimensions import GROUPED_FIELDS
from stopsearch.domain.filters import Circle, RevisionState, StopFilter
from stopsearch.domain.forces import FORCE_NAMES
from stopsearch.domain.months import FIRST_PUBLISHED, Month
from stopsearch.domain.stops import BOOLEAN_FIELDS
from stopsearch.domain.vocabulary import VOCABULARY
from stopsearch.serve.values import shown

LABEL_NAMES: tuple[str, ...] = (*VOCABULARY, *GROUPED_FIELDS)


def unknown_forces(asked: Iterable[str], known: Collection[str], *, most: int) -> list[tuple[str, str, str]]:
    """
    Name each force that nobody knows, with those that are close; of many, so many.
    """
    faults: list[tuple[str, str, str]] = []
    for force in asked:
        if len(faults) >= most:
            break
        if force not in FORCE_NAMES and force not in known:
            near = difflib.get_close_matches(force, dict.fromkeys((*FORCE_NAMES, *known)), n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else "/v1/forces lists them"
            faults.append(("force", shown(force), f"no police force has this id: {hint}"))
    return faults


def contradictions(values: dict[str, Any]) -> list[tuple[str, str, str]]:
    """
    Name what can not be meant together: a range that ends before it starts, a point without its radius.
    """
    faults = []
    first, last = values.get("from"), values.get("to")
    if first is not None and last is not None and first > last:
        faults.append(("from", str(first), f"the range {first} to {last} starts after it ends"))
    now = Month.of(datetime.now(UTC).date())
    if first is not None and first > now:
        faults.append(("from", str(first), f"it lies in the future: the newest month there can be is {now}"))
    if last is not None and str(last) < FIRST_PUBLISHED:
        faults.append(("to", str(last), f"nothing was published before {FIRST_PUBLISHED}"))
    start, end = values.get("datetime_from"), values.get("datetime_before")
    if start is not None and end is not None and start >= end:
        faults.append(("datetime_before", end.isoformat(), "it holds nothing: it does not lie after datetime_from"))
    if ("near" in values) != ("radius_m" in values):
        missing, given = ("near", "radius_m") if "radius_m" in values else ("radius_m", "near")
        faults.append((missing, "", f"it is missing: {given} needs it"))
    if "as_of" in values and "snapshot" in values:
        faults.append(("as_of", values["as_of"].isoformat(), "as_of and snapshot can't both be given"))
    return faults


def filter_of(values: dict[str, Any]) -> StopFilter:
    """
    Give what the values ask of stops.
    """
    near = values.get("near")
    return StopFilter(
        forces=values.get("force", ()),
        first=values.get("from"),
        last=values.get("to"),
        datetime_from=values.get("datetime_from"),
        datetime_before=values.get("datetime_before"),
        labels={name: values[name] for name in LABEL_NAMES if name in values},
        flags={name: values[name] for name in BOOLEAN_FIELDS if name in values},
        operation_name=values.get("operation_name"),
        located=values.get("located"),
        box=values.get("bbox"),
        circle=Circle(latitude=near[0], longitude=near[1], radius_m=values["radius_m"]) if near else None,
        date_only=values.get("date_only"),
        doubled=values.get("doubled"),
        far_from_force=values.get("far_from_force"),
        revision_state=values.get("revision_state", RevisionState.SERVED),
    )
