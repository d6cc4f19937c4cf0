"""
The stops of the bundled sample, read by the standard library alone: what answers are held against.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from builders.archives import csv_rows, sample_members
from stopsearch.sample import sample_answers

LONDON = ZoneInfo("Europe/London")

_CSV_FIELDS = {
    "Type": "type",
    "Gender": "gender",
    "Age range": "age_range",
    "Self-defined ethnicity": "self_defined_ethnicity",
    "Officer-defined ethnicity": "officer_defined_ethnicity",
    "Legislation": "legislation",
    "Object of search": "object_of_search",
    "Outcome": "outcome",
    "Policing operation": "operation_name",
}
_CSV_TRUTHS = {
    "Part of a policing operation": "operation",
    "Outcome linked to object of search": "outcome_linked_to_object_of_search",
    "Removal of more than just outer clothing": "removal_of_more_than_outer_clothing",
}
_TRUTH = {"True": True, "False": False, "": None}

# Broad groups, written down a second time.
_ETHNIC_GROUPS = {
    "White -": "White",
    "Mixed/Multiple": "Mixed",
    "Asian/Asian British": "Asian",
    "Black/African": "Black",
    "Other ethnic group -": "Other",
}
_OUTCOME_GROUPS = {
    "A no further action disposal": "No further action",
    "Arrest": "Arrest",
    "Community resolution": "Out-of-court disposal",
    "Khat or Cannabis warning": "Out-of-court disposal",
    "Penalty Notice for Disorder": "Out-of-court disposal",
    "Caution (simple or conditional)": "Out-of-court disposal",
    "Summons / charged by post": "Summons or charge",
}


@dataclass(frozen=True)
class SampleRows:
    """
    Every stop of the sample's latest editions, each with the groups that totals may be asked by.
    """

    stops: tuple[dict[str, Any], ...]

    @property
    def held(self) -> set[tuple[str, str]]:
        """
        Give the force-months that there are stops of.
        """
        return {(stop["force"], stop["month"]) for stop in self.stops}


@cache
def sample_rows() -> SampleRows:
    """
    Read the sample.
    """
    months = {
        key: [_of_csv(row) for row in csv_rows(body)]
        for key, body in (sample_members("2020-02") | sample_members("2021-11")).items()
    }
    for path in sample_answers():
        _, force, month = path.name.removesuffix(".json.gz").split("_")
        months[force, month] = [_of_json(record) for record in json.loads(gzip.decompress(path.read_bytes()))]
    return SampleRows(
        stops=tuple(stop for (force, month), rows in months.items() for stop in _of_month(force, month, rows))
    )


def csv_stops(force: str, month: str, body: bytes) -> list[dict[str, Any]]:
    """
    Read the stops of one file as it was published.
    """
    return _of_month(force, month, [_of_csv(row) for row in csv_rows(body)])


def _of_csv(row: dict[str, str]) -> dict[str, Any]:
    return {
        **{name: row[column] or None for column, name in _CSV_FIELDS.items()},
        **{name: _TRUTH[row[column]] for column, name in _CSV_TRUTHS.items()},
        "datetime": datetime.fromisoformat(row["Date"]),
        "latitude": float(row["Latitude"]) if row["Latitude"] else None,
        "longitude": float(row["Longitude"]) if row["Longitude"] else None,
    }


def _of_json(record: dict[str, Any]) -> dict[str, Any]:
    place = record["location"]
    return {
        **{name: record[name] or None for name in _CSV_FIELDS.values()},
        **{name: record[name] for name in _CSV_TRUTHS.values()},
        "datetime": datetime.fromisoformat(record["datetime"]),
        "latitude": float(place["latitude"]) if place else None,
        "longitude": float(place["longitude"]) if place else None,
    }


def _of_month(force: str, month: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    local = [row["datetime"].astimezone(LONDON) for row in rows]
    at_midnight = sum((at.hour, at.minute, at.second) == (0, 0, 0) for at in local)
    is_date_only = at_midnight > 0.99 * len(rows)
    occurrences = Counter(tuple(row.values()) for row in rows)
    is_doubled = all(count % 2 == 0 for count in occurrences.values())
    year, number = month.split("-")
    return [
        row
        | {
            "force": force,
            "month": month,
            "quarter": f"{year}-Q{(int(number) - 1) // 3 + 1}",
            "year": int(year),
            "self_defined_ethnic_group": ethnic_group(row["self_defined_ethnicity"]),
            "officer_defined_ethnic_group": row["officer_defined_ethnicity"],
            "outcome_group": _OUTCOME_GROUPS.get(row["outcome"]),
            "hour": None if is_date_only else at.hour,
            "weekday": at.strftime("%A"),
            "is_month_date_only": is_date_only,
            "is_month_doubled": is_doubled,
        }
        for row, at in zip(rows, local, strict=True)
    ]


def ethnic_group(label: str | None) -> str | None:
    """
    Give the broad group of a self-defined ethnicity.
    """
    if label is None or "Not stated" in label:
        return None
    [group] = [group for start, group in _ETHNIC_GROUPS.items() if label.startswith(start)]
    return group
