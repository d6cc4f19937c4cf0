"""
Real answers of the routes of stops, from the bundled sample, as the OpenAPI document shows them.
"""

from __future__ import annotations

from typing import Any

_STOP: dict[str, Any] = {
    "id": "5edabe3e-9871-83c6-baeb-1993a051f449",
    "force": "leicestershire",
    "month": "2023-07",
    "type": "Person and Vehicle search",
    "datetime": "2023-06-30T23:08:00+00:00",
    "local_date": "2023-07-01",
    "operation": None,
    "operation_name": None,
    "latitude": 52.627299,
    "longitude": -1.148966,
    "gender": "Male",
    "age_range": "18-24",
    "self_defined_ethnicity": "Black/African/Caribbean/Black British - African",
    "self_defined_ethnic_group": "Black",
    "officer_defined_ethnicity": "Black",
    "officer_defined_ethnic_group": "Black",
    "legislation": "Misuse of Drugs Act 1971 (section 23)",
    "object_of_search": "Evidence of offences under the Act",
    "outcome": "Arrest",
    "outcome_group": "Arrest",
    "outcome_linked_to_object_of_search": False,
    "removal_of_more_than_outer_clothing": False,
    "is_far_from_force": False,
    "is_month_doubled": False,
    "is_month_date_only": False,
}
_SNAPSHOT = "969197c69187dcdc59bcd368dcb71b9e0c5ea7c9e0602508d21bb1b9778b2e60"
_QUERY = "force=leicestershire&from=2023-07&limit=1&located=true&to=2023-07"
_NEXT = (
    f"http://127.0.0.1:8000/v1/stops?{_QUERY}&cursor=AQCWkZfGkYfc3Fm802jctxueDF6nyeBgJQjSG7G5d4suYAdwsjlOdi4M3PJV13P2hd0A"
    "Bf9g41y0AF7avj6YcYPGuusZk6BR9EmiaLoGSvp8lcU0Rg8-W9Q2"
)
SNAPSHOT_EXAMPLE = {"id": _SNAPSHOT, "served_from": "2026-11-24T22:04:10.503463+00:00"}
_META: dict[str, Any] = {
    "snapshot": SNAPSHOT_EXAMPLE,
    "query": _QUERY,
    "coverage": {
        "from": "2023-07",
        "to": "2023-07",
        "forces": 1,
        "expected": 1,
        "held": 1,
        "missing": 0,
        "missing_by_state": {},
        "doubtful": 0,
        "date_only": 0,
        "doubled": 0,
    },
    "licence": {
        "name": "Open Government Licence v3.0",
        "url": "https://www.nationalarchives.gov.uk/doc/open-government-licence/version/3/",
        "attribution": "Contains public sector information licensed under the Open Government Licence v3.0. "
        "Source: data.police.uk",
    },
    "citation": "Stop and search records published by police forces on data.police.uk, under the Open Government "
    "Licence v3.0; served by stopsearch, snapshot 969197c69187 of 2026-11-24 22:04 UTC. "
    f"http://127.0.0.1:8000/v1/stops?{_QUERY}&snapshot={_SNAPSHOT}",
}

# One page, by the format's name.
PAGE_EXAMPLES: dict[str, Any] = {
    "json": {"data": [_STOP], "next": _NEXT, "meta": _META},
    "ndjson": '{"id":"5edabe3e-9871-83c6-baeb-1993a051f449","force":"leicestershire","outcome":"Arrest"}\n',
    "csv": "id,force,outcome\n5edabe3e-9871-83c6-baeb-1993a051f449,leicestershire,Arrest\n",
    "geojson": {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "id": "5edabe3e-9871-83c6-baeb-1993a051f449",
                "geometry": {"type": "Point", "coordinates": [-1.148966, 52.627299]},
                "properties": _STOP,
            }
        ],
        "next": _NEXT.replace("/stops?", "/stops.geojson?"),
        "meta": _META,
    },
}

STOP_EXAMPLE: dict[str, Any] = {
    "data": {
        "stop": _STOP,
        "is_served": True,
        "force_month": {
            "force": "leicestershire",
            "month": "2023-07",
            "revision": 1,
            "is_restated": False,
            "is_doubled": False,
            "is_date_only": False,
        },
        "history": [
            {
                "first_revision": 1,
                "served_from": "2026-11-24T22:04:10.444218+00:00",
                "cause": "upstream",
                "withdrawn_revision": None,
                "served_until": None,
                "withdrawn_cause": None,
                "is_served": True,
                "record_number": 528,
                "differs": {},
            }
        ],
        "street": {"id": 1737468, "name": "On or near Norman Street", "is_outside_snapshot": True},
    },
    "next": None,
}
