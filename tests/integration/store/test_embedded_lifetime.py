"""
The embedded server lives from its first user to its last, whatever happens to them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from builders.embedded_user import start_user
from stopsearch.domain.errors import ConfigError, StoreError, StoreUnavailable
from stopsearch.store.embedded import EmbeddedServer
from stopsearch.store.embedded.account import choose_account
from stopsearch.store.embedded.cluster import SERVER_ENVIRONMENT

pytestmark = pytest.mark.integration


@pytest.fixture
def data_dir(tmp_path):
    place = tmp_path / "data"
    yield place
    with suppress(StoreError, ConfigError):
        EmbeddedServer(place).stop(force=True)


def count_of(event: str, log: str) -> int:
    return sum(json.loads(line)["event"] == event for line in log.splitlines() if line.startswith("{"))


def ask(conninfo: str, query: str = "SELECT 1") -> object:
    with psycopg.connect(conninfo) as connection:
        row = connection.execute(query).fetchone()
        return row and row[0]


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}/cwd").exists()


def has_ended(pid: int) -> bool:
    """
    Tell whether a process ends within moments; its locks go a little before its number does.
    """
    patience = time.monotonic() + 5
    while is_alive(pid) and time.monotonic() < patience:
        time.sleep(0.005)
    return not is_alive(pid)


def test_two_that_start_at_once_share_one_server(data_dir):
    first, second = start_user(data_dir), start_user(data_dir)
    assert first.hear() == second.hear()
    logs = first.leave() + second.leave()
    assert count_of("server_started", logs) == 1
    assert count_of("server_stopped", logs) == 1


def test_the_last_to_leave_stops_it(data_dir):
    first = start_user(data_dir)
    had = first.hear()
    second = start_user(data_dir)
    assert second.hear() == had
    assert count_of("server_stopped", first.leave()) == 0
    assert ask(had["conninfo"]) == 1
    assert count_of("server_stopped", second.leave()) == 1
    assert has_ended(had["pid"])
    assert not Path(psycopg.conninfo.conninfo_to_dict(had["conninfo"])["host"]).exists()


def test_threads_and_nested_uses_count_each(data_dir):
    with EmbeddedServer(data_dir) as outer:
        with EmbeddedServer(data_dir) as inner, outer:
            assert inner.conninfo("postgres") == outer.conninfo("postgres")
        assert ask(outer.conninfo("postgres")) == 1
    assert not outer.status().is_running


def test_a_server_whose_user_was_killed_is_taken_over(data_dir):
    killed = start_user(data_dir)
    had = killed.hear()
    killed.kill()
    assert is_alive(had["pid"])
    heir = start_user(data_dir)
    assert heir.hear() == had
    log = heir.leave()
    assert count_of("server_adopted", log) == 1
    assert count_of("server_started", log) == 0
    assert count_of("server_stopped", log) == 1
    assert has_ended(had["pid"])


def test_ctrl_c_ends_the_command_and_not_the_server(data_dir):
    interrupted = start_user(data_dir)
    had = interrupted.hear()
    other = start_user(data_dir)
    other.hear()
    assert os.getsid(had["pid"]) != os.getsid(interrupted.process.pid)
    # A terminal sends it to every process of the foreground's group.
    os.killpg(interrupted.process.pid, signal.SIGINT)
    assert interrupted.process.wait() != 0
    assert ask(had["conninfo"]) == 1
    assert count_of("server_stopped", other.leave()) == 1


def test_what_was_committed_outlives_a_crash_of_the_server(data_dir):
    """The stale pid file names a live process, as it does in a container, where numbers begin anew."""
    with EmbeddedServer(data_dir) as server:
        with psycopg.connect(server.conninfo("postgres")) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        assert ask(server.conninfo("postgres"), "SHOW fsync") == "on"
        os.kill(server.status().pid, signal.SIGKILL)
        pid_file = data_dir / "postgres" / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
        account = choose_account(data_dir=data_dir, cluster=data_dir / "postgres")
        stranger = subprocess.Popen(["sleep", "60"], **account.as_child)
        pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]))
    try:
        with EmbeddedServer(data_dir) as server:
            assert ask(server.conninfo("postgres"), "SELECT answer FROM kept") == 42
    finally:
        stranger.kill()
        stranger.wait()
    assert not Path(lines[4]).exists()


def test_data_outlives_a_restart(data_dir):
    with EmbeddedServer(data_dir) as server:
        server.ensure_database("stopsearch")
        server.ensure_database("stopsearch")
        with psycopg.connect(server.conninfo("stopsearch")) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 'ǅ Ł' AS word")
    with EmbeddedServer(data_dir) as server:
        assert ask(server.conninfo("stopsearch"), "SELECT lower(word) FROM kept") == "ǆ ł"


def test_an_interrupted_first_start_is_made_good(data_dir):
    """Killed at several moments of `initdb`; each time the next start finds no half cluster."""
    for wait_s in (0, 0.05, 0.15):
        killed = start_user(data_dir)
        patience = time.monotonic() + 10
        while not list(data_dir.glob("postgres.init-*")) and time.monotonic() < patience:
            time.sleep(0.005)
        time.sleep(wait_s)
        killed.kill()
        assert not (data_dir / "postgres").exists()
    for _ in range(2):
        with EmbeddedServer(data_dir) as server:
            assert ask(server.conninfo("postgres")) == 1
    assert sorted(path.name for path in data_dir.iterdir()) == [
        "postgres",
        "postgres.server.lock",
        "postgres.start.lock",
        "postgres.users.lock",
    ]


def test_stop_ends_an_orphan_and_spares_a_server_in_use(data_dir):
    assert EmbeddedServer(data_dir).stop() is False
    user = start_user(data_dir)
    had = user.hear()
    with pytest.raises(StoreError, match="Other processes use"):
        EmbeddedServer(data_dir).stop()
    assert ask(had["conninfo"]) == 1
    user.kill()
    assert EmbeddedServer(data_dir).stop() is True
    assert has_ended(had["pid"])
    assert EmbeddedServer(data_dir).stop() is False


def test_stop_by_force_ends_a_server_in_use(data_dir):
    user = start_user(data_dir)
    had = user.hear()
    assert EmbeddedServer(data_dir).stop(force=True) is True
    assert has_ended(had["pid"])
    user.leave()


def test_status_tells_of_a_server_without_starting_it(data_dir):
    server = EmbeddedServer(data_dir)
    before = server.status()
    assert (before.is_running, before.pid, before.version, before.size_bytes) == (False, None, None, 0)
    assert not data_dir.exists()
    with server:
        within = server.status()
        assert within.is_running
        assert within.pid
        assert within.version
        assert within.version.startswith("18.")
        assert within.size_bytes > 10_000_000
    after = server.status()
    assert (after.is_running, after.pid, after.version) == (False, None, "18")


def test_a_swept_socket_is_made_anew_once_nobody_uses_it(data_dir):
    user = start_user(data_dir)
    had = user.hear()
    socket = Path(psycopg.conninfo.conninfo_to_dict(had["conninfo"])["host"]) / ".s.PGSQL.5432"
    socket.unlink()
    with pytest.raises(StoreUnavailable, match="its socket"):
        EmbeddedServer(data_dir).__enter__()
    user.kill()
    with EmbeddedServer(data_dir) as server:
        assert ask(server.conninfo("postgres")) == 1


def test_a_database_of_another_major_version_is_refused_with_the_way_out(data_dir):
    with EmbeddedServer(data_dir):
        pass
    (data_dir / "postgres" / "PG_VERSION").write_text("17\n")
    with pytest.raises(ConfigError, match=r"PostgreSQL 17, and this is 18.*db dump.*db restore"):
        EmbeddedServer(data_dir).__enter__()
    assert EmbeddedServer(data_dir).status().version == "17"


def test_a_folder_of_something_else_is_left_alone(data_dir):
    (data_dir / "postgres").mkdir(parents=True)
    (data_dir / "postgres" / "photo.jpg").write_text("mine")
    with pytest.raises(ConfigError, match="is not a PostgreSQL data folder"):
        EmbeddedServer(data_dir).__enter__()
    assert (data_dir / "postgres" / "photo.jpg").read_text() == "mine"


def test_a_file_in_the_data_folders_place_is_refused(data_dir):
    data_dir.write_text("mine")
    with pytest.raises(ConfigError, match=r"data folder .* cannot be used"):
        EmbeddedServer(data_dir).__enter__()


def test_a_server_started_by_hand_is_not_joined_by_a_second(data_dir, tmp_path):
    with EmbeddedServer(data_dir) as server:
        command = Path(f"/proc/{server.status().pid}/cmdline").read_bytes().split(b"\0")[:-1]
    account = choose_account(data_dir=data_dir, cluster=data_dir / "postgres")
    by_hand = subprocess.Popen(
        [*command, "-c", "unix_socket_directories=", "-c", "listen_addresses=127.0.0.1", "-p", "54399"],
        cwd=data_dir / "postgres",
        env=SERVER_ENVIRONMENT,
        stderr=subprocess.DEVNULL,
        **account.as_child,
    )
    try:
        pid_file = data_dir / "postgres" / "postmaster.pid"
        patience = time.monotonic() + 10
        while not (pid_file.exists() and "ready" in pid_file.read_text()) and time.monotonic() < patience:
            time.sleep(0.02)
        with pytest.raises(StoreUnavailable, match=f"stopsearch did not start .process {by_hand.pid}."):
            EmbeddedServer(data_dir).__enter__()
    finally:
        by_hand.send_signal(signal.SIGINT)
        assert by_hand.wait(10) == 0
    with EmbeddedServer(data_dir) as server:
        assert ask(server.conninfo("postgres")) == 1


def test_a_server_that_cannot_start_says_why(data_dir):
    with EmbeddedServer(data_dir):
        pass
    (data_dir / "postgres" / "global" / "pg_control").write_bytes(b"\0" * 8192)
    before = set(Path("/tmp").glob("stopsearch-*"))
    with pytest.raises(StoreUnavailable, match=r"did not start: .*(FATAL|PANIC)"):
        EmbeddedServer(data_dir).__enter__()
    assert set(Path("/tmp").glob("stopsearch-*")) <= before


def test_old_logs_are_dropped_and_new_ones_kept(data_dir):
    with EmbeddedServer(data_dir):
        pass
    log = data_dir / "postgres" / "log"
    assert list(log.glob("postgresql-*.log"))
    week_ago = time.time() - 7 * 24 * 3600
    for name, age in (("postgresql-Old.log", week_ago), ("postgresql-New.log", time.time())):
        (log / name).touch()
        os.utime(log / name, (age, age))
    with EmbeddedServer(data_dir):
        pass
    assert not (log / "postgresql-Old.log").exists()
    assert (log / "postgresql-New.log").exists()
