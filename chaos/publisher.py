"""
The small publisher of the trials: real records of the bundled sample, moved to the months of one summer.
"""

from __future__ import annotations

import copy
import gzip
import json
from functools import cache
from typing import Any

from stopsearch.sample import sample_answers

Records = list[dict[str, Any]]
ForceMonth = tuple[str, str]

_MONTHS = ("2023-05", "2023-06", "2023-07")
_SHARE = 60  # records of an ordinary force-month

# The large one, whose rows take the server a while.
LARGE: ForceMonth = ("btp", "2023-07")
# Three records of it are rejected; of its earlier edition, one.
REJECTED: ForceMonth = ("kent", "2023-06")
# Every record of it is published twice.
DOUBLED: ForceMonth = ("gwent", "2023-07")
# Listed, and answered with `[]`.
EMPTY: ForceMonth = ("surrey", "2023-05")
# Nothing of it changes from the earlier edition to the current one.
UNCHANGED: ForceMonth = ("durham", "2023-05")


@cache
def current_edition() -> dict[ForceMonth, Records]:
    """
    Give what the publisher answers, by force and month.
    """
    recorded = {path.name.split("_")[1]: json.loads(gzip.decompress(path.read_bytes())) for path in sample_answers()}
    small, large = recorded["leicestershire"], recorded["metropolitan"]
    keys = [(force, month) for force in ("durham", "kent", "gwent", "wiltshire") for month in _MONTHS]
    held = {key: _moved(small[number * 37 % 400 :][:_SHARE], "2023-07", key[1]) for number, key in enumerate(keys)}
    held[LARGE] = _moved(large, "2024-12", LARGE[1])
    held[REJECTED] = _with_unknown_labels(held[REJECTED], (0, 7, 30))
    held[DOUBLED] = [record for record in held[DOUBLED] for _ in range(2)]
    return held


@cache
def earlier_edition() -> dict[ForceMonth, Records]:
    """
    Give what was published before, and is held already: some of it has been restated since.
    """
    now = current_edition()
    whole = _with_unknown_labels(now[REJECTED], ())
    return {
        UNCHANGED: now[UNCHANGED],
        ("durham", "2023-06"): now["durham", "2023-06"][:-7],
        REJECTED: [*whole[1:20], *whole[31:]],
    }


def force_months() -> list[ForceMonth]:
    """
    Give every force-month that is listed, in order.
    """
    return sorted({*current_edition(), EMPTY})


def _moved(records: Records, of: str, to: str) -> Records:
    moved = copy.deepcopy(records)
    for record in moved:
        day = min(record["datetime"][8:10], "28")  # a day that every month has
        record["datetime"] = (
            f"{to}-{day}{record['datetime'][10:]}" if record["datetime"].startswith(of) else (f"{to}-01T12:00:00+00:00")
        )
    return moved


def _with_unknown_labels(records: Records, numbers: tuple[int, ...]) -> Records:
    return [
        {**record, "gender": f"No label {number}"} if number in numbers else record
        for number, record in enumerate(records)
    ]
