"""
The recipes of `invoke` as they are called on a terminal, each on a real database.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from builders.archives import csv_of, csv_rows, sample_month, write_archive
from builders.command_line import CommandLine, Ended
from builders.postgres import RunningPostgres
from builders.rabbitmq import RunningRabbitMQ
from builders.records import make_api_record
from builders.standin import RunningStandin, running_standin
from stopsearch.store.migrate import newest_revision
from stopsearch.worker.queues import broker_name

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("recipes")]

ROOT = Path(__file__).parents[2]
PAIRS = {(force, month) for force in ("durham", "kent") for month in ("2023-06", "2023-07")}
# The names of the system that this one takes the place of, and which people's habits and scripts hold.
OLD_NAMES = {
    "db.make-migrations",
    "db.migrate",
    "db.run",
    "db.shell",
    "format",
    "lint",
    "security",
    "web.get-stop-searches",
    "web.remediate-failed-rows",
    "web.trigger-stop-search-ingestion",
}


@dataclass(frozen=True, kw_only=True)
class Recipes:
    """
    The recipes of a checkout, called in a folder with nothing in it.
    """

    folder: Path
    root: Path = ROOT
    settings: dict[str, str] = field(default_factory=dict)  # by their variables, without STOPSEARCH_

    def __call__(self, *arguments: str, expect: int = 0, stdin: str = "", **environment: str) -> Ended:
        """
        Call `invoke`, and see that its exit code is the one expected.
        """
        calls = CommandLine(folder=self.folder, settings=self.settings)
        done = subprocess.run(
            [sys.executable, "-m", "invoke", "--search-root", str(self.root), *arguments],
            cwd=self.folder,
            env={**calls.environment({}), **environment},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == expect, (arguments, done)
        return Ended(code=done.returncode, out=done.stdout, err=done.stderr)


@pytest.fixture
def upstream() -> Iterator[RunningStandin]:
    records = {(force, month): [make_api_record(datetime=f"{month}-03T12:30:00+00:00")] for force, month in PAIRS}
    with running_standin(records) as standin:
        yield standin


@pytest.fixture
def invoke(tmp_path: Path, database_url: str, upstream: RunningStandin) -> Recipes:
    return Recipes(folder=tmp_path, settings={"DATABASE_URL": database_url, "UPSTREAM_URL": upstream.url})


def test_the_old_names_are_there_and_say_what_they_do(tmp_path: Path) -> None:
    told = json.loads(Recipes(folder=tmp_path)("--list", "--list-format=json").out)
    names = {task["name"]: task["help"] for task in told["tasks"]}
    for group in told["collections"]:
        names |= {f"{group['name']}.{task['name']}": task["help"] for task in group["tasks"]}

    assert set(names) >= OLD_NAMES
    assert [name for name, says in names.items() if not (says or "").endswith(".")] == []


def test_every_recipe_is_in_the_contributors_guide(tmp_path: Path) -> None:
    told = json.loads(Recipes(folder=tmp_path)("--list", "--list-format=json").out)
    names = {task["name"] for task in told["tasks"]}
    for group in told["collections"]:
        names |= {f"{group['name']}.{task['name']}" for task in group["tasks"]}
    recipes = (ROOT / "CONTRIBUTING.md").read_text().split("\n## Where things are")[0]

    assert set(re.findall(r"^\| `([\w.-]+)", recipes, re.MULTILINE)) == names


def test_an_ingestion_is_triggered_for_what_is_asked_and_nothing_else(
    invoke: Recipes, upstream: RunningStandin
) -> None:
    name = "web.trigger-stop-search-ingestion"
    invoke(name, "--force", "durham", "--force", "kent", "--from-month", "2023-07", "--to-month", "2023-07")
    assert {pair for pair in PAIRS if upstream.stats.asked(*pair)} == {("durham", "2023-07"), ("kent", "2023-07")}

    invoke(name, "--recheck", "--force", "kent")
    assert [upstream.stats.asked(*pair) for pair in sorted(PAIRS)] == [0, 1, 1, 2]


def test_an_ingestion_is_for_the_workers_where_there_is_a_broker(
    invoke: Recipes, upstream: RunningStandin, broker_url: str, rabbitmq: RunningRabbitMQ
) -> None:
    name = "web.trigger-stop-search-ingestion"
    left = Recipes(folder=invoke.folder, settings={**invoke.settings, "BROKER_URL": broker_url})(
        name, "--no-wait", "--force", "kent", "--from-month", "2023-07"
    )

    assert "--distributed" in left.err
    assert broker_url not in left.err + left.out
    with psycopg.connect(invoke.settings["DATABASE_URL"]) as connection:
        batches = connection.execute("SELECT status, is_distributed, asked_for FROM ingest_batch").fetchall()
    [(status, is_distributed, asked_for)] = batches
    assert (status, is_distributed) == ("queued", True)
    assert "kent" in str(asked_for)
    assert "2023-07" in str(asked_for)
    assert rabbitmq.queue_depths(broker_url)[broker_name("control")].ready == 1
    assert [upstream.stats.asked(*pair) for pair in PAIRS] == [0] * 4


def test_an_ingestion_in_this_process_cannot_be_left_to_workers(invoke: Recipes, upstream: RunningStandin) -> None:
    ended = invoke("web.trigger-stop-search-ingestion", "--no-wait", expect=2)

    assert "STOPSEARCH_BROKER_URL" in ended.err
    assert [upstream.stats.asked(*pair) for pair in PAIRS] == [0] * 4


def test_an_ingestion_that_fails_ends_with_its_exit_code(invoke: Recipes) -> None:
    ended = invoke("web.trigger-stop-search-ingestion", "--force", "atlantis; touch made", expect=2)

    assert "atlantis" in ended.err
    assert not (invoke.folder / "made").exists(), "an argument was run by a shell"
    assert "Traceback" not in ended.err


def test_stops_are_shown_by_filters(invoke: Recipes) -> None:
    invoke("web.trigger-stop-search-ingestion")
    name = "web.get-stop-searches"

    def shown(*filters: str) -> list[tuple[str, str]]:
        return [(stop["force"], stop["month"]) for stop in invoke(name, "--json", *filters).objects]

    assert sorted(shown("--force", "kent", "--force", "durham")) == sorted(PAIRS)
    assert shown("--force", "kent", "--from-month", "2023-07", "--to-month", "2023-07") == [("kent", "2023-07")]
    latest = shown("--latest", "--limit", "1", "--where", "datetime_before=2023-07-01", "--force", "kent")
    assert latest == [("kent", "2023-06")]
    assert "bogus" in invoke(name, "--where", "bogus=1 $(touch made)", expect=2).err
    assert not (invoke.folder / "made").exists(), "an argument was run by a shell"


def test_failed_rows_are_remedied(invoke: Recipes, tmp_path: Path) -> None:
    rows = csv_rows(sample_month("durham", "2020-01"))
    rows[0]["Gender"] = "Unheard of"
    archive = write_archive(tmp_path / "2020-03.zip", {("durham", "2020-01"): csv_of(rows)})
    CommandLine(folder=tmp_path, settings=invoke.settings)("ingest", str(archive))
    open_letter = "SELECT id, attempts FROM dead_letter WHERE state = 'open'"

    def letters() -> list[tuple[int, int]]:
        with psycopg.connect(invoke.settings["DATABASE_URL"]) as connection:
            return connection.execute(open_letter).fetchall()

    [(number, tried)] = letters()
    name = "web.remediate-failed-rows"
    assert "No open dead letter" in invoke(name, "--force", "kent").out
    assert letters() == [(number, tried)]
    for call, arguments in enumerate(([], ["--id", str(number)]), start=1):
        invoke(name, *arguments)
        assert letters() == [(number, tried + call)], "it was tried, and it is as unknown as before"
    assert str(number + 1) in invoke(name, "--id", str(number + 1), expect=2).err


def test_a_database_is_migrated_and_asked(tmp_path: Path, blank_database_url: str) -> None:
    invoke = Recipes(folder=tmp_path, settings={"DATABASE_URL": blank_database_url})
    assert "db migrate" in invoke("web.get-stop-searches", expect=6).err
    assert newest_revision() in invoke("db.migrate").out

    answer = invoke("db.run", "--command", "SELECT version_num AS at, NULL AS none FROM alembic_version")
    assert [line.split() for line in answer.out.splitlines()] == [["at", "none"], [newest_revision(), "NULL"]]
    assert "(1 row)" in answer.err


def test_sql_is_taken_as_it_is(invoke: Recipes) -> None:
    awkward = "a $HOME `id` \"b\" 100% 'c' \\ d"
    quoted = awkward.replace("'", "''")
    answer = invoke("db.run", "-c", f"SELECT '{quoted}' AS said; SELECT E'x\\ny\\x1b[31m' AS control")
    assert answer.out.splitlines() == ["said", awkward, "control", "x\\x0ay\\x1b[31m"]


def test_sql_that_changes_something_is_kept_whole_or_not_at_all(invoke: Recipes) -> None:
    invoke("db.run", "-c", "CREATE TABLE note (text text); INSERT INTO note VALUES ('kept')")
    refused = invoke("db.run", "-c", "INSERT INTO note VALUES ('lost'); SELEC 1", expect=2)
    assert "PostgreSQL says: syntax error" in refused.err
    assert "Traceback" not in refused.err
    assert invoke("db.run", "-c", "SELECT text FROM note").out.split() == ["text", "kept"]


def test_the_embedded_database_is_asked_too(tmp_path: Path) -> None:
    invoke = Recipes(folder=tmp_path)
    assert "embedded" in invoke("db.migrate").out
    assert invoke("db.run", "-c", "SELECT count(*) AS n FROM stop").out.split() == ["n", "0"]


def test_a_shell_is_opened_on_the_database(invoke: Recipes) -> None:
    said = invoke("db.shell", stdin="SELECT 'at ' || version_num FROM alembic_version;\n").out
    assert f"at {newest_revision()}" in said


def test_a_password_is_never_shown(tmp_path: Path, own_postgres: RunningPostgres) -> None:
    address = own_postgres.create("police").replace("tester@", "tester:open-sesame@")
    invoke = Recipes(folder=tmp_path, settings={"DATABASE_URL": address})
    # A psql that notes down how it was called.
    wrapper = tmp_path / "bin" / "psql"
    wrapper.parent.mkdir()
    wrapper.write_text('#!/bin/sh\necho "called with: $*"\necho "password: $PGPASSWORD"\n')
    wrapper.chmod(0o755)
    path = f"{wrapper.parent}{os.pathsep}{os.environ['PATH']}"

    said = [
        invoke("db.migrate"),
        invoke("db.run", "-c", "SELECT 1"),
        invoke("web.get-stop-searches"),
        invoke("db.run", "-c", "SELEC 1", expect=2),
    ]
    shell = invoke("db.shell", PATH=path)
    assert "open-sesame" not in "".join(ended.out + ended.err for ended in said) + shell.err
    [call, password] = shell.out.splitlines()
    assert call.startswith("called with: ")
    assert "open-sesame" not in call
    assert password == "password: open-sesame"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """
    A copy of what makes migrations, to be changed.
    """
    root = tmp_path / "checkout"
    unneeded = shutil.ignore_patterns("__pycache__", "*.zip", "*.parquet")
    for part in ("src/stopsearch", "tools"):
        shutil.copytree(ROOT / part, root / part, ignore=unneeded)
    for part in ("tasks.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / part, root / part)
    return root


def test_a_migration_is_made_of_what_the_models_have_and_the_migrations_lack(
    tmp_path: Path, checkout: Path, blank_database_url: str
) -> None:
    versions = checkout / "src/stopsearch/store/migrations/versions"
    invoke = Recipes(folder=tmp_path, root=checkout, settings={"DATABASE_URL": blank_database_url})
    source = {"PYTHONPATH": str(checkout / "src")}
    before = sorted(path.name for path in versions.glob("*.py"))

    assert "nothing to write" in invoke("db.make-migrations", "--message", "Do nothing", **source).out
    assert "one line" in invoke("db.make-migrations", "--message", '"""\nimport os', expect=2, **source).err
    assert sorted(path.name for path in versions.glob("*.py")) == before

    model = checkout / "src/stopsearch/store/tables/ledger.py"
    column = '    __tablename__ = "ingest_batch"\n'
    assert column in model.read_text()
    model.write_text(model.read_text().replace(column, f"{column}    mood: Mapped[str | None]\n"))
    number = f"{int(newest_revision()) + 1:04d}"
    made = invoke("db.make-migrations", "--message", "Tell the mood of a batch", **source).out

    [path] = {path.name for path in versions.glob("*.py")} - set(before)
    assert path == f"{number}_tell_the_mood_of_a_batch.py"
    assert path in made
    assert "add_column mood" in made
    assert 'op.add_column("ingest_batch"' in (versions / path).read_text()
    assert number in invoke("db.migrate", **source).out
    assert "nothing to write" in invoke("db.make-migrations", "--message", "Do nothing", **source).out


def test_the_suite_first_tells_which_services_it_found(tmp_path: Path) -> None:
    """
    By the README's own command, for the tests of one small file.
    """
    told = Recipes(folder=tmp_path)("test", "--workers", "0", "--arguments", "tests/unit/domain/test_months.py").out
    head = told.split("collected ")[0]

    for service in ("PostgreSQL: ", "RabbitMQ: ", "Redis or Valkey: ", "PostgreSQL on a disk that fills up: "):
        assert f"\n  {service}" in head
