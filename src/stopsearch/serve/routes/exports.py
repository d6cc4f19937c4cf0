"""
Whole files: everything or a filter, as a stream or from a finished file, each with its manifest.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from stopsearch.domain.stop_columns import STOP_COLUMNS
from stopsearch.flows.asked_export import AskedExport, ExportFormat
from stopsearch.flows.export_manifest import encode_manifest, software_of
from stopsearch.serve.answers import JSON, SOFTWARE_VERSION, base_url, meta_of, page_url, snapshot_headers
from stopsearch.serve.conditional import (
    NO_STORE,
    cache_control,
    conditional_headers,
    etag_of,
    not_modified,
    not_modified_answer,
)
from stopsearch.serve.export_desk import desk_of
from stopsearch.serve.export_examples import EXAMPLES, LIST_EXAMPLE, MANIFEST_EXAMPLE
from stopsearch.serve.export_stream import ExportStream
from stopsearch.serve.file_answer import file_answer
from stopsearch.serve.parameters import FILTERS, MOMENT, Asked, openapi_parameters, read_query
from stopsearch.serve.problems import PROBLEMS, problem_answers

_ALLOWED = (*FILTERS, *MOMENT)
_PATH = "/v1/exports"
_RANGES = problem_answers(416)

router = APIRouter(prefix="/v1", tags=["exports"])


@router.get(
    "/exports",
    summary="What can be exported, and what is ready",
    openapi_extra={"parameters": openapi_parameters(MOMENT)},
    responses={
        200: {"description": "The formats.", "content": {JSON: {"example": LIST_EXAMPLE}}},
        **PROBLEMS,
    },
    dependencies=[],
)
async def list_exports(request: Request) -> Response:
    """
    List the formats that everything can be had in, the columns of each, and the finished files that are ready now.

    Every address takes the filters of `/v1/stops`. A file that is ready is sent at once and can be resumed by ranges;
    the list of those is of this moment, and no part of the snapshot.
    """
    asked = read_query(request, MOMENT)
    snapshot = await request.app.state.reading.snapshot(asked)
    base = base_url(request)
    formats = [
        {
            "format": str(format),
            "media_type": format.media_type,
            "url": _url(base, AskedExport(snapshot=snapshot, format=format)),
            "manifest": _url(base, AskedExport(snapshot=snapshot, format=format), is_manifest=True),
        }
        for format in ExportFormat
    ]
    ready = [
        {name: each.manifest[name] for name in ("format", "snapshot", "query", "rows", "bytes", "sha256")}
        for each in await desk_of(request).list_ready()
    ]
    columns = [{"name": each.name, "type": str(each.type), "meaning": each.meaning} for each in STOP_COLUMNS]
    body = {
        "data": formats,
        "next": None,
        "meta": {**meta_of(asked, snapshot, base), "columns": columns, "ready": ready},
    }
    return Response(
        msgspec.json.encode(body),
        media_type=JSON,
        headers={**snapshot_headers(snapshot), "Cache-Control": NO_STORE},
    )


def _url(base: str, export: AskedExport, *, is_manifest: bool = False) -> str:
    suffix = ".manifest.json" if is_manifest else ""
    path = f"{_PATH}/stops.{export.format}{suffix}"
    return page_url(base, Asked(path=path, filter=export.filter, canonical=export.query), export.snapshot, {})


async def _asked_export(request: Request, format: ExportFormat) -> tuple[Asked, AskedExport]:
    reading = request.app.state.reading
    asked = await reading.read_query(request, _ALLOWED)
    return asked, AskedExport(snapshot=await reading.snapshot(asked), format=format, filter=asked.filter)


def _etag(export: AskedExport, path: str) -> str:
    software = software_of(export.format)
    return etag_of(export.snapshot.id, export.query, path, "", SOFTWARE_VERSION, variant=software.get("polars", ""))


def _is_pinned(asked: Asked, export: AskedExport) -> bool:
    return asked.snapshot == export.snapshot.id


def _answers_with(format: ExportFormat) -> Callable[[Request], Awaitable[Response]]:
    async def get_export(request: Request) -> Response:
        asked, export = await _asked_export(request, format)
        desk = desk_of(request)
        etag, is_pinned = _etag(export, asked.path), _is_pinned(asked, export)
        if not_modified(request, etag):
            return not_modified_answer(etag, cache_control(is_pinned))
        headers = {
            **snapshot_headers(export.snapshot),
            **conditional_headers(etag, is_pinned=is_pinned),
            "Content-Disposition": f'attachment; filename="{export.file_name}"',
            "Link": f'<{_url(base_url(request), export, is_manifest=True)}>; rel="describedby"',
        }
        # HTTP/1.0 knows no chunks, which tell the end of a body from a connection that was cut: it is given a finished
        # file, whose length is told. Some proxies ask so.
        is_whole = format is ExportFormat.PARQUET or request.scope["http_version"] == "1.0"
        ready = await (desk.ready(export) if is_whole else desk.find(export))
        if ready is None:
            return await ExportStream.begin(export, desk=desk, headers=headers)
        return await file_answer(request, ready, headers=headers, media_type=format.media_type, stall_s=desk.stall_s)

    return get_export


def _answers_with_manifest(format: ExportFormat) -> Callable[[Request], Awaitable[Response]]:
    async def get_manifest(request: Request) -> Response:
        asked, export = await _asked_export(request, format)
        etag, is_pinned = _etag(export, asked.path), _is_pinned(asked, export)
        if not_modified(request, etag):
            return not_modified_answer(etag, cache_control(is_pinned))
        manifest: dict[str, Any] = await desk_of(request).manifest(export)
        return Response(
            encode_manifest(manifest),
            media_type=JSON,
            headers={**snapshot_headers(export.snapshot), **conditional_headers(etag, is_pinned=is_pinned)},
        )

    return get_manifest


_SUMMARIES = {
    ExportFormat.CSV: "Stops as CSV",
    ExportFormat.NDJSON: "Stops as JSON lines",
    ExportFormat.GEOJSON: "Stops as GeoJSON",
    ExportFormat.PARQUET: "Stops as Parquet",
}
_DESCRIPTIONS = {
    ExportFormat.CSV: "All stops, or those of a filter, by force, month, time and id, with a header line. Cells that a "
    "spreadsheet would run as a formula are defused by an apostrophe.",
    ExportFormat.NDJSON: "All stops, or those of a filter, by force, month, time and id, one JSON object a line.",
    ExportFormat.GEOJSON: "All stops, or those of a filter, as one FeatureCollection. Stops without a location have "
    "no geometry; locations are snapped by the publisher, and so approximate.",
    ExportFormat.PARQUET: "All stops, or those of a filter, with types. The file is built when it is first asked for, "
    "which takes a while, and is sent as a file from then on: with its length, and by ranges.",
}
_COMMON = (
    " The same snapshot and filter give the same bytes for ever. A connection that is cut ends without the end of the "
    "body, so that half a file is never taken for a whole one. `Link` names the manifest: rows, sha256, coverage and "
    "the meaning of each column."
)

for _format in ExportFormat:
    router.add_api_route(
        f"/exports/stops.{_format}.manifest.json",
        _answers_with_manifest(_format),
        methods=["GET"],
        name=f"get_{_format}_manifest",
        summary=f"Manifest: {_SUMMARIES[_format]}",
        description="Rows, bytes and sha256 of the export of the same query, its snapshot and coverage, the meaning of "
        "each column, licence and citation. Where it was never written to its end, that is done first.",
        openapi_extra={"parameters": openapi_parameters(_ALLOWED)},
        responses={
            200: {"description": "The manifest.", "content": {JSON: {"example": MANIFEST_EXAMPLE}}},
            **PROBLEMS,
        },
        dependencies=[],
    )
    router.add_api_route(
        f"/exports/stops.{_format}",
        _answers_with(_format),
        methods=["GET"],
        name=f"get_{_format}_export",
        response_class=Response,
        summary=_SUMMARIES[_format],
        description=_DESCRIPTIONS[_format] + _COMMON,
        openapi_extra={"parameters": openapi_parameters(_ALLOWED)},
        responses={
            200: {
                "description": "The file.",
                "content": {
                    # GeoJSON is read as the JSON that it is, the others as text or bytes.
                    _format.media_type: {
                        "schema": {"type": "object" if _format is ExportFormat.GEOJSON else "string"},
                        **EXAMPLES[_format],
                    }
                },
            },
            206: {"description": "The range of the file that was asked for, where the file is ready."},
            304: {"description": "The client holds it already."},
            **PROBLEMS,
            **_RANGES,
        },
        dependencies=[],
    )
