"""
What can't be meant ends in one clear line with its remedy, a non-zero exit code, and nothing written.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.command_line import CommandLine
from stopsearch.cli.app import run

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize(
    ("arguments", "settings", "code", "told"),
    [
        (["ingest", "--force", "durhm"], {}, 2, "Did you mean durham"),
        (["plan", "--force", "durham,metropolitian"], {}, 2, "Did you mean metropolitan"),
        (["coverage", "--force", "Kent"], {}, 2, "Did you mean kent"),
        (["ingest", "--from", "2024-13"], {}, 2, "YYYY-MM"),
        (["ingest", "--from", "2024-05", "--to", "2024-01"], {}, 2, "--from 2024-01 --to 2024-05"),
        (["ingest", "--from", "2900-01"], {}, 2, "future"),
        (["ingest", "nowhere.zip"], {}, 2, "nowhere.zip"),
        (["ingest", "--source", "archive"], {}, 2, "PATH"),
        (["ingest", "--source", "api", "nowhere.zip"], {}, 2, "Leave one of the two out"),
        (["ingest", "--published", "2024-01"], {}, 2, "--published"),
        (["ingest", "--forse", "kent"], {}, 2, "--force"),
        (["export", "--output", "nowhere/stops.csv"], {}, 2, "folder"),
        (["export", "--as-of", "noon"], {}, 2, "--as-of"),
        (["export", "--format", "xlsx"], {}, 2, "parquet"),
        (["export", "--format", "csv", "--output", "stops.parquet"], {}, 2, "Leave one of the two out"),
        (["revisions", "diff", "durham", "2020"], {}, 2, "YYYY-MM"),
        (["revisions", "revert", "durham"], {}, 2, "MONTH"),
        (["dead-letters", "replay"], {}, 2, "--all"),
        (["dead-letters", "dismiss", "1", "--reason", " "], {}, 2, "few words"),
        (["db", "restore", "nowhere.dump"], {}, 2, "nowhere.dump"),
        (["upstream", "serve", "nowhere"], {}, 2, "nowhere"),
        (["status"], {"DATABASE_URL": "mysql://localhost/x"}, 3, "postgresql://"),
        (["status"], {"DATABASE_URL": "postgresql://u:secret@127.0.0.1:9/x"}, 6, "cannot be reached"),
        (["status"], {"RATE_PER_SECOND": "40"}, 3, "STOPSEARCH_RATE_PER_SECOND"),
        (["ingest"], {"FORCES": "durham,Kent"}, 3, "STOPSEARCH_FORCES"),
        (["db", "stop"], {"DATABASE_URL": "postgresql://127.0.0.1/x"}, 3, "not ours"),
    ],
)
def test_one_clear_line_and_nothing_written(
    arguments: list[str],
    settings: dict[str, str],
    code: int,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STOPSEARCH_DATA_DIR", str(tmp_path / "data"))
    for name, value in settings.items():
        monkeypatch.setenv(f"STOPSEARCH_{name}", value)
    assert run(arguments) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert told in said.err
    assert "secret" not in said.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["ingest", "README.md"], 4, "README.md"),
        (["ingest", "MANIFEST.csv"], 4, "stop-and-search"),
        (["db", "restore", "README.md"], 2, "is no dump"),
        (["db", "dump", "all.dump"], 2, "quickstart"),
        (["export"], 2, "quickstart"),
        (["export", "--as-of", "2999-01-01"], 2, "future"),
        (["revisions", "show", "durham", "2020-01"], 2, "quickstart"),
        (["revisions", "revert", "durham", "2020-01", "--yes"], 2, "quickstart"),
        (["dead-letters", "show", "1"], 2, "quickstart"),
        (["dead-letters", "dismiss", "1", "--reason", "kept"], 2, "quickstart"),
        (["coverage"], 0, "quickstart"),
        (["status", "--json"], 0, "quickstart"),
        (["revisions", "list"], 0, "quickstart"),
        (["dead-letters", "list"], 0, "quickstart"),
        (["reprocess"], 0, "quickstart"),
        (["prune"], 0, "quickstart"),
    ],
)
def test_no_database_is_made_for_it(
    arguments: list[str],
    code: int,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("README.md", "MANIFEST.csv"):
        (tmp_path / name).write_text("neither an archive nor a dump\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STOPSEARCH_DATA_DIR", str(tmp_path / "data"))
    assert run(arguments) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert told in said.err
    assert said.err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["MANIFEST.csv", "README.md"]


def test_file_that_is_no_archive(tmp_path: Path, database_url: str) -> None:
    (tmp_path / "notes.txt").write_text("no zip")
    ended = CommandLine(folder=tmp_path, settings={"DATABASE_URL": database_url})("ingest", "notes.txt", expect=4)
    assert "notes.txt" in ended.err
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["revisions", "revert", "--batch", "4711", "--yes"], "There is no batch 4711. 'stopsearch status'"),
        (["revisions", "revert", "--batch", "99999999999999999999", "--yes"], "There is no batch"),
        (["dead-letters", "list", "--rule", "record_readable"], "Did you mean record_is_readable"),
        (["dead-letters", "replay", "--rule", "nonsense"], "There is no rule 'nonsense'"),
    ],
)
def test_name_that_the_database_does_not_know(
    arguments: list[str], told: str, tmp_path: Path, database_url: str
) -> None:
    ended = CommandLine(folder=tmp_path, settings={"DATABASE_URL": database_url}).look(*arguments, expect=2)
    assert told in ended.err
    assert ended.err.count("\n") == 1


def test_upstream_out_of_reach(tmp_path: Path, database_url: str) -> None:
    settings = {"DATABASE_URL": database_url, "UPSTREAM_URL": "http://127.0.0.1:9/api", "RETRY_ATTEMPTS": "1"}
    ended = CommandLine(folder=tmp_path, settings=settings).look("ingest", expect=4)
    assert "STOPSEARCH_UPSTREAM_URL" in ended.err
    assert ended.err.count("\n") == 1


def test_help_and_version_need_no_settings(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("STOPSEARCH_RATE_PER_SECOND", "many")
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("stopsearch ")
    for command in ("ingest", "db", "upstream"):
        assert run([command, "--help"]) == 0
        assert "Usage" in capsys.readouterr().out
