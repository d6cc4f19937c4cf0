"""
What a person is told when a command fails: one clear line with the remedy, never a traceback unless asked for.

An unexpected error's own text is told nowhere, as it may quote somebody's record: its type and place are.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from platformdirs import user_log_path
from typer import TyperException

from stopsearch.cli.exit_codes import BROKEN
from stopsearch.domain.errors import StopSearchError
from stopsearch.store.troubles import known_trouble
from stopsearch.telemetry.faults import describe_fault, format_frames

_LOG_BYTES = 1_000_000  # of earlier faults that are kept


def tell_failure(error: BaseException, *, debug: bool) -> int:
    """
    Tell on standard error why a command failed, and give its exit code.
    """
    known = _known(error)
    if debug:
        sys.stderr.write(format_frames(error))
    if type(known).__name__ == "NoArgsIsHelpError":  # Typer keeps the class to itself
        sys.stderr.write(f"{known.args[0]}\n")
        return 2
    if isinstance(known, TyperException):
        _write(_usage_line(known))
        return known.exit_code
    if isinstance(known, StopSearchError):
        _write(one_line(str(known)))
        return known.exit_code
    where = "" if debug else f" {_keep_traceback(error)}"
    _write(one_line(f"Something broke that should not: {describe_fault(known)}.{where}"))
    return BROKEN


def one_line(text: str) -> str:
    """
    Put a message on one line, whatever came into it.
    """
    return " ".join(text.split())


def _known(error: BaseException) -> BaseException:
    """
    Find what a person can act on: inside a group, and of the database driver's errors.
    """
    while isinstance(error, BaseExceptionGroup):
        ours, _ = error.split(StopSearchError)
        error = (ours or error).exceptions[0]
    trouble = known_trouble(error)
    if trouble is None:
        return error
    trouble.__cause__ = error
    return trouble


def _usage_line(error: TyperException) -> str:
    said = one_line(error.format_message())
    context = getattr(error, "ctx", None)
    help_for = context.command_path if context is not None else "stopsearch"
    return f"{said if said.endswith(('.', '?', ')')) else said + '.'} '{help_for} --help' lists what it takes."


def _keep_traceback(error: BaseException) -> str:
    path = Path(user_log_path("stopsearch")) / "crashes.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(path, os.O_CREAT | os.O_RDWR, 0o600), "r+b") as log:
            path.chmod(0o600)  # it may have been made by an older version, for all to read
            kept = log.read()[-_LOG_BYTES:]
            said = f"{datetime.now(UTC).isoformat()} {' '.join(sys.argv[1:2])}\n{describe_fault(error)}\n"
            log.seek(0)
            log.write(kept + f"{said}{format_frames(error)}\n".encode(errors="replace"))
            log.truncate()
    except OSError:
        return "Run it with 'stopsearch --debug …' to see where, and please report it."
    return f"Please report it with the details in {path} ('stopsearch --debug …' shows them here)."


def _write(line: str) -> None:
    sys.stderr.write(f"error: {line}\n")
