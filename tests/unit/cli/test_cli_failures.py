"""
Whatever goes wrong is one line with its remedy, and an exit code that tells the kind.
"""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from psycopg import errors
from sqlalchemy.exc import DBAPIError

from stopsearch.cli.app import run
from stopsearch.cli.failures import tell_failure
from stopsearch.domain.errors import ConfigError, MonthRefused, SourceUnavailable, StoreUnavailable, UnknownForce

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UnknownForce("No x.", remedy="Try y."), 2),
        (ConfigError("No x.", remedy="Try y."), 3),
        (SourceUnavailable("No x.", remedy="Try y."), 4),
        (MonthRefused("No x.", remedy="Try y."), 5),
        (StoreUnavailable("No x.", remedy="Try y."), 6),
        (ExceptionGroup("tasks", [ExceptionGroup("more", [StoreUnavailable("No\n x.", remedy="Try y.")])]), 6),
    ],
)
def test_known_trouble(error: Exception, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert tell_failure(error, debug=False) == code
    assert capsys.readouterr().err == "error: No x. Try y.\n"


def test_lost_database_is_no_fault_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    assert tell_failure(psycopg.OperationalError("server closed\nthe connection"), debug=False) == 6
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "server closed the connection" in told


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (errors.InsufficientPrivilege("Somebody"), 3, "A right is missing"),
        (errors.InvalidSchemaName("Somebody"), 3, "A right is missing"),
        (errors.ReadOnlySqlTransaction("Somebody"), 3, "takes no writes"),
        (errors.CheckViolation("Somebody"), 6, "refused a statement: CheckViolation (23514)"),
        (errors.LockNotAvailable("Somebody"), 6, "refused a statement: LockNotAvailable (55P03)"),
        (errors.AdminShutdown("Somebody"), 6, "went away"),
    ],
)
def test_the_database_s_errors_are_told_without_what_they_quote(
    error: psycopg.Error, code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrapped in (error, DBAPIError("INSERT", {"name": "Somebody"}, error)):
        assert tell_failure(wrapped, debug=False) == code
        told = capsys.readouterr().err
        assert told.count("\n") == 1
        assert words in told
        assert "Somebody" not in told


def test_fault_of_ours_is_short_and_its_traceback_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    """
    What the error itself says is told nowhere: it may quote somebody's record.
    """
    with pytest.raises(KeyError) as caught:
        dict[str, str]()["Somebody"]
    assert tell_failure(caught.value, debug=False) == 1
    told = capsys.readouterr().err
    assert "KeyError" in told
    assert told.count("\n") == 1
    assert "Traceback" not in told
    [log] = Path.home().rglob("crashes.log")
    assert str(log) in told
    kept = log.read_text()
    assert "KeyError" in kept
    assert f"in {test_fault_of_ours_is_short_and_its_traceback_is_kept.__name__}" in kept
    assert "'Somebody'" not in told
    tell_failure(caught.value, debug=True)
    for text in (kept, capsys.readouterr().err):
        assert [line for line in text.splitlines() if "Somebody" in line] == ['    dict[str, str]()["Somebody"]']


def test_kept_faults_are_private_and_bounded() -> None:
    tell_failure(KeyError("a"), debug=False)
    [log] = Path.home().rglob("crashes.log")
    log.write_bytes(b"old " * 1_000_000)
    log.chmod(0o644)
    tell_failure(ValueError("b"), debug=False)
    assert log.stat().st_mode & 0o777 == 0o600
    assert 1_000_000 < log.stat().st_size < 1_010_000
    assert "ValueError" in log.read_text()[-2_000:]


def test_traceback_where_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--debug", "ingest", "--force", "DURHAM"]) == 2
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert told.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["ingest", "--sauce", "api"],
        ["ingest", "--source", "fax"],
        ["db", "shake"],
        ["revisions", "show", "durham"],
        ["dead-letters", "show", "one"],
        ["dead-letters", "list", "--limit", "0"],
    ],
)
def test_misspelt_call_is_one_line_too(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("error: ")
    assert told.err.count("\n") == 1
    assert "--help" in told.err
