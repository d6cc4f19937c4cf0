"""
Real answers of the routes that start and watch batches, for the OpenAPI document.
"""

from __future__ import annotations

import json
from typing import Any

_AT = "http://localhost:8000/v1/ingestions"

_QUEUED: dict[str, Any] = {
    "id": 12,
    "status": "queued",
    "trigger": "http",
    "requested_by": "token@127.0.0.1",
    "is_alive": False,
    "is_distributed": False,
    "note": None,
    "cancel_asked_at": None,
    "asked_for": {
        "to": "2023-07",
        "from": "2023-06",
        "kind": "ingest",
        "forces": ["durham"],
        "source": "api",
        "recheck": False,
        "archives": [],
    },
    "asked_at": "2026-11-24T22:25:40.039908+00:00",
    "started_at": None,
    "ended_at": None,
    "progress": {"force_months": None, "ended": 0},
    "run_counts": {},
    "error": None,
    "refused": [],
    "refused_count": 0,
    "links": {"self": f"{_AT}/12", "events": f"{_AT}/12/events", "cancel": f"{_AT}/12/cancel"},
}
_FINISHED: dict[str, Any] = {
    **_QUEUED,
    "status": "finished",
    "started_at": "2026-11-24T22:25:40.070802+00:00",
    "ended_at": "2026-11-24T22:25:40.312410+00:00",
    "progress": {"force_months": 2, "ended": 2},
    "run_counts": {"revised": 2},
}
_RUNS: list[dict[str, Any]] = [
    {
        "id": 31,
        "force": "durham",
        "month": "2023-07",
        "source": "api",
        "attempt": 1,
        "status": "revised",
        "revision": 1,
        "received": 6,
        "stored": 5,
        "rejected": 1,
        "added": 5,
        "withdrawn": 0,
        "origin": "https://data.police.uk/api/stops-force?force=durham&date=2023-07",
        "error": None,
        "started_at": "2026-11-24T22:25:40.197213+00:00",
        "ended_at": "2026-11-24T22:25:40.305109+00:00",
    },
    {
        "id": 32,
        "force": "durham",
        "month": "2023-06",
        "source": "api",
        "attempt": 1,
        "status": "revised",
        "revision": 1,
        "received": 5,
        "stored": 5,
        "rejected": 0,
        "added": 5,
        "withdrawn": 0,
        "origin": "https://data.police.uk/api/stops-force?force=durham&date=2023-06",
        "error": None,
        "started_at": "2026-11-24T22:25:40.198635+00:00",
        "ended_at": "2026-11-24T22:25:40.279980+00:00",
    },
]
_REPLAY: dict[str, Any] = {
    **_QUEUED,
    "id": 13,
    "asked_for": {
        "ids": None,
        "kind": "replay",
        "rule": None,
        "force": "durham",
        "month": "2023-07",
        "source": "kept",
    },
    "asked_at": "2026-11-24T22:31:02.514417+00:00",
    "links": {"self": f"{_AT}/13", "events": f"{_AT}/13/events", "cancel": f"{_AT}/13/cancel"},
}

_CANCELLED: dict[str, Any] = {
    **_QUEUED,
    "status": "cancelled",
    "cancel_asked_at": "2026-11-24T22:25:58.902714+00:00",
    "ended_at": "2026-11-24T22:25:58.902714+00:00",
}

QUEUED_BATCH: dict[str, Any] = {"data": _QUEUED}
CANCELLED_BATCH: dict[str, Any] = {"data": _CANCELLED}
QUEUED_REPLAY: dict[str, Any] = {"data": _REPLAY}
LIST_OF_BATCHES: dict[str, Any] = {"data": [_REPLAY, _FINISHED], "next": f"{_AT}?limit=2&before=12"}
FINISHED_BATCH: dict[str, Any] = {"data": {**_FINISHED, "runs": _RUNS}, "next": None}


def _event(name: str, position: str, data: dict[str, Any]) -> str:
    return f"event: {name}\nid: {position}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"


EVENTS = "retry: 2000\n\n" + "".join(
    [
        _event("batch", "0", _FINISHED),
        _event("run", "31", _RUNS[0]),
        _event("run", "32", _RUNS[1]),
        _event("end", "end", {"id": 12, "status": "finished"}),
    ]
)
