"""
The revisions of a snapshot as one array, so that a statement can tell of each stop whether the snapshot serves it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
import numpy.typing as npt

from stopsearch.store.as_of import ServedRevision
from stopsearch.store.int2_array import INT2, Int2Array
from stopsearch.store.snapshots import Snapshot

# The first days of two months lie at least so far apart, so that each month falls into a slot of its own.
SLOT_DAYS = 28


class ServedNumbers:
    """
    The numbers of some revisions, dense by force and month.

    The slot of a stop, counted from 1, is ``(force_code - first_force) * width + (month - first_month) / 28 + 1``, for
    forces and months between the first and the last. 0 stands for a force-month that is not among them.
    """

    def __init__(self, revisions: Sequence[ServedRevision]) -> None:
        self._revisions = revisions
        months = [revision.month.first_day for revision in revisions] or [date(2000, 1, 1)]
        codes = [revision.force_code for revision in revisions] or [0]
        self.first_month, self.last_month = min(months), max(months)
        self.first_force, self.last_force = min(codes), max(codes)
        self.width = (self.last_month - self.first_month).days // SLOT_DAYS + 1

    @cached_property
    def numbers(self) -> Int2Array:
        """
        Give the number of each revision, by slot.
        """
        return self._dense(lambda revision: revision.number)

    @cached_property
    def first_numbers(self) -> Int2Array:
        """
        Give the number of the first revision of each force-month that was ever served, by slot.
        """
        return self._dense(lambda revision: revision.first_number)

    def _dense(self, value: Callable[[ServedRevision], int]) -> Int2Array:
        values = np.zeros((self.last_force - self.first_force + 1) * self.width, dtype=np.int16)
        for revision in self._revisions:
            force = revision.force_code - self.first_force
            month = (revision.month.first_day - self.first_month).days // SLOT_DAYS
            values[force * self.width + month] = value(revision)
        return _int2_array(values)


def _int2_array(values: npt.NDArray[np.int16]) -> Int2Array:
    cells = np.empty(len(values), dtype=[("bytes", ">i4"), ("value", ">i2")])
    cells["bytes"], cells["value"] = 2, values
    # One dimension, no NULL, the type of an element, how many there are, and the index of the first.
    head = np.array([1, 0, INT2, len(values), 1] if len(values) else [0, 0, INT2], dtype=">i4")
    return Int2Array(head.tobytes() + cells.tobytes())


@dataclass(frozen=True, kw_only=True)
class _Kept:
    snapshot: weakref.ref[Snapshot]
    numbers: ServedNumbers


_kept: dict[int, _Kept] = {}


def served_numbers(snapshot: Snapshot) -> ServedNumbers:
    """
    Give the numbers of all that a snapshot serves: made when first asked for, and kept for as long as the snapshot is.

    It belongs to this very object: snapshots of two databases may have one id, and other numbers.
    """
    key = id(snapshot)
    kept = _kept.get(key)
    if kept is None or kept.snapshot() is not snapshot:
        kept = _Kept(
            snapshot=weakref.ref(snapshot, lambda gone: _forget(key, gone)), numbers=ServedNumbers(snapshot.revisions)
        )
        _kept[key] = kept
    return kept.numbers


def _forget(key: int, gone: weakref.ref[Snapshot]) -> None:
    kept = _kept.get(key)
    if kept is not None and kept.snapshot is gone:
        del _kept[key]
