"""
`stopsearch dead-tasks`: the tasks that ended their workers each time; give them back, or throw them away.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from stopsearch.cli.arguments import AsJson
from stopsearch.cli.as_json import plain
from stopsearch.cli.exit_codes import FAILURES, OK
from stopsearch.cli.opening import begin, opened
from stopsearch.cli.terminal import is_wide, many, safe, say, say_json, table
from stopsearch.domain.errors import RequestError

if TYPE_CHECKING:
    from stopsearch.worker.dead_tasks import DeadTask

app = typer.Typer(help="Tasks that ended their workers; give them back.", no_args_is_help=True)

Ids = Annotated[
    list[str] | None,
    typer.Argument(metavar="ID", help="Their ids, as 'list' shows them; the first digits do.", show_default=False),
]
Every = Annotated[bool, typer.Option("--all", help="All of them.")]

_SHORT_ID = 8
_REASONS = {  # the broker's words, in few words and in more
    "delivery_limit": ("kept dying", "it ended its worker each time"),
    "rejected": ("rejected", "no worker could read it"),
    "expired": ("expired", "it waited too long"),
    "maxlen": ("overflow", "its queue was full"),
}


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """
    List dead tasks, the one that lies longest first. They stay there.

    They lie in the queue 'stopsearch.dead-tasks'. With --json, one object a task, one a line, with its whole id.
    """
    settings = begin()
    from stopsearch.worker.dead_tasks import MOST_SHOWN, DeadTasks

    found = DeadTasks.from_settings(settings).look()
    if as_json:
        for task in found:
            say_json(plain(task))
        return
    if not found:
        say("No task lies in the dead queue.")
        return
    _show(found)
    say()
    if len(found) == MOST_SHOWN:
        say(f"The first {MOST_SHOWN:,}; there may be more behind them.")
    say("'stopsearch dead-tasks requeue ID' has workers try again, 'discard ID' throws a task away.")


@app.command()
def requeue(ids: Ids = None, every: Every = False, as_json: AsJson = False) -> None:
    """
    Give them back to the queue that they died in.

    Their batch goes on with them. Mend first what ended the workers: their memory, say. A task whose batch is done with
    its force-month stays.
    """
    settings = begin()
    chosen = _chosen(ids, every=every)
    from stopsearch.worker.dead_tasks import DeadTasks

    dead = DeadTasks.from_settings(settings)
    with opened(settings) as database:
        done = dead.requeue(database, chosen)
    if as_json:
        say_json(
            {
                "requeued": [plain(task) for task in done.given_back],
                "left": [{**plain(task), "why": why} for task, why in done.left],
            }
        )
    else:
        say(f"{many(len(done.given_back), 'task')} given back.")
        for task in done.given_back:
            say(f"  {safe(_one_line(task))}")
        if done.left:
            say(f"{many(len(done.left), 'task')} left in the dead queue:")
            for task, why in done.left:
                say(f"  {safe(f'{_one_line(task)}: {why}')}")
            say("'stopsearch dead-tasks discard ID' throws them away.")
    raise typer.Exit(FAILURES if done.left else OK)


@app.command()
def discard(ids: Ids = None, every: Every = False, as_json: AsJson = False) -> None:
    """
    Throw them away.

    What they were about stays as it is, and a force-month that is not held is due again.
    """
    settings = begin()
    chosen = _chosen(ids, every=every)
    from stopsearch.worker.dead_tasks import DeadTasks

    gone = DeadTasks.from_settings(settings).discard(chosen)
    if as_json:
        say_json({"discarded": [plain(task) for task in gone]})
        return
    say(f"{many(len(gone), 'task')} thrown away.")
    for task in gone:
        say(f"  {safe(_one_line(task))}")


def _chosen(ids: list[str] | None, *, every: bool) -> list[str] | None:
    if bool(ids) == every:
        raise RequestError(
            "It was not said which dead tasks are meant." if not ids else "Both ids and --all were given.",
            remedy="Give their ids, or --all.",
        )
    return ids or None


def _show(tasks: Sequence[DeadTask]) -> None:
    table(
        (
            ("id", "left"),
            ("batch", "right"),
            ("what", "left"),
            ("queue", "left"),
            ("died (UTC)", "left"),
            ("why", "left"),
        ),
        [
            [
                safe(task.id[:_SHORT_ID]),
                "" if task.batch_id is None else str(task.batch_id),
                safe(_about(task) or _name(task)),
                safe(task.queue),
                f"{task.died_at:%m-%d %H:%M}" if task.died_at else "",
                safe(_why(task)),
            ]
            for task in tasks
        ],
    )


def _one_line(task: DeadTask) -> str:
    about = _about(task)
    of = f" of batch {task.batch_id}" if task.batch_id is not None else ""
    return f"{task.id[:_SHORT_ID]} {_name(task)}{f' {about}' if about else ''}{of}"


def _about(task: DeadTask) -> str:
    return " ".join(part for part in (task.force, task.month) if part)


def _name(task: DeadTask) -> str:
    return task.task.removeprefix("stopsearch.")


def _why(task: DeadTask) -> str:
    short, long = _REASONS.get(task.reason, (task.reason, task.reason))
    return long if is_wide() else short
