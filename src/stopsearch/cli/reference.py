"""
Writes `docs/cli.md` and `.env.example` from the commands and the settings themselves, so that they can't drift.

For developers, from the top of a checkout: `python -m stopsearch.cli.reference`. A test sees to it that it was run.
"""

from __future__ import annotations

import inspect
import textwrap
from enum import Enum
from pathlib import Path
from typing import Any

import typer
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from stopsearch.cli.app import app
from stopsearch.cli.exit_codes import MEANINGS
from stopsearch.settings import ENV_PREFIX, Settings

_INTRODUCTION = """\
# The command line

Written by `python -m stopsearch.cli.reference` from the commands and the settings themselves; do not edit it.

Answers go to standard output; progress, logs and errors to standard error. On a terminal they come with colour and a
live display, elsewhere as plain lines; `--json` gives what a script can read. An error is one line,
`error: what is wrong. What to do.`, and `stopsearch --debug COMMAND` adds where in the code it was.

An embedded database is made, started and migrated by the command that needs it, and stopped by the last that used it.
A database of your own (`STOPSEARCH_DATABASE_URL`) is migrated by `stopsearch quickstart` and `stopsearch db migrate`
alone.
"""

_ENV_HEAD = """\
# Every setting of stopsearch. Copy this file to .env in the folder that you run it in, and change what you need.
# What is commented out is the default, or an example where there is none. A variable of the environment is
# stronger than this file.
# Written by `python -m stopsearch.cli.reference`.
"""

# Defaults that say nothing by themselves, or differ from machine to machine.
_SHOWN_DEFAULTS = {
    "database_url": "postgresql://user:password@localhost:5432/stopsearch",
    "data_dir": "/home/you/.local/share/stopsearch",
    "forces": "durham,leicestershire,metropolitan",
    "contact": "you@example.org",
    "body_retention_days": "365",
}
_DEFAULT_WORDS = {
    "database_url": "none: an embedded one",
    "data_dir": "the user's data folder, say `~/.local/share/stopsearch`",
    "forces": "every force that publishes",
    "contact": "none",
    "body_retention_days": "for ever",
}


def cli_reference() -> str:
    """
    Give the text of `docs/cli.md`.
    """
    program = typer.main.get_command(app)
    parts = [_INTRODUCTION, "## Options before the command\n", _options(program)]
    for name, command in program.commands.items():  # type: ignore[attr-defined]  # Typer's groups have them
        parts += _command(f"stopsearch {name}", command)
    parts += ["## Exit codes\n", "| code | says |", "| --- | --- |"]
    parts += [f"| {code} | {meaning} |" for code, meaning in sorted(MEANINGS.items())]
    parts += ["", "## Settings\n", _SETTINGS_HEAD, "| setting | default | what it does |", "| --- | --- | --- |"]
    parts += [
        f"| `{ENV_PREFIX}{name.upper()}` | {_default_words(name, field)} | {_cell(field.description or '')} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(parts) + "\n"


_SETTINGS_HEAD = """\
Set in the environment or in a file `.env` in the folder that the command runs in; `.env.example` has them all. With
`STOPSEARCH_SECRETS_DIR` set to a folder, a setting may also be a file in it, named as its variable in small letters.
"""


def env_example() -> str:
    """
    Give the text of `.env.example`.
    """
    parts = [_ENV_HEAD]
    for name, field in Settings.model_fields.items():
        parts.append("\n".join(f"# {line}" for line in textwrap.wrap(field.description or "", 110)))
        # The forces are named, so that whoever copies the file begins small.
        mark = "" if name == "forces" else "# "
        parts.append(f"{mark}{ENV_PREFIX}{name.upper()}={_SHOWN_DEFAULTS.get(name, _default(field))}\n")
    parts.append(
        "# A folder of files that hold settings, one each, for passwords: set it in the environment, not here."
    )
    parts.append(f"# {ENV_PREFIX}SECRETS_DIR=/run/secrets\n")
    return "\n".join(parts)


def _command(path: str, command: Any) -> list[str]:
    said = inspect.cleandoc(command.help or "")
    parts = [f"## {path}\n", f"{said}\n"]
    subcommands = getattr(command, "commands", None)
    if subcommands is not None:
        for name, subcommand in subcommands.items():
            parts += [part.replace("## ", "### ", 1) for part in _command(f"{path} {name}", subcommand)]
        return parts
    usage = [f"{path} [OPTIONS]", *(_metavar(parameter) for parameter in _arguments(command))]
    return [*parts, f"```\n{' '.join(usage)}\n```\n", _options(command)]


def _arguments(command: Any) -> list[Any]:
    return [parameter for parameter in command.params if parameter.param_type_name == "argument"]


def _options(command: Any) -> str:
    rows = ["| option | what it does |", "| --- | --- |"]
    for parameter in command.params:
        kind = parameter.type_descriptor.annotation
        choices = [str(choice) for choice in kind] if inspect.isclass(kind) and issubclass(kind, Enum) else []
        if parameter.param_type_name == "argument":
            names = f"`{_metavar(parameter)}`"
        else:
            value = "" if parameter.is_flag else f" {parameter.metavar or ('NAME' if choices else 'VALUE')}"
            names = ", ".join(f"`{option}{value}`" for option in parameter.opts)
        one_of = f" One of {', '.join(f'`{choice}`' for choice in choices)}." if choices else ""
        default = parameter.default
        told = "" if default is None or default is False else f" Default: `{default}`."
        rows.append(f"| {names} | {_cell(parameter.help or '')}{one_of}{told} |")
    return "\n".join(rows) + "\n" if len(rows) > 2 else ""


def _metavar(parameter: Any) -> str:
    name = str(parameter.metavar or parameter.name.upper())
    return (name if parameter.required else f"[{name}]") + ("..." if parameter.nargs == -1 else "")


def _default(field: FieldInfo) -> str:
    default = field.default
    if default is None or default is PydanticUndefined or default == ():
        return ""
    return ",".join(default) if isinstance(default, tuple) else str(default)


def _default_words(name: str, field: FieldInfo) -> str:
    return _DEFAULT_WORDS.get(name) or f"`{_default(field)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    """
    Write both files.
    """
    Path("docs/cli.md").write_text(cli_reference(), encoding="utf-8")
    Path(".env.example").write_text(env_example(), encoding="utf-8")


if __name__ == "__main__":
    main()
