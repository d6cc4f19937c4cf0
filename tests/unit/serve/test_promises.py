"""
The page of promises tells each problem, limit and header as the code has it.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from starlette.requests import Request

from stopsearch.domain import errors
from stopsearch.domain.errors import SourceError, StopSearchError
from stopsearch.serve.conditional import cache_control
from stopsearch.serve.edge_headers import EXPOSED_HEADERS
from stopsearch.serve.limits import MOST_BODY_BYTES, MOST_TARGET_BYTES
from stopsearch.serve.problems import status_of
from stopsearch.serve.slow_clients import LEAST_BYTES_PER_S, MOST_HEAD_BYTES
from stopsearch.settings import Settings

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "api-promises.md").read_text()
TOLD = dict(re.findall(r"^\| `(\w+)` \| (\d{3}[\w, ]*) \|", PAGE, flags=re.MULTILINE))

# Marks, and what only the report of an ingestion tells, or a command: what cannot be sent waits in the ledger.
NO_ANSWERS = {errors.Transient, errors.Terminal, errors.MonthRefused, errors.BrokerUnavailable}


def kinds_met() -> list[type[StopSearchError]]:
    found = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, StopSearchError)]
    return [kind for kind in found if kind not in NO_ANSWERS and not issubclass(kind, SourceError)]


def request(**path_params: str) -> Request:
    return Request({"type": "http", "method": "GET", "path": "/", "headers": [], "path_params": path_params})


@pytest.mark.parametrize("error", kinds_met(), ids=lambda error: error.kind)
def test_every_error_has_its_status_on_the_page(error: type[StopSearchError]) -> None:
    in_path, in_parameter = (status_of(error("It is so."), asked) for asked in (request(force="durham"), request()))
    expected = str(in_path) if in_path == in_parameter else f"{in_path} in a path, {in_parameter} elsewhere"

    assert TOLD[error.kind] == expected


def test_every_problem_that_the_server_makes_itself_is_on_the_page() -> None:
    made: set[str] = set()
    for path in (ROOT / "src" / "stopsearch" / "serve").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "kind" and isinstance(node.value, ast.Constant):
                made.add(node.value.value)

    assert made >= {"too_many_requests", "body_too_large", "server_fault"}
    assert made - set(TOLD) == set()


def test_the_page_has_no_problem_twice() -> None:
    rows = re.findall(r"^\| `(\w+)` \| \d{3}", PAGE, flags=re.MULTILINE)
    assert len(rows) == len(set(rows))


@pytest.mark.parametrize(
    "figure",
    [
        f"| {MOST_TARGET_BYTES:,} bytes |",
        f"| {MOST_HEAD_BYTES:,} bytes, within 10 s |",
        f"| {MOST_BODY_BYTES // 1024**2} MiB, within 10 s |",
        f"less than {LEAST_BYTES_PER_S:,} bytes a second for {Settings.model_fields['export_stall_s'].default} s",
        f"| {Settings.model_fields['client_requests_per_s'].default} a second on average, "
        f"{Settings.model_fields['client_burst'].default} at once |",
        f"| {Settings.model_fields['statement_timeout_s'].default} s | 503 `query_too_slow` |",
        f"| {Settings.model_fields['export_streams'].default} | 503 `server_busy` | `STOPSEARCH_EXPORT_STREAMS` |",
        f"| {Settings.model_fields['event_streams'].default} | 503 `server_busy` | `STOPSEARCH_EVENT_STREAMS` |",
        f"`{cache_control(True)}`",
        f"`{cache_control(False)}`",
        *(f"`{name}`" for name in EXPOSED_HEADERS),
    ],
)
def test_figures_and_headers_are_those_of_the_code(figure: str) -> None:
    assert figure in PAGE
