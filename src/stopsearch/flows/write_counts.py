"""
Counts as text: each value is written once and put together with the others row by row, since large answers are
mostly the same few values again and again.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence

from stopsearch.domain.grouping import Group, Value
from stopsearch.flows.count_stops import Counts


def counts_json(counts: Counts) -> bytes:
    """
    Give the rows as a JSON array of objects: each group's value under its name, and `stops`.
    """
    return f"[{','.join(_objects(counts))}]".encode()


def counts_ndjson(counts: Counts) -> bytes:
    """
    Give the rows as JSON objects, one a line.
    """
    return "".join(f"{line}\n" for line in _objects(counts)).encode()


def counts_csv(counts: Counts) -> bytes:
    """
    Give the rows as CSV under a header; an unknown value is an empty cell.
    """
    header = ",".join([*counts.by, "stops"])
    lines = _lines(counts, [_csv_cell for _ in counts.by], before_stops="", after="")
    return "".join(f"{line}\n" for line in (header, *lines)).encode()


def _objects(counts: Counts) -> list[str]:
    return _lines(
        counts,
        [_member(group, "{" if place == 0 else ",") for place, group in enumerate(counts.by)],
        before_stops=',"stops":' if counts.by else '{"stops":',
        after="}",
    )


def _member(group: Group, before: str) -> Callable[[Value], str]:
    name = f"{before}{json.dumps(group)}:"
    return lambda value: f"{name}{json.dumps(value, ensure_ascii=False)}"


def _lines(counts: Counts, writers: Sequence[Callable[[Value], str]], *, before_stops: str, after: str) -> list[str]:
    columns = []
    for values, places, write in zip(counts.values, counts.places, writers, strict=True):
        texts = [write(value) for value in values]
        columns.append([texts[place] for place in places.tolist()])
    columns.append([f"{before_stops}{stops}{after}" for stops in counts.stops.tolist()])
    return list(map("".join, zip(*columns, strict=True)))


def _csv_cell(value: Value) -> str:
    if value is None:
        return ","
    cell = io.StringIO()
    csv.writer(cell, lineterminator=",").writerow([value])
    return cell.getvalue()
