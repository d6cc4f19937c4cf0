"""
The program `stopsearch`: its commands, and how every one of them ends.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version
from types import FrameType
from typing import Annotated, NoReturn

import typer

from stopsearch.cli.commands import register
from stopsearch.cli.exit_codes import BROKEN_PIPE, INTERRUPTED, OK

_COMPLETION_VARIABLE = "_STOPSEARCH_COMPLETE"

app = typer.Typer(
    name="stopsearch",
    no_args_is_help=True,
    # Boxes and colours for people; plain lines where nobody looks.
    rich_markup_mode="markdown" if sys.stdout.isatty() else None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"stopsearch {version('stopsearch')}\n")
        raise typer.Exit


@app.callback()
def stopsearch(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and leave.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where in the code a command failed.")] = False,
) -> None:
    """
    Police stop-and-search data of England and Wales: fetched, mended, checked, and kept with every revision.

    New here? 'stopsearch quickstart' makes a database and brings a real sample in; it needs no service and no network.
    """


register(app)


def main() -> NoReturn:
    """
    Run the command line of this process, and end the process with its exit code.
    """
    signal.signal(signal.SIGTERM, _leave_in_order)
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError:
        _leave_unwritten()  # a full disk was told of already, where it was met
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """
    Run one command and give its exit code; whatever goes wrong is told in one line.
    """
    command = typer.main.get_command(app)
    if _COMPLETION_VARIABLE in os.environ:
        command.main(list(arguments), prog_name="stopsearch")
    debug = False
    try:
        with command.make_context("stopsearch", list(arguments)) as context:
            debug = bool(context.params["debug"])
            command.invoke(context)
            sys.stdout.flush()
    except typer.Exit as ended:
        return ended.exit_code
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("\nInterrupted.\n")
        return INTERRUPTED
    except BrokenPipeError:
        _leave_unwritten()
        return BROKEN_PIPE
    except Exception as error:  # the one place where everything ends: told in one line, traceback on demand
        from stopsearch.cli.failures import tell_failure

        return tell_failure(error, debug=debug)
    return OK


def _leave_unwritten() -> None:
    # Python would complain once more at its end, when it flushes what nobody reads.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _leave_in_order(number: int, _frame: FrameType | None) -> NoReturn:
    # By an exception, so that an embedded server is stopped on the way out.
    sys.exit(128 + number)
