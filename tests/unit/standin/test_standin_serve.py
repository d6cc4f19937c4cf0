"""
Where the stand-in may listen, and the archives that it hands out.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import httpx2
import pytest

from builders.standin import make_api_record, make_csv, running_standin
from stopsearch.domain.errors import BadPath, ConfigError
from stopsearch.standin.serve import run_standin

pytestmark = pytest.mark.integration


@pytest.fixture
def archives(tmp_path: Path) -> Path:
    for month in ("2023-06", "2023-07"):
        with zipfile.ZipFile(tmp_path / f"{month}.zip", "w") as archive:
            archive.writestr(f"{month}/{month}-gwent-stop-and-search.csv", make_csv([make_api_record()] * 50))
    return tmp_path


def test_an_archive_is_reached_over_a_redirect_and_read_by_ranges(archives: Path) -> None:
    whole = (archives / "2023-07.zip").read_bytes()
    with running_standin([archives]) as standin, httpx2.Client(follow_redirects=True) as client:
        latest = httpx2.get(f"{standin.root}/data/archive/latest.zip")
        assert latest.status_code == 302
        assert latest.headers["location"].endswith("/2023-07.zip")
        answer = client.get(f"{standin.root}/data/archive/2023-07.zip")
        assert (answer.status_code, answer.content) == (200, whole)
        part = client.get(f"{standin.root}/data/archive/latest.zip", headers={"Range": "bytes=10-29"})
        assert (part.status_code, part.content) == (206, whole[10:30])
        assert part.headers["content-range"] == f"bytes 10-29/{len(whole)}"
        tail = client.get(f"{standin.root}/data/archive/2023-07.zip", headers={"Range": "bytes=-22"})
        assert tail.content == whole[-22:]
        head = client.head(f"{standin.root}/data/archive/2023-07.zip")
        assert head.headers["content-length"] == str(len(whole))
        assert client.get(f"{standin.root}/data/archive/2020-01.zip").status_code == 404


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_refuses_an_address_that_others_can_reach_unless_told(archives: Path, host: str) -> None:
    with pytest.raises(ConfigError, match="other machines may reach"):
        run_standin([archives], host=host, port=0)


def test_refuses_a_port_that_is_taken(archives: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match="cannot listen"):
            run_standin([archives], port=taken.getsockname()[1])


def test_refuses_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadPath):
        run_standin([tmp_path / "nowhere"], port=0)


def test_runs_until_interrupted_and_tells_its_address(archives: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from stopsearch.standin.serve import run_standin;"
        "run_standin([Path(sys.argv[1])], port=0, preload=True, announce=lambda url: print(url, flush=True))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(archives)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        answer = httpx2.get(f"{url}/stops-force?force=gwent&date=2023-07")
        assert len(answer.json()) == 50
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
