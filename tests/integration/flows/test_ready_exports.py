"""
Finished exports are found whole or not at all, by whoever asks the same, and the last used are kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from builders.ingests import ingest_archives
from stopsearch.domain.errors import ConfigError
from stopsearch.domain.filters import StopFilter
from stopsearch.flows import ready_exports
from stopsearch.flows.asked_export import AskedExport, ExportFormat
from stopsearch.flows.plan import Wanted
from stopsearch.flows.ready_exports import ReadyExports
from stopsearch.flows.write_export import ExportReader
from stopsearch.sample import sample_archives
from stopsearch.store.database import Database, outside_database
from stopsearch.store.export_rows import ChunkRows
from stopsearch.store.snapshots import Snapshot, current_snapshot

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def held(postgres_server: Any, migrated_template: str, database_names: Iterator[str]) -> Iterator[Database]:
    """
    A database with two forces; no test writes to it.
    """
    name = next(database_names)
    database = outside_database(postgres_server.create(name, template=migrated_template))
    ingest_archives(database, *sample_archives(), wanted=Wanted(forces=("durham", "cumbria")))
    yield database
    database.close()
    postgres_server.drop(name)


@pytest.fixture(scope="module")
def snapshot(held: Database) -> Snapshot:
    with held.connect(autocommit=True) as connection:
        return current_snapshot(connection)[0]


def asked(snapshot: Snapshot, format: ExportFormat = ExportFormat.CSV, **filters: Any) -> AskedExport:
    return AskedExport(snapshot=snapshot, format=format, filter=StopFilter(**filters))


def reading(database: Database, question: AskedExport) -> Callable[[Any], ChunkRows]:
    reader = ExportReader(question)

    def read(chunk: Any) -> ChunkRows:
        with database.connect(autocommit=True) as connection:
            return reader.read(connection, chunk)

    return read


def built(ready: ReadyExports, database: Database, question: AskedExport) -> Path:
    return ready.build(question, reading(database, question)).path


@pytest.mark.parametrize("format", ExportFormat)
def test_is_found_again_by_the_same_question_alone(
    held: Database, snapshot: Snapshot, tmp_path: Path, format: ExportFormat
) -> None:
    ready = ReadyExports(tmp_path, cache_mb=100)
    question = asked(snapshot, format, forces=("durham", "cumbria"))
    assert ready.find(question) is None
    path = built(ready, held, question)
    found = ReadyExports(tmp_path, cache_mb=100).find(asked(snapshot, format, forces=("cumbria", "durham")))
    assert found is not None
    assert found.path == path
    assert found.manifest["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    others = [asked(snapshot, format), *(asked(snapshot, each) for each in ExportFormat if each is not format)]
    assert [ready.find(other) for other in others] == [None] * 4


def test_what_another_database_told_of_a_snapshot_is_not_taken(
    held: Database, snapshot: Snapshot, tmp_path: Path
) -> None:
    """
    The same revisions have the same id in every database; since when they are served, and what is missing, differs.
    """
    ready = ReadyExports(tmp_path, cache_mb=100)
    built(ready, held, asked(snapshot))
    elsewhere = replace(snapshot, served_from=snapshot.served_from + timedelta(days=1))

    assert ready.find(asked(elsewhere)) is None
    assert ready.find_manifest(asked(elsewhere)) is None
    assert ready.find(asked(snapshot)) is not None


def test_two_builders_at_once_both_end_well(held: Database, snapshot: Snapshot, tmp_path: Path) -> None:
    question = asked(snapshot)
    paths: list[Path] = []
    meeting = threading.Barrier(2)

    def build() -> None:
        read = reading(held, question)

        def read_together(chunk: Any) -> ChunkRows:
            meeting.wait(20)
            return read(chunk)

        paths.append(ReadyExports(tmp_path, cache_mb=100).build(question, read_together).path)

    threads = [threading.Thread(target=build) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(paths) == 2
    assert len(set(paths)) == 1
    manifest = json.loads(paths[0].with_name(paths[0].name + ".manifest.json").read_bytes())
    assert manifest["sha256"] == hashlib.sha256(paths[0].read_bytes()).hexdigest()
    assert len(list((tmp_path / "exports").iterdir())) == 2


@pytest.mark.parametrize("format", ExportFormat)
def test_partial_file_is_never_found(held: Database, snapshot: Snapshot, tmp_path: Path, format: ExportFormat) -> None:
    ready = ReadyExports(tmp_path, cache_mb=100)
    question = asked(snapshot, format)
    read = reading(held, question)
    # It was there before and had to make room: its manifest has stayed.
    built(ready, held, question).unlink()
    seen: list[Any] = []

    def break_off(chunk: Any) -> ChunkRows:
        seen.append(ready.find(question))
        seen.append(ready.list_ready() or None)
        if len(seen) > 2:
            raise KeyboardInterrupt
        return read(chunk)

    with pytest.raises(KeyboardInterrupt):
        ready.build(question, break_off)
    assert seen == [None] * 4
    assert ready.find(question) is None
    assert [file.name.endswith(".manifest.json") for file in (tmp_path / "exports").iterdir()] == [True]


def test_what_a_killed_process_left_is_removed_in_time(held: Database, snapshot: Snapshot, tmp_path: Path) -> None:
    ready = ReadyExports(tmp_path, cache_mb=100)
    path = built(ready, held, asked(snapshot))
    young, old = (path.with_name(f"{path.name}.{name}.partial") for name in ("young", "old"))
    for partial in (young, old):
        partial.write_bytes(b"half")
    os.utime(old, (0, time.time() - 7200))
    ready.make_room()
    assert (young.exists(), old.exists(), path.exists()) == (True, False, True)
    assert len(ready.list_ready()) == 1


def test_last_used_are_kept(
    held: Database, snapshot: Snapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = ReadyExports(tmp_path, cache_mb=1)
    forces = [asked(snapshot, forces=(force,)) for force in ("durham", "cumbria")]
    paths = [built(ready, held, question) for question in forces]
    for path, used_s in zip(paths, (500, 1000), strict=True):
        with path.open("ab") as file:  # as if each were of 700 kB, which two of are too many
            file.truncate(700_000)
        os.utime(path, (time.time() - used_s,) * 2)
    assert ready.find(forces[1]) is not None  # which was used longest ago until now
    assert paths[1].stat().st_mtime > time.time() - 60
    os.utime(paths[1], (time.time() - 100,) * 2)
    ready.make_room()
    assert [path.exists() for path in paths] == [False, True]
    assert ready.find(forces[0]) is None
    # The manifest stays, and the file that is built again is the same.
    manifest = ready.find_manifest(forces[0])
    assert manifest is not None
    again = built(ready, held, forces[0])
    assert hashlib.sha256(again.read_bytes()).hexdigest() == manifest["sha256"]


def test_file_of_the_last_minute_is_spared(
    held: Database, snapshot: Snapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    With no room at all a file is there for those who just asked for it, and gone at the next turn.
    """
    ready = ReadyExports(tmp_path, cache_mb=0)
    path = built(ready, held, asked(snapshot))
    assert path.exists()
    now = time.time()
    monkeypatch.setattr(ready_exports.time, "time", lambda: now + 61)
    ready.make_room()
    assert not path.exists()


def test_folder_that_cannot_be_written_is_named(held: Database, snapshot: Snapshot, tmp_path: Path) -> None:
    (tmp_path / "exports").write_text("no folder")
    with pytest.raises(ConfigError, match=str(tmp_path / "exports")):
        built(ReadyExports(tmp_path, cache_mb=1), held, asked(snapshot))


def test_manifest_that_is_broken_is_none(held: Database, snapshot: Snapshot, tmp_path: Path) -> None:
    ready = ReadyExports(tmp_path, cache_mb=100)
    question = asked(snapshot)
    path = built(ready, held, question)
    path.with_name(path.name + ".manifest.json").write_text('{"rows": 1')
    assert ready.find(question) is None
    assert ready.list_ready() == []
    assert built(ready, held, question) == path
    assert ready.find(question) is not None
