"""
Real examples of exports, for the OpenAPI document: of the bundled sample, Durham in February 2020.
"""

from __future__ import annotations

import json
from typing import Any

from stopsearch.domain.licence import LICENCE
from stopsearch.domain.stop_columns import STOP_COLUMNS
from stopsearch.flows.asked_export import ExportFormat
from stopsearch.flows.write_export import SNAPPED

_SNAPSHOT = "969197c69187dcdc59bcd368dcb71b9e0c5ea7c9e0602508d21bb1b9778b2e60"
_QUERY = "force=durham&from=2020-02&to=2020-02"
_CITATION = (
    "Stop and search records published by police forces on data.police.uk, under the Open Government Licence v3.0; "
    f"exported by stopsearch, snapshot {_SNAPSHOT}, {_QUERY}."
)
_ROW: dict[str, Any] = {
    "id": "5eb1ec91-bbc7-82fe-9ea7-f88abab1faf3",
    "force": "durham",
    "month": "2020-02",
    "type": "Person search",
    "datetime": "2020-02-01T00:34:38+00:00",
    "local_date": "2020-02-01",
    "operation": None,
    "operation_name": None,
    "latitude": 54.714524,
    "longitude": -1.747856,
    "gender": "Male",
    "age_range": "10-17",
    "self_defined_ethnicity": "White - English/Welsh/Scottish/Northern Irish/British",
    "self_defined_ethnic_group": "White",
    "officer_defined_ethnicity": "White",
    "officer_defined_ethnic_group": "White",
    "legislation": "Police and Criminal Evidence Act 1984 (section 1)",
    "object_of_search": "Articles for use in criminal damage",
    "outcome": "A no further action disposal",
    "outcome_group": "No further action",
    "outcome_linked_to_object_of_search": False,
    "removal_of_more_than_outer_clothing": False,
    "is_far_from_force": False,
    "is_month_doubled": False,
    "is_month_date_only": False,
}
_CELLS = ["" if value is None else str(value).lower() if value is False else str(value) for value in _ROW.values()]

_COLUMNS = [{"name": each.name, "type": str(each.type), "meaning": each.meaning} for each in STOP_COLUMNS]
_COVERAGE = {
    "from": "2020-02",
    "to": "2020-02",
    "forces": 1,
    "expected": 1,
    "held": 1,
    "missing": 0,
    "missing_by_state": {},
    "doubtful": 0,
    "date_only": 0,
    "doubled": 0,
}
_WRITTEN = {
    "rows": 135,
    "bytes": 45798,
    "sha256": "b40eb05979dec5f6f3f71539d6c55f561c76b5e76bdef35ec3a74778f4b4378b",
}

EXAMPLES: dict[ExportFormat, dict[str, Any]] = {
    ExportFormat.CSV: {"example": f"{','.join(_ROW)}\n{','.join(_CELLS)}\n"},
    ExportFormat.NDJSON: {"example": json.dumps(_ROW, separators=(",", ":")) + "\n"},
    ExportFormat.GEOJSON: {
        "example": {
            "type": "FeatureCollection",
            "name": "stops-969197c69187",
            "snapshot": _SNAPSHOT,
            "query": _QUERY,
            "note": SNAPPED,
            "licence": LICENCE,
            "citation": _CITATION,
            "features": [
                {
                    "type": "Feature",
                    "id": _ROW["id"],
                    "geometry": {"type": "Point", "coordinates": [_ROW["longitude"], _ROW["latitude"]]},
                    "properties": _ROW,
                }
            ],
        }
    },
    # It is no text: a real one is at its address.
    ExportFormat.PARQUET: {
        "examples": {"durham": {"summary": "A small file", "externalValue": f"/v1/exports/stops.parquet?{_QUERY}"}}
    },
}

MANIFEST_EXAMPLE: dict[str, Any] = {
    "manifest_version": 1,
    "file": "stops-969197c69187.csv",
    "format": "csv",
    **_WRITTEN,
    "snapshot": {"id": _SNAPSHOT, "served_from": "2026-11-24T22:25:20.548487+00:00"},
    "query": _QUERY,
    "coverage": {**_COVERAGE, "gaps": []},
    "columns": _COLUMNS,
    "notes": [SNAPPED],
    "licence": LICENCE,
    "citation": _CITATION,
    "software": {"stopsearch": "0.1.0"},
}

LIST_EXAMPLE: dict[str, Any] = {
    "data": [
        {
            "format": "csv",
            "media_type": "text/csv; charset=utf-8",
            "url": f"https://stops.example.org/v1/exports/stops.csv?snapshot={_SNAPSHOT}",
            "manifest": f"https://stops.example.org/v1/exports/stops.csv.manifest.json?snapshot={_SNAPSHOT}",
        }
    ],
    "next": None,
    "meta": {
        "snapshot": {"id": _SNAPSHOT, "served_from": "2026-11-24T22:25:20.548487+00:00"},
        "query": "",
        "columns": _COLUMNS[:1],
        "ready": [{"format": "csv", "snapshot": {"id": _SNAPSHOT}, "query": _QUERY, **_WRITTEN}],
    },
}
