"""
Compare the stops of two revisions of one force-month: what was added, withdrawn, kept, and what changed in what. Pure.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from stopsearch.domain.stops import FIELDS

# A record that differs in more fields than this from every other is another record, as far as anyone can tell.
_MOST_FIELDS = 3
_TIME = FIELDS.index("datetime")
_PLACE = (FIELDS.index("latitude"), FIELDS.index("longitude"))
_VALUES_SHOWN = 10
_ROWS_SHOWN = 5

Row = dict[str, Any]  # a stop's id and published fields


@dataclass(frozen=True, kw_only=True)
class ValueChange:
    """
    How many records had one value before and another after. None: not given.
    """

    before: Any
    after: Any
    records: int


@dataclass(frozen=True, kw_only=True)
class FieldChange:
    """
    How many records changed in one field, and between which values, the most frequent ones first.
    """

    field: str
    records: int
    values: list[ValueChange]


@dataclass(frozen=True, kw_only=True)
class Changes:
    """
    What became of the stops of one revision in another.

    Stops have no number of the publisher's, so `added`, `withdrawn` and `kept` compare by identity, repeats counted.
    Of those, an added and a withdrawn stop that are alike in all but at most three fields, time or place or both
    among what is alike, are taken for one record that changed: `changed` counts such pairs. A record is in as many
    of `by_field` as it changed in.
    """

    added: int
    withdrawn: int
    kept: int
    changed: int
    by_field: list[FieldChange]
    remade_by_field: list[FieldChange]  # kept stops to which our own rules gave another value
    changed_sample: list[tuple[Row, Row]] = field(repr=False)
    added_sample: list[Row] = field(repr=False)  # of those that are no change of another
    withdrawn_sample: list[Row] = field(repr=False)


def compare_stops(before: pl.DataFrame, after: pl.DataFrame) -> Changes:
    """
    Compare the stops of two revisions.

    Args:
        before: One row a stop: `id` and its values.
        after: The same of the other revision.
    """
    before, after = before.sort("id"), after.sort("id")
    withdrawn = before.join(after, on="id", how="anti", maintain_order="left")
    added = after.join(before, on="id", how="anti", maintain_order="left")
    pairs = _pairs(withdrawn, added)
    places = [place for place, _ in pairs], [place for _, place in pairs]
    old, new = withdrawn[places[0]], added[places[1]]
    kept_before = before.join(after, on="id", how="semi", maintain_order="left")
    kept_after = after.join(before, on="id", how="semi", maintain_order="left")
    values = [name for name in before.columns if name != "id"]
    return Changes(
        added=added.height,
        withdrawn=withdrawn.height,
        kept=kept_after.height,
        changed=len(pairs),
        by_field=_by_field(old, new, list(FIELDS)),
        remade_by_field=_by_field(kept_before, kept_after, values),
        changed_sample=list(zip(_sample(old), _sample(new), strict=True)),
        added_sample=_sample(_without(added, places[1])),
        withdrawn_sample=_sample(_without(withdrawn, places[0])),
    )


def _pairs(withdrawn: pl.DataFrame, added: pl.DataFrame) -> list[tuple[int, int]]:
    """
    Pair rows that are alike in all but a few fields, those that differ in the fewest first.
    """
    old, new = _field_hashes(withdrawn), _field_hashes(added)
    free_old, free_new = np.arange(withdrawn.height), np.arange(added.height)
    pairs: list[tuple[int, int]] = []
    for left_out in _left_out():
        can_old, can_new = free_old, free_new
        if _TIME in left_out:
            can_old, can_new = _located(withdrawn, free_old), _located(added, free_new)
        found = list(_alike(_rest(old, left_out)[can_old], _rest(new, left_out)[can_new]))
        if found:
            pairs += [(int(can_old[a]), int(can_new[b])) for a, b in found]
            free_old = np.setdiff1d(free_old, can_old[[a for a, _ in found]])
            free_new = np.setdiff1d(free_new, can_new[[b for _, b in found]])
        if not len(free_old) or not len(free_new):
            break
    return sorted(pairs)


def _left_out() -> Iterator[tuple[int, ...]]:
    """
    Give the fields that may differ, time and place last.

    Time and place are what tells one stop from another: only one of them may differ, and the time only where the
    place is given. Without this, most of south-yorkshire 2020-01, which gives no place, pairs with strangers.
    """
    others = [place for place in range(len(FIELDS)) if place not in (_TIME, *_PLACE)]
    for anchors in ((), (_TIME,), _PLACE):
        for size in range(0 if anchors else 1, _MOST_FIELDS + 1 - len(anchors)):
            yield from ((*anchors, *places) for places in combinations(others, size))


def _located(frame: pl.DataFrame, places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    is_located = frame["latitude"].is_not_null().to_numpy()
    located: npt.NDArray[np.int64] = places[is_located[places]]
    return located


def _field_hashes(frame: pl.DataFrame) -> npt.NDArray[np.uint64]:
    # Each field with a seed of its own, so that the sum of all tells which field holds which value.
    hashes = [frame[name].hash(seed=seed).to_numpy() for seed, name in enumerate(FIELDS)]
    return np.stack(hashes, axis=1).astype(np.uint64)


def _rest(hashes: npt.NDArray[np.uint64], left_out: tuple[int, ...]) -> npt.NDArray[np.uint64]:
    kept = [place for place in range(hashes.shape[1]) if place not in left_out]
    rest: npt.NDArray[np.uint64] = hashes[:, kept].sum(axis=1, dtype=np.uint64)  # wraps around, as hashes may
    return rest


def _alike(old: npt.NDArray[np.uint64], new: npt.NDArray[np.uint64]) -> Iterator[tuple[int, int]]:
    """
    Pair the places of equal keys, each place once, in their order.
    """
    shared = np.intersect1d(old, new)
    if not len(shared):
        return
    waiting: defaultdict[int, list[int]] = defaultdict(list)
    for place in np.flatnonzero(np.isin(new, shared))[::-1]:
        waiting[int(new[place])].append(int(place))
    for place in np.flatnonzero(np.isin(old, shared)):
        if waiting[int(old[place])]:
            yield int(place), waiting[int(old[place])].pop()


def _by_field(before: pl.DataFrame, after: pl.DataFrame, names: list[str]) -> list[FieldChange]:
    changes: list[FieldChange] = []
    for name in names:
        differs = before[name].ne_missing(after[name])
        counts = Counter(zip(before[name].filter(differs), after[name].filter(differs), strict=True))
        if counts:
            shown = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))[:_VALUES_SHOWN]
            values = [ValueChange(before=old, after=new, records=count) for (old, new), count in shown]
            changes.append(FieldChange(field=name, records=counts.total(), values=values))
    return sorted(changes, key=lambda change: -change.records)


def _without(frame: pl.DataFrame, places: list[int]) -> pl.DataFrame:
    return frame.with_row_index("place").filter(~pl.col("place").is_in(places)).drop("place")


def _sample(frame: pl.DataFrame) -> list[Row]:
    return frame.head(_ROWS_SHOWN).select("id", *FIELDS).to_dicts()
