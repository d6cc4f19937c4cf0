"""
Where the time of a load goes: its stages, and the functions of the part that runs in Python.
"""

from __future__ import annotations

import cProfile
import io
import pstats
import time
from datetime import UTC, datetime

from bench.bring_months_in import LIMITS, begin, read_bodies, say_little, warm
from bench.databases import BenchServer, database_at
from bench.real_months import FORCE
from stopsearch.domain.published import PublishedMonth
from stopsearch.domain.states import Shape, Source
from stopsearch.flows.prepare_edition import NewEdition, Stopwatch, prepare_edition
from stopsearch.store.bodies import compress
from stopsearch.store.operations import operation_codes
from stopsearch.store.releases import Held, look

_FUNCTIONS = 30


def run(server: BenchServer, paths: list[str]) -> str:
    """
    Prepare every month and send it to the server, one step after another and nothing overlapping.
    """
    say_little()
    bodies = read_bodies(paths)
    watch = Stopwatch()
    profile = cProfile.Profile()
    rows = 0
    with server.fresh() as conninfo:
        database = database_at(conninfo)
        warm(database, begin(database), bodies)
        with database.connect(autocommit=True) as connection:
            for with_profile in (False, True):
                for month, body in bodies.items():
                    now = datetime.now(UTC)
                    published = PublishedMonth(
                        force=FORCE,
                        month=month,
                        shape=Shape.JSON,
                        source=Source.API,
                        origin="memory",
                        body=body,
                        fetched_at=now,
                        published_at=now,
                    )
                    held = look(connection, FORCE, month)
                    if with_profile:
                        profile.runcall(_prepare, published, held, Stopwatch(), connection)
                        continue
                    prepared = _prepare(published, held, watch, connection)
                    assert isinstance(prepared, NewEdition)
                    prepared.rows.number(force_code=held.force_code, revision=1)
                    started = time.perf_counter()
                    prepared.rows.stops.as_bytes()
                    watch.seconds["as_bytes"] = watch.seconds.get("as_bytes", 0.0) + time.perf_counter() - started
                    rows += prepared.edition.received
    stages = ", ".join(f"{stage} {seconds / rows * 1e6:.2f}" for stage, seconds in watch.seconds.items())
    out = io.StringIO()
    pstats.Stats(profile, stream=out).sort_stats("tottime").print_stats(_FUNCTIONS)
    return f"Stages one after another, µs a record: {stages}.\n\n```\n{out.getvalue().strip()}\n```\n"


def _prepare(published: PublishedMonth, held: Held, watch: Stopwatch, connection: object) -> object:
    def timed_compress(month: PublishedMonth) -> object:
        with watch.stage("compress"):
            return compress(month)

    return prepare_edition(
        published,
        held,
        limits=LIMITS,
        compress=timed_compress,  # type: ignore[arg-type]
        name_operations=lambda names: operation_codes(connection, names),  # type: ignore[arg-type]
        watch=watch,
    )
