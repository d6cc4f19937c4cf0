"""
Write one value of the API as the archive would write it.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

# Levels of lists and objects in a value, where real data has none. It is fixed so that what can be read does not
# depend on how deep the caller stands in Python's stack.
_DEEPEST = 50


class TooDeepError(Exception):
    """
    A value holds more levels of lists and objects than we write.
    """


def as_text(value: Any) -> str | None:
    """
    Write text as it is, booleans as True and False, no value as None, and anything that is not due as JSON.

    Raises:
        TooDeepError: The value holds more than 50 levels.
    """
    if value is None or value is msgspec.UNSET or value == "":
        return None
    if isinstance(value, str):
        return value
    if value is True or value is False:
        return str(value)
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"))


def _plain(value: Any, depth: int = 0) -> Any:
    if depth > _DEEPEST:
        raise TooDeepError
    if isinstance(value, msgspec.Struct):
        value = {key: part for key, part in msgspec.structs.asdict(value).items() if part is not msgspec.UNSET}
    if isinstance(value, dict):
        return {key: _plain(part, depth + 1) for key, part in value.items()}
    if isinstance(value, list):
        return [_plain(part, depth + 1) for part in value]
    return value
