"""
Real answers of the bundled sample, as examples for the OpenAPI document; the meta is shortened.
"""

from __future__ import annotations

import json
from typing import Any

COUNTS_QUERY = "by=month,officer_defined_ethnicity&force=leicestershire&from=2020-02&to=2020-03"
COUNTS_EXAMPLE: dict[str, Any] = {
    "data": [
        {"month": "2020-03", "officer_defined_ethnicity": "White", "stops": 234},
        {"month": "2020-03", "officer_defined_ethnicity": "Black", "stops": 42},
        {"month": "2020-03", "officer_defined_ethnicity": "Asian", "stops": 69},
        {"month": "2020-03", "officer_defined_ethnicity": "Other", "stops": 2},
    ],
    "next": None,
    "meta": {
        "snapshot": {
            "id": "969197c69187dcdc59bcd368dcb71b9e0c5ea7c9e0602508d21bb1b9778b2e60",
            "served_from": "2026-11-20T09:30:00.123456+00:00",
        },
        "coverage": {
            "from": "2020-02",
            "to": "2020-03",
            "forces": 1,
            "expected": 2,
            "held": 1,
            "missing": 1,
            "missing_by_state": {"not_listed": 1},
            "doubtful": 0,
            "date_only": 0,
            "doubled": 0,
            "gaps": [{"force": "leicestershire", "state": "not_listed", "from": "2020-02", "to": "2020-02"}],
        },
        "by": ["month", "officer_defined_ethnicity"],
        "counted_from": "stop_total",
        "unknown_ethnicity": {"officer_defined_ethnicity": 0.0},
    },
}
COUNTS_AS_CSV = (
    "month,officer_defined_ethnicity,stops\n2020-03,White,234\n2020-03,Black,42\n2020-03,Asian,69\n2020-03,Other,2\n"
)
COUNTS_AS_NDJSON = "".join(f"{json.dumps(row, separators=(',', ':'))}\n" for row in COUNTS_EXAMPLE["data"])

# Two of the five groups, and one of the caveats.
RATES_QUERY = "force=suffolk&from=2020-01&to=2020-12"
RATES_EXAMPLE: dict[str, Any] = {
    "data": [
        {
            "force": "suffolk",
            "months_asked": 12,
            "months_held": 12,
            "reference": "White",
            "stops": 4174,
            "unknown": 661,
            "share_unknown": 0.1583612841,
            "residents": 760694,
            "rate": 5.4870946793,
            "rate_per_year": 5.4870946793,
            "groups": [
                {
                    "group": "White",
                    "stops": 3046,
                    "residents": 708272,
                    "rate": 4.3006076761,
                    "rate_per_year": 4.3006076761,
                    "ratio": None,
                    "ratio_if_unknowns_reference": None,
                    "ratio_if_unknowns_group": None,
                    "refusals": [],
                    "overridden": [],
                },
                {
                    "group": "Black",
                    "stops": 196,
                    "residents": 10168,
                    "rate": 19.2761605035,
                    "rate_per_year": 19.2761605035,
                    "ratio": {"value": 4.4821946002, "low": 3.8794034658, "high": 5.1786488854},
                    "ratio_if_unknowns_reference": 3.682968641,
                    "ratio_if_unknowns_group": 19.5981672059,
                    "refusals": [],
                    "overridden": [],
                },
            ],
            "refusals": [],
            "overridden": [],
        }
    ],
    "next": None,
    "meta": {
        "snapshot": {
            "id": "969197c69187dcdc59bcd368dcb71b9e0c5ea7c9e0602508d21bb1b9778b2e60",
            "served_from": "2026-11-20T09:30:00.123456+00:00",
        },
        "coverage": {
            "from": "2020-01",
            "to": "2020-12",
            "forces": 1,
            "expected": 12,
            "held": 12,
            "missing": 0,
            "missing_by_state": {},
            "doubtful": 0,
            "date_only": 0,
            "doubled": 0,
            "gaps": [],
        },
        "measure": "residents",
        "period": {"from": "2020-01", "to": "2020-12", "is_named": True},
        "persons_only": "Stops of the type 'Vehicle search' are left out.",
        "ethnicity": "self_defined_ethnicity",
        "unknown_ethnicity": {"self_defined_ethnicity": 0.15836128413991374},
        "overrides": [],
        "refused": [],
        "caveats": [
            "Residents are those of the force's area in the named census. They are not the people "
            "who are in its streets and could be stopped: visitors, commuters and students are "
            "stopped and not counted, and ages and places differ."
        ],
        "per_residents": 1000,
        "reference": "White",
        "residents": {
            "census_year": 2021,
            "source": "Office for National Statistics, Census 2021, table TS021 (ethnic group) "
            "by lower-tier local authority, summed to police force areas by stopsearch "
            "with the ONS lookup of 2022",
            "licence": "Open Government Licence v3.0",
        },
    },
}
