"""
The coverage matrix of a snapshot: one cell a force-month, told from what was kept with the snapshot and nothing else.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from stopsearch.domain.filters import StopFilter
from stopsearch.domain.months import month_range
from stopsearch.domain.states import MonthFlag, MonthState
from stopsearch.flows.coverage import Cell, Coverage
from stopsearch.flows.covered import covered, held_revisions
from stopsearch.store.as_of import ServedRevision
from stopsearch.store.snapshots import Snapshot

# One letter a state, for the compact matrix. Letters are frozen: readers keep them.
STATE_LETTERS: dict[MonthState, str] = {
    MonthState.HELD: "h",
    MonthState.DUE: "d",
    MonthState.EMPTY: "e",
    MonthState.FAILED: "f",
    MonthState.REFUSED: "r",
    MonthState.NOT_LISTED: "n",
    MonthState.OUT_OF_WINDOW: "o",
}


def snapshot_coverage(snapshot: Snapshot, asked: StopFilter) -> Coverage:
    """
    Give the matrix of what a snapshot holds, by force and month, with no gap. Pure: it is the same for ever.

    Months and forces are those asked for; where they are not named, those that the snapshot knows of. What was not held
    is told as it was when the snapshot was first kept.
    """
    asked_for = covered(snapshot, asked)
    if asked_for.first is None or asked_for.last is None:
        return Coverage(
            forces=(), months=(), cells=(), listed_at=snapshot.listed_at, totals=dict.fromkeys(MonthState, 0)
        )
    months = tuple(month_range(asked_for.first, asked_for.last))
    forces = tuple(sorted(set(asked.forces) or set(snapshot.forces)))
    held = {(revision.force, revision.month): revision for revision in held_revisions(snapshot, asked)}
    missing = {(gap.force, month): gap.state for gap in asked_for.gaps for month in month_range(gap.first, gap.last)}
    cells = tuple(
        _held_cell(snapshot, held[force, month])
        if (force, month) in held
        else Cell(force=force, month=month, state=missing[force, month])
        for force in forces
        for month in months
    )
    counts = Counter(cell.state for cell in cells)
    return Coverage(
        forces=forces,
        months=months,
        cells=cells,
        listed_at=snapshot.listed_at,
        totals={state: counts[state] for state in MonthState},
    )


def matrix_of(coverage: Coverage) -> dict[str, Any]:
    """
    Give a matrix in its compact form: of each force, one letter a month for its state, and its stops.

    A month without stops to tell of has null in their place, and never zero.
    """
    width = len(coverage.months)
    # Of forces that are asked for where no month is known, the rows are empty.
    rows = [coverage.cells[place * width : (place + 1) * width] for place in range(len(coverage.forces))]
    return {
        "months": [str(month) for month in coverage.months],
        "letters": {letter: str(state) for state, letter in STATE_LETTERS.items()},
        "forces": [
            {
                "force": force,
                "states": "".join(STATE_LETTERS[cell.state] for cell in row),
                "stops": [cell.stored for cell in row],
            }
            for force, row in zip(coverage.forces, rows, strict=True)
        ],
    }


def flags_of(snapshot: Snapshot, revision: ServedRevision) -> tuple[MonthFlag, ...]:
    """
    Give what a reader of a served force-month should know, in the order in which all doors tell it.
    """
    return tuple(
        flag
        for flag, is_set in (
            (MonthFlag.RESTATED, revision.is_restated),
            (MonthFlag.DOUBLED, revision.is_doubled),
            (MonthFlag.DATE_ONLY, revision.is_date_only),
            (MonthFlag.DOUBTFUL, (revision.force, revision.month) in snapshot.doubtful),
        )
        if is_set
    )


def _held_cell(snapshot: Snapshot, revision: ServedRevision) -> Cell:
    return Cell(
        force=revision.force,
        month=revision.month,
        state=MonthState.HELD,
        flags=flags_of(snapshot, revision),
        revision=revision.number,
        received=revision.received,
        stored=revision.stored,
        rejected=revision.rejected,
    )
