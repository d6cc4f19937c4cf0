"""
The stand-in for the publisher in a process of its own, with the real limit, and an account of every request.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from bench.case import ROOT, case_environment
from stopsearch.standin.app import create_app
from stopsearch.standin.catalogue import Catalogue
from stopsearch.standin.limit import Limit
from stopsearch.standin.publication import Publication
from stopsearch.standin.serve import serving_in_thread
from stopsearch.standin.stats import Stats

# Room for the answers of a whole backfill, encoded before it begins, so that the publisher is never the slow one.
_CACHE_BYTES = 1_500_000_000


@dataclass(frozen=True, kw_only=True)
class Publisher:
    """
    A stand-in that answers at `url`.
    """

    url: str
    orders: IO[str]
    answers: IO[str]

    def arrivals(self) -> list[dict[str, Any]]:
        """
        Give every request so far. Their `at` is on the monotonic clock, which all processes of a machine share.
        """
        arrivals: list[dict[str, Any]] = self._ask("arrivals")
        return arrivals

    def forget(self) -> None:
        """
        Forget every request so far.
        """
        self._ask("forget")

    def _ask(self, order: str) -> Any:
        self.orders.write(order + "\n")
        self.orders.flush()
        return json.loads(self.answers.readline())


@contextmanager
def publishing(folder: Path, *, is_limited: bool = True) -> Iterator[Publisher]:
    """
    Serve a folder of force-months until the block ends.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.publisher", str(folder), *(() if is_limited else ("unlimited",))],
        cwd=ROOT,
        env=case_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Publisher(url=json.loads(process.stdout.readline()), orders=process.stdin, answers=process.stdout)
    finally:
        process.stdin.close()
        process.wait(30)


def main() -> None:
    """
    Serve, and answer each line of standard input until it ends.
    """
    stats = Stats()
    publication = Publication(Catalogue.open([Path(sys.argv[1])]), cache_bytes=_CACHE_BYTES)
    publication.preload()
    with serving_in_thread(create_app(publication, limit=None if sys.argv[2:] else Limit(), stats=stats)) as root:
        print(json.dumps(f"{root}/api"), flush=True)
        for order in sys.stdin:
            if order.strip() == "forget":
                stats.reset()
                print("null", flush=True)
            else:
                print(json.dumps([asdict(arrival) for arrival in stats.arrivals]), flush=True)


if __name__ == "__main__":
    main()
