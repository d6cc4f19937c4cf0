"""
The project's recipes; `invoke --list` lists them. CI calls the same ones.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from invoke.context import Context
from invoke.tasks import task

ROOT = Path(__file__).parent


def _run(context: Context, command: str) -> None:
    with context.cd(ROOT):
        context.run(command, pty=False, echo=True)


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


# Style, format, and the direction of imports.
@task
def lint(context: Context) -> None:
    """Check style, format and the direction of imports."""
    _run(context, "uv run --no-sync ruff check .")
    _run(context, "uv run --no-sync ruff format --check .")
    _run(context, "uv run --no-sync lint-imports")


# mypy, strict, over src.
@task(name="type-check")
def type_check(context: Context) -> None:
    """Check the types, strictly."""
    _run(context, "uv run --no-sync mypy")


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
    """Run the whole test suite."""
    _run(context, f"uv run --no-sync pytest -n {shlex.quote(workers)} --dist loadfile {arguments}")


# Everything that CI runs, changing nothing.
@task
def check(context: Context) -> None:
    """Run every check and every test; change nothing."""
    for recipe in (lint, type_check, security, test):
        recipe(context)


# Kill an ingest at random points, many times over. CI runs a short trial of it.
@task(help={"times": "how many kills"})
def kills(context: Context, times: int = 500) -> None:
    """Kill an ingest at random points, many times over."""
    os.environ["STOPSEARCH_KILLS"] = str(int(times))
    _run(context, "uv run --no-sync pytest -q --timeout 7200 tests/integration/test_kills.py")


# The benchmarks, side by side in one run.
@task(help={"arguments": "for `python -m bench`"})
def bench(context: Context, arguments: str = "") -> None:
    """Run the benchmarks; figures go to bench/results."""
    _run(context, f"uv run --group bench python -m bench {arguments}")
