"""
The manifest of an export: what its file holds, how it can be checked, and how it is cited.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import msgspec

from stopsearch.domain.licence import LICENCE
from stopsearch.domain.stop_columns import COLUMNS_BY_NAME
from stopsearch.flows.asked_export import AskedExport, ExportFormat
from stopsearch.flows.covered import covered
from stopsearch.flows.export_citation import citation_of
from stopsearch.flows.write_export import SNAPPED, WrittenExport

MANIFEST_SUFFIX = ".manifest.json"
MANIFEST_VERSION = 1


def manifest_of(asked: AskedExport, written: WrittenExport) -> dict[str, Any]:
    """
    Give the manifest of an export that was written. It holds nothing that two writings of it differ in.
    """
    return {
        "manifest_version": MANIFEST_VERSION,
        "file": asked.file_name,
        "format": str(asked.format),
        "rows": written.rows,
        "bytes": written.bytes,
        "sha256": written.sha256,
        "snapshot": {"id": asked.snapshot.id, "served_from": asked.snapshot.served_from.isoformat()},
        "query": asked.query,
        "coverage": covered(asked.snapshot, asked.filter).as_json(with_gaps=True),
        "columns": [
            {"name": name, "type": str(COLUMNS_BY_NAME[name].type), "meaning": COLUMNS_BY_NAME[name].meaning}
            for name in asked.columns
        ],
        "notes": [
            "One row is one record of a stop that was published, not one person: exact repeats are kept.",
            "A force-month that coverage counts as missing is not held; it is never zero stops.",
            SNAPPED,
        ],
        "licence": LICENCE,
        "citation": citation_of(asked),
        "software": software_of(asked.format),
    }


def encode_manifest(manifest: dict[str, Any]) -> bytes:
    """
    Write a manifest as JSON, for people to read too.
    """
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def software_of(format: ExportFormat) -> dict[str, str]:
    """
    Give the versions of the software that a format's bytes depend on.
    """
    named = ("stopsearch", "polars") if format is ExportFormat.PARQUET else ("stopsearch",)
    return {name: version(name) for name in named}
