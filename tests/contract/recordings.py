"""
The recorded real answers, read.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).parent / "recorded"
ANSWERS = {("leicestershire", "2023-07"): 531, ("metropolitan", "2024-12"): 2836}


def read_recorded(name: str) -> Any:
    """
    Read one recorded answer.
    """
    path = RECORDED / name
    body = path.read_bytes()
    return json.loads(gzip.decompress(body) if path.suffix == ".gz" else body)


def read_answer(force: str, month: str) -> list[dict[str, Any]]:
    """
    Read the recorded `stops-force` answer of a force-month.
    """
    records: list[dict[str, Any]] = read_recorded(f"stops-force_{force}_{month}.json.gz")
    return records
