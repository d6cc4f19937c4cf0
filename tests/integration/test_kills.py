"""
A process, or the database's server, killed at any instant of an ingest: resumed, it ends as if nothing had happened.

`STOPSEARCH_KILLS=500 pytest tests/integration/test_kills.py` makes a long trial of it; `STOPSEARCH_KILLS_SEED` makes
another one. The kills come at random, so that none has to hit anything in particular; that many hit the middle is
asserted.
"""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from builders.archives import ForceMonth, csv_of, csv_rows, sample_members, write_archive
from builders.ingests import ingest_archives
from builders.killable import Killables, killables
from builders.standin import running_standin
from builders.store_state import breaches_of, content_of, count_rows
from stopsearch.domain.errors import StoreUnavailable
from stopsearch.store.database import Database, outside_database
from stopsearch.store.embedded import EmbeddedServer
from stopsearch.store.migrate import migrate

pytestmark = pytest.mark.integration

KILLS = int(os.environ.get("STOPSEARCH_KILLS", "50"))
SEED = int(os.environ.get("STOPSEARCH_KILLS_SEED", "20260101"))
LONG_S = 300 + 10 * KILLS

# Small real force-months: two that are restated later, and some with repeats, microseconds and dates without times.
EARLIER: tuple[ForceMonth, ...] = (("durham", "2020-01"), ("durham", "2020-02"))
LATER: tuple[ForceMonth, ...] = (
    *EARLIER,
    ("wiltshire", "2019-01"),
    ("wiltshire", "2019-02"),
    ("cleveland", "2019-01"),
    ("suffolk", "2019-04"),
    ("cumbria", "2019-04"),
    ("city-of-london", "2019-03"),
    ("dyfed-powys", "2019-02"),
    ("cambridgeshire", "2019-05"),
)
# So few for the API that a few attempts stay within the burst that the publisher grants, and so need not wait.
OF_THE_API = (*LATER[:5], LATER[-1])


def with_unknown_labels(body: bytes) -> bytes:
    """
    Give a file three records that go to the dead letters.
    """
    rows = csv_rows(body)
    for number in (0, 7, 30):
        rows[number]["Gender"] = f"No label {number}"
    return csv_of(rows)


def members_of(edition: str, keys: tuple[ForceMonth, ...]) -> dict[ForceMonth, bytes]:
    bodies = {key: sample_members(edition)[key] for key in keys}
    for key in (keys[0], keys[-1]):
        bodies[key] = with_unknown_labels(bodies[key])
    return bodies


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killables]:
    with killables(tmp_path_factory.mktemp("killed") / "errors.txt") as processes:
        yield processes


@contextmanager
def copy_of(server: Any, names: Iterator[str], template: str) -> Iterator[tuple[str, Database]]:
    name = next(names)
    url = server.create(name, template=template)
    database = outside_database(url)
    try:
        yield url, database
    finally:
        database.close()
        server.drop(name)


def kill_and_resume(
    processes: Killables, server: Any, names: Iterator[str], template: str, *, kills: int, runs: int, **task: Any
) -> None:
    """
    Kill ingests at random instants until enough were killed, each resumed until it ends, and compare every end.
    """
    chance = random.Random(f"{SEED} {sorted(task)}")
    with copy_of(server, names, template) as (url, database):
        undisturbed = processes.run(database_url=url, **task)
        assert (undisturbed.was_killed, undisturbed.exit_code) == (False, 0)
        expected, stops = content_of(database), count_rows(database, "stop")
        assert breaches_of(database) == {}

    killed = on_the_way = 0
    while killed < kills:
        with copy_of(server, names, template) as (url, database):
            held_before = count_rows(database, "stop")
            for attempt in count(1):
                # The moments follow the runs and not the clock, so that they fall alike on a slow machine. Some lie
                # before the first run, and the fourth attempt is let live.
                kill_after = (chance.randrange(runs), chance.choice([0.0, chance.uniform(0, 0.05), 0.2]))
                ended = processes.run(kill_after=kill_after if attempt < 4 else None, database_url=url, **task)
                assert breaches_of(database) == {}, f"kill {killed} of seed {SEED} left something half done"
                if not ended.was_killed:
                    break
                killed += 1
                on_the_way += held_before < count_rows(database, "stop") < stops
            # An undisturbed run has nothing left to do but what the kills left.
            last = processes.run(database_url=url, **task)
            assert last.exit_code == ended.exit_code == 0
            found = content_of(database)
            assert found == expected, f"kill {killed} of seed {SEED}: {differing(found, expected)}"
            assert breaches_of(database) == {}
    assert on_the_way > kills / 4


def differing(found: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    return {
        table: {
            "too many": [row for row in found[table] if row not in expected[table]][:3],
            "missing": [row for row in expected[table] if row not in found[table]][:3],
        }
        for table in expected
        if found[table] != expected[table]
    }


@pytest.mark.timeout(LONG_S)
def test_archives_resumed_after_kills_end_as_if_undisturbed(
    processes: Killables, postgres_server: Any, migrated_template: str, database_names: Iterator[str], tmp_path: Path
) -> None:
    earlier = write_archive(tmp_path / "2020-02.zip", members_of("2020-02", EARLIER))
    later = write_archive(tmp_path / "2021-11.zip", members_of("2021-11", LATER))

    kill_and_resume(
        processes,
        postgres_server,
        database_names,
        migrated_template,
        kills=KILLS // 2,
        runs=len(EARLIER) + len(LATER),
        paths=[str(earlier), str(later)],
    )


@pytest.mark.timeout(LONG_S)
def test_the_api_resumed_after_kills_ends_as_if_undisturbed(
    processes: Killables, postgres_server: Any, migrated_template: str, database_names: Iterator[str], tmp_path: Path
) -> None:
    # What is there before: the earlier editions, which the API's answers then revise.
    earlier = write_archive(tmp_path / "2020-02.zip", members_of("2020-02", EARLIER))
    with copy_of(postgres_server, database_names, migrated_template) as (_, database):
        ingest_archives(database, earlier)
        with database.connect() as connection:
            template = connection.info.dbname
        with running_standin(members_of("2021-11", OF_THE_API)) as standin:
            standin.publication.list_also("kent", "2019-05")  # listed, and answers []
            database.close()
            kill_and_resume(
                processes,
                postgres_server,
                database_names,
                template,
                kills=KILLS - KILLS // 2,
                runs=len(OF_THE_API) + 1,
                upstream_url=standin.url,
            )


def test_a_server_killed_on_the_way_recovers_and_the_ingest_ends_as_if_undisturbed(
    database: Database, tmp_path: Path
) -> None:
    later = write_archive(tmp_path / "2021-11.zip", members_of("2021-11", LATER))
    earlier = write_archive(tmp_path / "2020-02.zip", members_of("2020-02", EARLIER))
    ingest_archives(database, earlier, later)
    expected = content_of(database)
    chance = random.Random(SEED)

    interrupted = 0
    for trial in range(2):
        place = tmp_path / f"data-{trial}"
        with EmbeddedServer(place) as server:
            server.ensure_database("stopsearch")
            of_trial = Database(conninfo=server.conninfo("stopsearch"), place="test", is_embedded=True)
            migrate(of_trial.engine)
            of_trial.close()
            pid = server.status().pid
            assert pid is not None
            timer = threading.Timer(chance.uniform(0.05, 0.5), os.kill, [pid, signal.SIGKILL])
            timer.start()
            try:
                ingest_archives(of_trial, earlier, later)
            except StoreUnavailable:
                interrupted += 1
            timer.join()
        with EmbeddedServer(place) as server:
            of_trial = Database(conninfo=server.conninfo("stopsearch"), place="test", is_embedded=True)
            assert breaches_of(of_trial) == {}
            report = ingest_archives(of_trial, earlier, later)
            assert report.status == "finished"
            assert content_of(of_trial) == expected
            assert breaches_of(of_trial) == {}
            of_trial.close()
    assert interrupted > 0
