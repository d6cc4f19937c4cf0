"""
`stopsearch export`: a filter, a snapshot, a manifest beside the file, every format.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from builders.command_line import CommandLine, command_line_of
from builders.ingests import ingest_archives
from stopsearch.flows.plan import Wanted
from stopsearch.sample import sample_archives
from stopsearch.store.database import Database, outside_database

pytestmark = pytest.mark.e2e

EARLIER, LATER = sample_archives()


@pytest.fixture(scope="module")
def held(postgres_server: Any, migrated_template: str, database_names: Iterator[str]) -> Iterator[Database]:
    name = next(database_names)
    database = outside_database(postgres_server.create(name, template=migrated_template))
    ingest_archives(database, LATER, wanted=Wanted(forces=("durham", "cumbria")))
    yield database
    database.close()
    postgres_server.drop(name)


@pytest.fixture
def stopsearch(held: Database, tmp_path: Path) -> CommandLine:
    return command_line_of(held, tmp_path)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_manifest_lies_beside_the_file_and_is_true(stopsearch: CommandLine, tmp_path: Path) -> None:
    for name in ("stops.csv", "stops.ndjson", "stops.geojson", "stops.parquet"):
        said = json.loads(stopsearch.look("export", "--force", "durham", "--output", name, "--json").err)
        manifest = json.loads((tmp_path / f"{name}.manifest.json").read_text())
        body = (tmp_path / name).read_bytes()
        assert manifest["sha256"] == said["sha256"] == hashlib.sha256(body).hexdigest()
        assert (manifest["rows"], manifest["bytes"]) == (said["rows"], len(body))
        assert manifest["snapshot"]["id"] == said["snapshot"]
        assert manifest["query"] == said["query"] == "force=durham"
        assert [column["name"] for column in manifest["columns"]] == said["columns"]
    assert pl.read_parquet(tmp_path / "stops.parquet").height == len(rows_of(tmp_path / "stops.csv"))
    stopsearch.look("export", "--output", "-", "--manifest", "elsewhere.json", "--force", "durham")
    assert json.loads((tmp_path / "elsewhere.json").read_text())["rows"] == manifest["rows"]


def test_nothing_is_written_beside_a_device(stopsearch: CommandLine, tmp_path: Path) -> None:
    before = set(Path("/dev").iterdir())
    stopsearch.look("export", "--force", "durham", "--format", "csv", "--output", "/dev/null")
    assert set(Path("/dev").iterdir()) == before


def test_where_leaves_the_stops_that_have_the_labels(stopsearch: CommandLine, tmp_path: Path) -> None:
    stopsearch.look("export", "--output", "all.csv")
    stopsearch.look(
        *("export", "--output", "some.csv", "--where", "gender=Female", "--where", "gender=none"),
        *("--where", "outcome_group=Arrest", "--where", "removal_of_more_than_outer_clothing=false"),
    )
    expected = [
        row
        for row in rows_of(tmp_path / "all.csv")
        if row["gender"] in ("Female", "")
        and row["outcome_group"] == "Arrest"
        and row["removal_of_more_than_outer_clothing"] == "false"
    ]
    assert rows_of(tmp_path / "some.csv") == expected
    assert expected


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--where", "gendr=Male"], "gender"),
        (["--where", "gender=Femal"], "'Female'"),
        (["--where", "gender"], "'Male'"),
        (["--where", "operation=maybe"], "'true'"),
        (["--where", "operation=true", "--where", "operation=none"], "twice"),
        (["--snapshot", "abc"], "64 hexadecimal digits"),
        (["--snapshot", "0123456789ab"], "No snapshot"),
        (["--snapshot", "0123456789ab", "--as-of", "2024-01-01"], "both"),
        (["--manifest", "-"], "is a file"),
        (["--manifest", "nowhere/manifest.json"], "folder"),
    ],
)
def test_what_cannot_be_meant_is_told_and_nothing_written(
    stopsearch: CommandLine, tmp_path: Path, options: list[str], told: str
) -> None:
    ended = stopsearch.look("export", "--output", "stops.csv", *options, expect=2)
    assert told in ended.err
    assert list(tmp_path.glob("*.csv*")) == []


def test_snapshot_is_given_again_after_a_revision(database: Database, tmp_path: Path) -> None:
    stopsearch = command_line_of(database, tmp_path)
    ingest_archives(database, EARLIER, wanted=Wanted(forces=("durham",)))
    said = json.loads(stopsearch.look("export", "--output", "before.csv", "--json").err)
    ingest_archives(database, LATER, wanted=Wanted(forces=("durham",)))
    stopsearch.look("export", "--output", "now.csv")
    stopsearch.look("export", "--output", "again.csv", "--snapshot", said["snapshot"][:12])
    before, now, again = ((tmp_path / f"{name}.csv").read_bytes() for name in ("before", "now", "again"))
    assert before == again != now
    manifests = [(tmp_path / f"{name}.csv.manifest.json").read_text() for name in ("before", "again")]
    assert manifests[0] == manifests[1]
