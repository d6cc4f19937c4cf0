"""
Nothing that an unexpected error quotes gets into a log, a file or onto a terminal; where it happened does.
"""

from __future__ import annotations

import polars as pl
import psycopg
import pytest
import structlog

from stopsearch.clean.decode_csv import decode_csv
from stopsearch.domain.errors import StoreUnavailable
from stopsearch.telemetry.faults import describe_fault, format_frames
from stopsearch.telemetry.logs import configure_logs

pytestmark = pytest.mark.unit


def quoting_error() -> Exception:
    """
    Raise what Polars raises of a value, and an error of ours' kind around it that quotes it again.
    """
    try:
        try:
            pl.Series("gender", ["Somebody"]).cast(pl.Int64)
        except pl.exceptions.PolarsError as error:
            raise ValueError(f"Somebody again: {error}") from error
    except ValueError as error:
        return error
    raise AssertionError


def test_a_value_is_in_neither_the_description_nor_the_frames() -> None:
    error = quoting_error()
    assert str(error).count("Somebody") == 2, "Polars no longer quotes: this test shows nothing"
    group = ExceptionGroup("Somebody", [error])
    assert describe_fault(error) == "ValueError"
    assert describe_fault(group) == "ExceptionGroup of ValueError"
    for frames in (format_frames(error), format_frames(group)):
        assert frames.index("InvalidOperationError\n") < frames.index("ValueError\n")
        assert "in quoting_error" in frames
        assert "Somebody" not in "".join(line for line in frames.splitlines() if not line.startswith("    "))


def test_the_place_in_our_code_is_told() -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011  # whatever it is: only its place matters
        decode_csv(None)  # type: ignore[arg-type]
    assert f"{type(caught.value).__name__} at stopsearch/clean/" in describe_fault(caught.value)


def test_our_own_and_the_connection_s_words_are_kept() -> None:
    assert describe_fault(StoreUnavailable("No x.", remedy="Try y.")) == "No x. Try y."
    assert describe_fault(psycopg.OperationalError("server closed\nit.")) == "server closed it"
    assert describe_fault(FileNotFoundError(2, "x", "somebody.zip")) == "FileNotFoundError (No such file or directory)"


@pytest.mark.parametrize("shape", ["json", "console"])
def test_a_logged_exception_keeps_its_frames_alone(shape: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(level="error", shape=shape)  # type: ignore[arg-type]
    try:
        try:
            raise ValueError("".join(["Some", "body"]))
        except ValueError:
            structlog.get_logger().exception("run_broke")
    finally:
        structlog.reset_defaults()
    told = capsys.readouterr().err
    assert "run_broke" in told
    assert "test_a_logged_exception_keeps_its_frames_alone" in told
    assert "ValueError" in told
    assert "Somebody" not in told
