"""
A stop as JSON answers carry it: the columns of an export, in their order.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from uuid import UUID

from stopsearch.domain.dimensions import GROUPED_FIELDS
from stopsearch.domain.vocabulary import VOCABULARY
from stopsearch.store.export_rows import COLUMNS

_GROUP_OF = {group: {label.text: label.group for label in VOCABULARY[field]} for group, field in GROUPED_FIELDS.items()}


def stop_json(values: Mapping[str, Any], **of_month: Any) -> dict[str, Any]:
    """
    Give one stop as JSON can hold it.

    Args:
        values: Its values by column, in words; broad groups are found where they are not among them.
        of_month: What is told of its whole force-month, by column.
    """
    return {name: _plain(_value(name, values, of_month)) for name in COLUMNS}


def _value(name: str, values: Mapping[str, Any], of_month: Mapping[str, Any]) -> Any:
    if name in of_month:
        return of_month[name]
    if name in values:
        return values[name]
    return _GROUP_OF[name].get(values[GROUPED_FIELDS[name]])


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value
