"""
Settings, commands, options and their documentation stay in step, in both directions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from stopsearch.cli.app import app
from stopsearch.cli.exit_codes import MEANINGS
from stopsearch.cli.reference import cli_reference, env_example
from stopsearch.domain import errors
from stopsearch.settings import ENV_PREFIX, Settings

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "stopsearch"
SETTINGS = {f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields}
# Read by `read_settings` before the settings themselves; and the tests' own.
OTHERS = {
    "STOPSEARCH_SECRETS_DIR",
    "STOPSEARCH_TEST_DATABASE_URL",
    "STOPSEARCH_TEST_BROKER_URL",
    "STOPSEARCH_TEST_REDIS_URL",
    "STOPSEARCH_TEST_REQUIRE_SERVICES",
    "STOPSEARCH_SHARED_DATA",
    "STOPSEARCH_KILLS",
}

pytestmark = pytest.mark.unit


def commands(group: Any, path: str = "stopsearch") -> Iterator[tuple[str, Any]]:
    """
    Give every command that does something, with the words it is called by.
    """
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


COMMANDS = dict(commands(typer.main.get_command(app)))


def documentation() -> dict[str, str]:
    """
    Give every page that people read, by its path.
    """
    pages = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "GLOSSARY.md", ".env.example")]
    pages += sorted((ROOT / "docs").rglob("*.md"))
    return {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in pages if page.exists()}


def messages() -> dict[str, str]:
    """
    Give the code, in which remedies name commands and settings.
    """
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in sorted(SOURCE.rglob("*.py"))}


def test_reference_and_example_are_what_the_code_says() -> None:
    """
    Run `python -m stopsearch.cli.reference` when this fails.
    """
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == cli_reference()
    assert (ROOT / ".env.example").read_text(encoding="utf-8") == env_example()


@pytest.mark.parametrize("setting", sorted(SETTINGS))
def test_setting_is_explained(setting: str) -> None:
    field = Settings.model_fields[setting.removeprefix(ENV_PREFIX).lower()]
    assert field.description
    assert field.description.endswith((".", ")"))
    assert re.search(rf"^(# )?{setting}=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert f"`{setting}`" in (ROOT / "docs" / "cli.md").read_text()


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_setting_is_read_by_something(name: str) -> None:
    readers = [path for path, text in messages().items() if not path.endswith("settings.py") and f".{name}" in text]
    assert readers, f"nothing reads {name}"


def test_example_names_three_forces_and_changes_nothing_else() -> None:
    active = [line for line in (ROOT / ".env.example").read_text().splitlines() if line and not line.startswith("#")]
    [line] = active
    name, _, forces = line.partition("=")
    assert name == "STOPSEARCH_FORCES"
    assert len(forces.split(",")) == 3


def test_defaults_of_the_example_are_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Every commented line that shows a default says what the default is, and can be read as that setting.
    """
    examples = {"database_url", "data_dir", "contact", "body_retention_days", "forces"}
    for match in re.finditer(r"^# STOPSEARCH_([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE):
        name = match[1].lower()
        if name in Settings.model_fields:
            monkeypatch.setenv(f"{ENV_PREFIX}{match[1]}", match[2])
            if name not in examples:
                assert getattr(Settings(), name) == Settings.model_fields[name].default
    Settings()


@pytest.mark.parametrize("path", sorted(COMMANDS))
def test_command_is_explained(path: str) -> None:
    command = COMMANDS[path]
    assert command.help
    assert len(command.help.strip().splitlines()[0]) <= 70, "its first line is cut off in the list of commands"
    page = (ROOT / "docs" / "cli.md").read_text()
    [section] = re.findall(rf"^##+ {re.escape(path)}\n(.*?)(?=^##|\Z)", page, re.MULTILINE | re.DOTALL)
    for parameter in command.params:
        assert parameter.help, f"{path}: {parameter.name} has no help"
        if parameter.param_type_name == "option":
            assert all(f"`{option}" in section for option in parameter.opts)


def test_every_exit_code_is_explained() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert {kind.exit_code for kind in kinds if issubclass(kind, errors.StopSearchError)} <= set(MEANINGS)


@pytest.mark.parametrize("where", ["pages", "code"])
def test_nothing_is_named_that_does_not_exist(where: str) -> None:
    """
    Each setting, command and option that a page or a message names is there: a remedy that can't be followed is none.
    """
    found: list[str] = []
    for place, text in (documentation() if where == "pages" else messages()).items():
        for name in re.findall(rf"\b{ENV_PREFIX}[A-Z_]*[A-Z]\b", text):
            found += [f"{place}: {name}"] if name not in SETTINGS | OTHERS else []
        for call in re.findall(r"['`]stopsearch ([^'`\n]+)['`]", text):
            found += [f"{place}: stopsearch {call}: {fault}" for fault in faults_of(call.split())]
    assert not found


def faults_of(words: list[str]) -> list[str]:
    """
    Say what is wrong with a call of the program as a page or a message writes it.
    """
    # "stopsearch snapshot 1" is the name of a format.
    if words[0].startswith("-") or words[0] == "snapshot" or not re.fullmatch(r"[a-z-|]+", words[0]):
        return []
    group = typer.main.get_command(app)
    names = words[0].split("|")
    known = group.commands  # type: ignore[attr-defined]
    if missing := [name for name in names if name not in known]:
        return [f"no command {missing}"]
    command, rest = known[names[0]], words[1:]
    if hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        subnames = rest[0].split("|")
        if missing := [name for name in subnames if name not in command.commands]:
            return [f"no command {missing}"]
        command, rest = command.commands[subnames[0]], rest[1:]
    options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    given = [word.split("=")[0].strip("[]().,") for word in rest if word.strip("[(").startswith("--")]
    return [f"no option {option}" for option in given if option != "--" and option not in options]
