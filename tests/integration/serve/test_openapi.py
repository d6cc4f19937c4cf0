"""
The OpenAPI document is true: of thousands of generated requests none is answered with a fault of the server, nor with
a status or a content type that the document does not tell of.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.testclient import TestClient

from builders.running_server import TOKEN, running_server
from stopsearch.store.database import Database

pytestmark = pytest.mark.integration

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
CASES = int(os.environ.get("STOPSEARCH_TEST_API_CASES", "2400"))

# Behind the token: they start, show and follow what brings data in.
NEED_TOKEN = {
    ("POST", "/v1/ingestions"),
    ("GET", "/v1/ingestions"),
    ("GET", "/v1/ingestions/{batch_id}"),
    ("GET", "/v1/ingestions/{batch_id}/events"),
    ("POST", "/v1/ingestions/{batch_id}/cancel"),
    ("POST", "/v1/dead-letters/replay"),
}


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method.upper(), path, operation


@pytest.fixture
def document(api: TestClient) -> dict[str, Any]:
    """
    The OpenAPI document, as it is served.
    """
    answer = api.get("/openapi.json")
    assert answer.status_code == 200
    told: dict[str, Any] = answer.json()
    return told


def test_every_route_says_whether_it_needs_a_token(document: dict[str, Any]) -> None:
    guarded = {(method, path) for method, path, operation in operations(document) if operation.get("security")}
    assert guarded == NEED_TOKEN


def test_a_route_that_says_it_needs_a_token_refuses_without_one(document: dict[str, Any], api: TestClient) -> None:
    for method, path, operation in operations(document):
        if not operation.get("security"):
            continue
        answer = api.request(method, path.replace("{batch_id}", "1"), json={})
        assert (answer.status_code, answer.json()["type"]) == (401, "/problems/token_refused"), path
        assert answer.headers["www-authenticate"].startswith("Bearer")
        wrong = api.request(
            method, path.replace("{batch_id}", "1"), json={}, headers={"Authorization": f"Bearer {TOKEN}x"}
        )
        assert wrong.status_code == 401, path


def test_without_a_configured_token_those_routes_are_off(stocked: Database, make_api: Any) -> None:
    api = make_api(stocked, api_token=None)
    for method, path in sorted(NEED_TOKEN):
        answer = api.request(
            method, path.replace("{batch_id}", "1"), json={}, headers={"Authorization": f"Bearer {TOKEN}"}
        )
        assert (answer.status_code, answer.json()["type"]) == (403, "/problems/access_off"), path


def test_every_operation_is_described_with_an_example_and_its_problems(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        where = f"{method} {path}"
        assert operation.get("summary"), where
        assert len(operation.get("description", "")) > 40, where
        assert operation.get("tags"), where
        declared = set(operation["responses"])
        assert declared & {"200", "202"}, where
        if path.startswith("/v1/"):
            assert {"422", "429", "503"} <= declared, where
            [good] = [operation["responses"][status] for status in ("200", "202") if status in declared]
            has_example = any(
                "example" in content or "examples" in content or "example" in content.get("schema", {})
                for content in good["content"].values()
            )
            assert has_example or path.endswith(".parquet"), where
        for status, answer in operation["responses"].items():
            if status >= "400":
                assert set(answer["content"]) == {"application/problem+json"}, f"{where} {status}"


def test_generated_requests_are_answered_as_the_document_says(own_stocked: Database, tmp_path: Any) -> None:
    asked: Counter[tuple[str, int]] = Counter()
    with running_server(own_stocked, data_dir=tmp_path, api_token=TOKEN, upstream_url="http://127.0.0.1:9/api") as url:
        schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
        found = [result.ok() for result in schema.get_all_operations()]
        for operation in found:
            for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
                takes_nothing = not operation.body and not any(True for _ in operation.iter_parameters())
                if takes_nothing and mode is schemathesis.GenerationMode.NEGATIVE:
                    continue  # there is nothing to get wrong
                ask_in_many_ways(operation, mode, times=CASES // len(found) // 2 + 3, asked=asked)
    statuses: Counter[int] = Counter()
    for (_, status), times in asked.items():
        statuses[status] += times
    assert asked.total() >= min(CASES, 2000), statuses
    assert {path for path, _ in asked} == {operation.label for operation in found}
    assert statuses[200] > asked.total() // 20
    assert statuses[422] > asked.total() // 20


def ask_in_many_ways(
    operation: Any, mode: schemathesis.GenerationMode, *, times: int, asked: Counter[tuple[str, int]]
) -> None:
    @settings(
        max_examples=times,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: schemathesis.Case) -> None:
        if case.operation.path.endswith("/events"):
            case.path_parameters["batch_id"] = 2**31 - 2  # a batch that is not: a stream would not end
        if "/exports/stops" in case.operation.path and mode is schemathesis.GenerationMode.POSITIVE:
            case.query["force"] = ["sussex"]  # one month: whole files would be tens of megabytes each
        answer = case.call(headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60)
        asked[operation.label, answer.status_code] += 1
        case.validate_response(answer, checks=CHECKS)

    ask()


def test_examples_have_what_the_answers_have_nulls_too(document: dict[str, Any], api: TestClient) -> None:
    """
    The framework leaves nulls out of what it is given.
    """
    for method, path, operation in operations(document):
        content = operation["responses"].get("200", {}).get("content", {}).get("application/json", {})
        example = content.get("example")
        if method == "GET" and isinstance(example, dict) and "data" in example:
            assert "next" in example, path
            if any(parameter["name"] == "as_of" for parameter in operation["parameters"]):
                assert example["meta"]["snapshot"].keys() == {"id", "served_from"}, path
                assert "304" in operation["responses"], path
    shown = document["paths"]["/v1/stops"]["get"]["responses"]["200"]["content"]["application/json"]["example"]
    given = api.get("/v1/stops?limit=1&force=leicestershire&from=2023-07").json()
    assert shown["data"][0].keys() == given["data"][0].keys()


def test_operations_have_short_names_of_their_own(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)
    assert "list_stops" in names


def test_a_suffix_has_one_media_type(document: dict[str, Any]) -> None:
    for path in ("/v1/stops.csv", "/v1/stops.ndjson", "/v1/stops.geojson", "/v1/counts.csv", "/v1/counts.ndjson"):
        assert len(document["paths"][path]["get"]["responses"]["200"]["content"]) == 1, path
