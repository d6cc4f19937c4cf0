"""
The OpenAPI document, with what the framework leaves out of it put back.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from stopsearch.domain.licence import LICENCE
from stopsearch.serve.stop_examples import SNAPSHOT_EXAMPLE

_STILL_STANDS = {"description": "What If-None-Match names still stands: there is no body."}


def complete_document(document: dict[str, Any], routes: Iterable[BaseRoute]) -> dict[str, Any]:
    """
    Give a document whose examples have their nulls, which the framework drops, and whose answers from a snapshot say
    that they can be a 304 and name the snapshot in their meta.
    """
    for route in routes:
        if not isinstance(route, APIRoute) or not route.include_in_schema:
            continue
        for method in route.methods or ():
            operation = document["paths"][route.path_format][method.lower()]
            is_of_snapshot = any(parameter["name"] == "as_of" for parameter in operation.get("parameters", ()))
            for status, answer in route.responses.items():
                told = operation["responses"][str(status)]
                for media_type, content in answer.get("content", {}).items():
                    if "example" in content:
                        told["content"][media_type]["example"] = _with_meta(content["example"], is_of_snapshot)
            if is_of_snapshot:
                operation["responses"].setdefault("304", _STILL_STANDS)
                operation["responses"] = dict(sorted(operation["responses"].items()))
    return document


def _with_meta(example: Any, is_of_snapshot: bool) -> Any:
    """
    Give an example with the parts of meta that all answers share, where it is one and shows them not.
    """
    if not is_of_snapshot or not isinstance(example, dict) or "data" not in example:
        return example
    shared = {"snapshot": SNAPSHOT_EXAMPLE, "licence": LICENCE}
    return {**example, "next": example.get("next"), "meta": {**shared, **example.get("meta", {})}}
