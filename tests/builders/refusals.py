"""
What every refusal of a hostile request has to be, and the hostile values that tests send.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

# What a terminal, a log or a page would act on in place of showing it: controls, changes of direction, surrogates.
ACTED_ON = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
# Words of our insides, which nobody outside needs.
_INSIDE = re.compile(r"psycopg|traceback|sqlalchemy|\.py\b|postgres", re.IGNORECASE)
_LONGEST_BODY = 20_000

# Each as it stands in an address.
HOSTILE = [
    *map(
        quote,
        (
            "' OR '1'='1",
            "'; DROP TABLE stop; --",
            '" UNION SELECT key FROM server_key --',
            "\\",
            "%",
            "a\x00b",
            "\x1b[31mred",
            "a\r\nSet-Cookie: a=b",
            "\u202egnp.exe",
            "\U0001f600",
            "\u0661\u0662",
            "../../../etc/passwd",
            "-1",
            "1.5",
            "1e309",
            "NaN",
            "9" * 400,
            "{}",
            "x" * 4000,
        ),
    ),
    "%ff%fe",
    "%c0%ae%c0%ae",
    "%ed%a0%80",
]


def refused(response: Any, *, parameter: str | None = None) -> dict[str, Any]:
    """
    Make sure that a response refuses its request as it has to, and give the problem.

    Args:
        parameter: What the problem has to name.
    """
    where = f"{response.request.url} {response.status_code} {response.text[:500]}"
    assert 400 <= response.status_code < 500, where
    assert response.headers["content-type"] == "application/problem+json", where
    assert len(response.content) <= _LONGEST_BODY, where
    problem: dict[str, Any] = response.json()
    assert problem["status"] == response.status_code, where
    assert problem["detail"], where
    for text in _texts(problem):
        assert not ACTED_ON.search(text), where
    assert not _INSIDE.search(problem["detail"]), where
    if parameter is not None:
        assert parameter in [fault["parameter"].rpartition(".")[2] for fault in problem.get("errors", ())], where
    return problem


def _texts(told: Any) -> Iterator[str]:
    if isinstance(told, str):
        yield told
    elif isinstance(told, dict):
        for name, value in told.items():
            yield from _texts(name)
            yield from _texts(value)
    elif isinstance(told, list):
        for each in told:
            yield from _texts(each)
