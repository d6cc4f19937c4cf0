"""
The words that fields of stops are given in, and what else can be asked of them.
"""

from __future__ import annotations

from typing import Any

from stopsearch.domain.dimensions import GROUPED_FIELDS
from stopsearch.domain.filters import NOT_GIVEN
from stopsearch.domain.stops import BOOLEAN_FIELDS
from stopsearch.domain.vocabulary import VOCABULARY

_GROUPS_OF = {field: group for group, field in GROUPED_FIELDS.items()}


def vocabulary() -> list[dict[str, Any]]:
    """
    Give each field that has a closed list of values: its labels in the publisher's words, with their broad groups.

    The lists are those of this version: a label keeps its meaning for ever, and a new one makes its records dead
    letters until a version knows it. `none` asks for stops without a value, wherever a value can be asked for.
    """
    labels = [
        {
            "field": field,
            "group_field": _GROUPS_OF.get(field),
            "labels": [{"label": label.text, "group": label.group} for label in VOCABULARY[field]],
            "groups": list(dict.fromkeys(label.group for label in VOCABULARY[field] if label.group)),
            "not_given": NOT_GIVEN,
        }
        for field in VOCABULARY
    ]
    booleans = [
        {
            "field": field,
            "group_field": None,
            "labels": [{"label": "true", "group": None}, {"label": "false", "group": None}],
            "groups": [],
            "not_given": NOT_GIVEN,
        }
        for field in BOOLEAN_FIELDS
    ]
    return labels + booleans
