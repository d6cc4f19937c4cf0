"""
The project's recipes; `invoke --list` lists them. CI calls the same ones.

Those below `web` and `db` do what `stopsearch` does, with the settings of the folder that they are called in.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

ROOT = Path(__file__).parent


def _run(context: Context, command: str) -> None:
    with context.cd(ROOT):
        context.run(command, pty=False, echo=True)


def _call(context: Context, *command: str) -> None:
    """
    Call a program on the terminal that we are called from; its exit code becomes ours.
    """
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    context.run(shlex.join(command), pty=is_terminal, echo=False)


def _stopsearch(context: Context, *arguments: str) -> None:
    # Not on standard output: that is the answer's, which may go to a file or to another program.
    print(f"$ {shlex.join(['stopsearch', *arguments])}", file=sys.stderr)
    _call(context, sys.executable, "-m", "stopsearch", *arguments)


def _tool(context: Context, name: str, *arguments: str) -> None:
    _call(context, sys.executable, str(ROOT / "tools" / f"{name}.py"), *arguments)


def _options(**given: str | int | bool | Iterable[str] | None) -> list[str]:
    """
    Give the options that are given: `from_=…` as `--from …`, a list as the option again and again, a flag if it is set.
    """
    words: list[str] = []
    for name, value in given.items():
        option = f"--{name.strip('_').replace('_', '-')}"
        if isinstance(value, bool):
            words += [option] if value else []
        elif isinstance(value, str | int):
            words += [f"{option}={value}"] if value != "" else []
        else:
            words += [f"{option}={one}" for one in value or ()]
    return words


# Set a checkout up for development: every dependency, as locked.
@task
def devenv(context: Context) -> None:
    """Set a checkout up for development, as the lock says."""
    _run(context, "uv sync --locked --all-groups")


# Rewrite the code in the one format.
@task(name="format")
def format_code(context: Context) -> None:
    """Format the code, and mend what ruff can mend."""
    _run(context, "uv run --no-sync ruff check --fix .")
    _run(context, "uv run --no-sync ruff format .")


# mypy, strict, over src.
@task(name="type-check")
def type_check(context: Context) -> None:
    """Check the types alone, strictly."""
    _run(context, "uv run --no-sync mypy")


# Style, format, types, and the direction of imports.
@task
def lint(context: Context) -> None:
    """Check style, format, types and the direction of imports."""
    _run(context, "uv run --no-sync ruff check .")
    _run(context, "uv run --no-sync ruff format --check .")
    _run(context, "uv run --no-sync lint-imports")
    type_check(context)


# Bandit over the code, the lock's hosts, and known vulnerabilities of what is locked.
@task
def security(context: Context) -> None:
    """Look for insecure code, foreign package hosts and known vulnerabilities."""
    _run(context, "uv run --no-sync bandit --quiet --severity-level medium --recursive src --configfile pyproject.toml")
    _run(context, "uv run --no-sync python -m tools.check_lock")
    _run(context, "uv run --no-sync python -m tools.audit_dependencies")


# Models and migrations agree.
@task
def migrations(context: Context) -> None:
    """Check that models and migrations agree, as `alembic check` does."""
    _run(context, "uv run --no-sync pytest -q tests/integration/store/test_migrations.py")


# The whole test suite. The README names this one.
@task(help={"workers": "pytest's processes (default: one a processor)", "arguments": "more for pytest"})
def test(context: Context, workers: str = "auto", arguments: str = "") -> None:
    """Tell which real services are found, and run the whole test suite."""
    _run(context, f"uv run --no-sync pytest -n {shlex.quote(workers)} --dist loadfile {arguments}")


# Everything that CI runs, changing nothing.
@task
def check(context: Context) -> None:
    """Run every check and every test; change nothing."""
    for recipe in (lint, security, test):
        recipe(context)


# Kill an ingest at random points, many times over. CI runs a short trial of it.
@task(help={"times": "how many kills"})
def kills(context: Context, times: int = 500) -> None:
    """Kill an ingest at random points, many times over."""
    os.environ["STOPSEARCH_KILLS"] = str(int(times))
    _run(context, "uv run --no-sync pytest -q --timeout 7200 tests/integration/test_kills.py")


# Disturb real workers at random, many times over. CI does each fault once, in tests.
@task(
    help={
        "trials": "how many",
        "seed": "what their plans are drawn from",
        "first": "number of the first; with --trials 1, does one again",
        "logs": "folder for the logs of workers (default: kept where a trial differs)",
    }
)
def chaos(context: Context, trials: int = 100, seed: int = 1, first: int = 0, logs: str = "") -> None:
    """Disturb real workers at random, and see that each trial ends as an undisturbed one."""
    options = f"--trials {int(trials)} --seed {int(seed)} --first {int(first)}"
    options += f" --logs {shlex.quote(logs)}" if logs else ""
    _run(context, f"PYTHONPATH=tests uv run --no-sync python -m chaos {options}")


# The benchmarks, side by side in one run.
@task(help={"arguments": "for `python -m bench`"})
def bench(context: Context, arguments: str = "") -> None:
    """Run the benchmarks; figures go to bench/results."""
    _run(context, f"uv run --group bench python -m bench {arguments}")


def _is_distributed() -> bool:
    # Only here: the recipes for a checkout's development do without the package.
    from stopsearch.domain.errors import StopSearchError
    from stopsearch.settings import read_settings

    try:
        return read_settings().is_distributed
    except StopSearchError as error:
        raise Exit(f"error: {error}", code=error.exit_code) from None


# Bring in what is due: on the workers where there is a broker, else here.
@task(
    name="trigger-stop-search-ingestion",
    iterable=["force"],
    auto_shortflags=False,
    help={
        "force": "a police force, by its id; again for more (default: STOPSEARCH_FORCES, or all)",
        "from-month": "the first month, YYYY-MM",
        "to-month": "the last month, YYYY-MM",
        "recheck": "look again at the months that are held, for revisions",
        "wait": "with --no-wait, leave the workers to it once the batch is asked for",
    },
)
def trigger_stop_search_ingestion(
    context: Context,
    force: list[str] | None = None,
    from_month: str = "",
    to_month: str = "",
    recheck: bool = False,
    wait: bool = True,
) -> None:
    """Bring in what is due: on the workers where STOPSEARCH_BROKER_URL is set, else here."""
    options = _options(force=force, from_=from_month, to=to_month, recheck=recheck)
    if _is_distributed():
        options += _options(distributed=True, no_wait=not wait)
    elif not wait:
        raise Exit("error: --no-wait is for workers: set STOPSEARCH_BROKER_URL, or leave it away.", code=2)
    _stopsearch(context, "ingest", *options)


# Run rejected records through today's rules again: all that are open, or those that are named.
@task(
    name="remediate-failed-rows",
    iterable=["id"],
    auto_shortflags=False,
    help={
        "id": "the number of a dead letter; again for more (default: all that are open)",
        "force": "only of this police force",
        "month": "only of this month, YYYY-MM",
        "rule": "only those that broke this rule",
    },
)
def remediate_failed_rows(
    context: Context, id: list[str] | None = None, force: str = "", month: str = "", rule: str = ""
) -> None:
    """Run rejected records through today's rules again: those that are named, or all that are open."""
    options = _options(force=force, month=month, rule=rule)
    _stopsearch(context, "dead-letters", "replay", *(options or ([] if id else ["--all"])), *_operands(id))


# Show the stops that filters let through.
@task(
    name="get-stop-searches",
    iterable=["force", "where"],
    auto_shortflags=False,
    help={
        "force": "a police force, by its id; again for more",
        "from-month": "the first month, YYYY-MM",
        "to-month": "the last month, YYYY-MM",
        "where": "a further filter, NAME=VALUE, say outcome=Arrest or gender=none; again for more",
        "as-of": "as it was served then: an instant, or a date, whose end counts",
        "snapshot": "of this snapshot, by its id or its first 12 digits",
        "latest": "the latest first",
        "limit": "how many are shown at most (default: 20)",
        "json": "one JSON object a stop, one a line",
    },
)
def get_stop_searches(
    context: Context,
    force: list[str] | None = None,
    from_month: str = "",
    to_month: str = "",
    where: list[str] | None = None,
    as_of: str = "",
    snapshot: str = "",
    latest: bool = False,
    limit: int = 20,
    json: bool = False,
) -> None:
    """Show the stops that filters let through."""
    options = _options(force=force, from_=from_month, to=to_month, where=where, as_of=as_of, snapshot=snapshot)
    _stopsearch(context, "stops", *options, *_options(latest=latest, limit=limit, json=json))


def _operands(words: list[str] | None) -> list[str]:
    return ["--", *words] if words else []


# Bring the tables to what this version needs.
@task(name="migrate")
def migrate_database(context: Context) -> None:
    """Bring the database's tables to what this version needs."""
    _stopsearch(context, "db", "migrate")


# Write the next migration from what the models have and the migrations lack.
@task(name="make-migrations", help={"message": "what it does, in the imperative: it names the file"})
def make_migrations(context: Context, message: str) -> None:
    """Write the next migration from the models, or say that nothing differs."""
    _tool(context, "make_migration", message)


# Open psql on the database, the embedded one too.
@task
def shell(context: Context) -> None:
    """Open psql on the database."""
    _stopsearch(context, "db", "shell")


# Run SQL on the database, the embedded one too.
@task(name="run", help={"command": "the SQL, say 'SELECT count(*) FROM stop_in_words'"})
def run_statement(context: Context, command: str) -> None:
    """Run SQL on the database, and show what it answers as a table."""
    _tool(context, "run_statement", command)


_RECIPES = (devenv, format_code, lint, type_check, security, migrations, test, check, kills, chaos, bench)
_WEB = (trigger_stop_search_ingestion, remediate_failed_rows, get_stop_searches)
_DB = (migrate_database, make_migrations, shell, run_statement)

namespace = Collection(*_RECIPES, web=Collection("web", *_WEB), db=Collection("db", *_DB))
