"""
Bodies as the publisher sends them, valid but for what a test is about.
"""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from stopsearch.domain.stops import ARCHIVE_COLUMNS

_STOP = {
    "type": "Person search",
    "datetime": "2023-07-31T15:37:00+00:00",
    "operation": None,
    "operation_name": None,
    "latitude": "52.645734",
    "longitude": "-1.201507",
    "gender": "Male",
    "age_range": "18-24",
    "self_defined_ethnicity": "White - Irish",
    "officer_defined_ethnicity": "White",
    "legislation": "Misuse of Drugs Act 1971 (section 23)",
    "object_of_search": "Controlled drugs",
    "outcome": "Arrest",
    "outcome_linked_to_object_of_search": True,
    "removal_of_more_than_outer_clothing": False,
}


def api_record(**fields: Any) -> dict[str, Any]:
    """
    Make one record of `/stops-force`; fields are named as in the archive's columns, `location` replaces the place.
    """
    stop = {**_STOP, **{name: value for name, value in fields.items() if name in _STOP}}
    latitude, longitude = stop.pop("latitude"), stop.pop("longitude")
    record = {
        **stop,
        "involved_person": True,
        "outcome_object": {"id": "bu-arrest", "name": "Arrest"},
        "location": {
            "latitude": latitude,
            "longitude": longitude,
            "street": {"id": 1735297, "name": "On or near Harrison Close"},
        },
    }
    record.update({name: value for name, value in fields.items() if name not in _STOP})
    return record


def json_body(*records: Any) -> bytes:
    """
    Make the body of one answer.
    """
    return json.dumps(list(records)).encode()


def csv_body(*stops: dict[str, Any], newline: str = "\n", columns: dict[str, str] = ARCHIVE_COLUMNS) -> bytes:
    """
    Make the body of one archive member; each stop gives the fields that differ from the usual one.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=newline)
    writer.writerow(columns)
    for fields in stops:
        stop = {**_STOP, **fields}
        writer.writerow("" if stop[name] is None else stop[name] for name in columns.values())
    return text.getvalue().encode()
