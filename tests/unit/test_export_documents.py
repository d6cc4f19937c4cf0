"""
The data dictionary of the exports is one: manifests, files and the document say the same.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stopsearch.domain.licence import LICENCE
from stopsearch.domain.stop_columns import COLUMNS_BY_NAME, REVISION_COLUMN, STOP_COLUMNS, STREET_COLUMNS_OF_STOP
from stopsearch.flows.asked_export import ExportFormat
from stopsearch.flows.export_parquet import _TYPES
from stopsearch.serve import answers
from stopsearch.serve.export_examples import EXAMPLES, MANIFEST_EXAMPLE
from stopsearch.serve.stop_formats import FORMATS
from stopsearch.store.export_rows import COLUMNS, REVISION_COLUMNS, STREET_COLUMNS

pytestmark = pytest.mark.unit

PAGE = (Path(__file__).parents[2] / "docs" / "exports.md").read_text()


def table_under(heading: str) -> list[tuple[str, str, str]]:
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return [tuple(row) for row in re.findall(r"^\| `(\w+)` \| (\w+) \| (.+) \|$", section, flags=re.MULTILINE)]  # type: ignore[misc]


def test_columns_are_those_of_the_data_dictionary() -> None:
    assert tuple(column.name for column in STOP_COLUMNS) == COLUMNS
    assert (*COLUMNS, *REVISION_COLUMNS, *STREET_COLUMNS) == tuple(COLUMNS_BY_NAME)
    assert all(column.meaning.endswith(".") for column in COLUMNS_BY_NAME.values())


def test_page_has_the_data_dictionary() -> None:
    told = [(column.name, str(column.type), column.meaning) for column in STOP_COLUMNS]
    assert table_under("The columns") == told


def test_page_has_the_columns_that_are_given_on_request() -> None:
    told = [(c.name, str(c.type), c.meaning) for c in (REVISION_COLUMN, *STREET_COLUMNS_OF_STOP)]
    assert table_under("Columns on request") == told


def test_every_type_has_one_in_parquet() -> None:
    assert {column.type for column in COLUMNS_BY_NAME.values()} <= set(_TYPES)


def test_examples_have_the_columns() -> None:
    assert tuple(EXAMPLES[ExportFormat.CSV]["example"].splitlines()[0].split(",")) == COLUMNS
    assert tuple(EXAMPLES[ExportFormat.GEOJSON]["example"]["features"][0]["properties"]) == COLUMNS
    assert tuple(column["name"] for column in MANIFEST_EXAMPLE["columns"]) == COLUMNS


def test_licence_is_the_one_that_answers_name() -> None:
    assert answers.LICENCE == LICENCE


def test_formats_are_called_as_those_of_pages_are() -> None:
    called = {format.name: format.media_types[0] for format in FORMATS}
    for format in ExportFormat:
        assert called.get(str(format), format.media_type) == format.media_type
