"""
The commands, one file each: parse, call one flow, shape the answer.

Flows are imported where a command runs, not where it is declared: they bring Polars and Pandera along, which take
two seconds to load and would hold up `--help` and the telling of a misspelt force.
"""

from __future__ import annotations

import typer

from stopsearch.cli.commands import (
    batches,
    beat,
    changes,
    counts,
    coverage,
    db,
    dead_letters,
    dead_tasks,
    doctor,
    export,
    forces,
    ingest,
    plan,
    prune,
    quality,
    quickstart,
    rates,
    reprocess,
    revisions,
    serve,
    snapshots,
    status,
    stops,
    upstream,
    vocabulary,
    worker,
)


def register(app: typer.Typer) -> None:
    """
    Add every command to the program, in the order in which `--help` lists them.
    """
    for command in (
        quickstart.quickstart,
        plan.plan,
        ingest.ingest,
        serve.serve,
        worker.worker,
        beat.beat,
        coverage.coverage,
        status.status,
        stops.stops,
        counts.counts,
        rates.rates,
        quality.quality,
        changes.changes,
        snapshots.snapshots,
        forces.forces,
        vocabulary.vocabulary,
        export.export,
        reprocess.reprocess,
        doctor.doctor,
        prune.prune,
    ):
        app.command()(command)
    app.add_typer(batches.app, name="batches")
    app.add_typer(revisions.app, name="revisions")
    app.add_typer(dead_letters.app, name="dead-letters")
    app.add_typer(dead_tasks.app, name="dead-tasks")
    app.add_typer(db.app, name="db")
    app.add_typer(upstream.app, name="upstream")
