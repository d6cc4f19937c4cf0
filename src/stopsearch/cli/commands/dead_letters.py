"""
`stopsearch dead-letters`: rejected records, with why; replay them, or dismiss them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from stopsearch.cli.arguments import AsJson, read_known_force
from stopsearch.cli.as_json import plain
from stopsearch.cli.asked_stops import AsOf, InSnapshot
from stopsearch.cli.in_snapshot import opened_snapshot
from stopsearch.cli.opening import begin, need_something_held, opened
from stopsearch.cli.progress import counted
from stopsearch.cli.terminal import many, number, output, safe, say, say_json, table
from stopsearch.domain.errors import RequestError
from stopsearch.domain.months import Month
from stopsearch.domain.states import LetterState
from stopsearch.settings import Settings

if TYPE_CHECKING:
    from stopsearch.store.letters import DeadLetter
    from stopsearch.store.served_letters import ServedLetter

app = typer.Typer(help="Rejected records, and why; replay them.", no_args_is_help=True)

Force = Annotated[str | None, typer.Option("--force", "-f", metavar="FORCE", help="Only of this police force.")]
InMonth = Annotated[str | None, typer.Option("--month", metavar="YYYY-MM", help="Only of this month.")]
Rule = Annotated[str | None, typer.Option("--rule", metavar="RULE", help="Only those that broke this rule.")]
Ids = Annotated[
    list[int], typer.Argument(metavar="ID", help="Their numbers, as 'list' shows them.", show_default=False)
]


@app.command("list")
def list_(
    force: Force = None,
    month: InMonth = None,
    rule: Rule = None,
    state: Annotated[
        LetterState | None, typer.Option("--state", help="Only in this state. Without it: the open ones.")
    ] = None,
    as_of: AsOf = None,
    snapshot: InSnapshot = None,
    limit: Annotated[int, typer.Option("--limit", min=1, metavar="N", help="At most so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """
    List dead letters, the open ones by default.

    With --json, one object a letter, one a line, with the record as published. With --as-of or --snapshot, the records
    that were rejected from what was served then, whatever became of them since.
    """
    settings = begin()
    force_id = read_known_force(settings, force) if force is not None else None
    in_month = Month.parse(month) if month is not None else None
    need_something_held(settings, is_named=snapshot is not None)
    if as_of is not None or snapshot is not None:
        if state is not None:
            raise RequestError("A snapshot knows nothing of states.", remedy="Leave --state out, or the snapshot.")
        _list_served(settings, force_id, in_month, rule, as_of, snapshot, limit=limit, as_json=as_json)
        return
    from stopsearch.flows.dead_letters import list_letters

    with opened(settings) as database:
        letters = list_letters(
            database,
            force=force_id,
            month=in_month,
            rule=rule,
            states=(state,) if state else (LetterState.OPEN,),
            limit=limit,
        )
    if as_json:
        for letter in letters:
            say_json({**plain(letter), "raw": json.loads(letter.raw)})
        return
    if not letters:
        say(f"No dead letter is {state or LetterState.OPEN} of what was asked for.")
        return
    _show_letters([(letter, str(letter.state)) for letter in letters])
    say()
    if len(letters) == limit:
        say(f"The first {limit}; --limit shows more.")
    say("'stopsearch dead-letters show ID' shows one whole.")


def _list_served(
    settings: Settings,
    force: str | None,
    month: Month | None,
    rule: str | None,
    as_of: str | None,
    snapshot: str | None,
    *,
    limit: int,
    as_json: bool,
) -> None:
    from stopsearch.domain.filters import StopFilter
    from stopsearch.flows.public_letters import snapshot_letters

    asked = StopFilter(forces=(force,) if force else (), first=month, last=month)
    with opened_snapshot(settings, as_of=as_of, snapshot=snapshot) as (connection, found):
        page = snapshot_letters(connection, found, asked, rule=rule, limit=limit)
    if as_json:
        for letter in page.letters:
            say_json({**plain(letter), "raw": json.loads(letter.raw) if letter.raw is not None else None})
        return
    if not page.letters:
        say("No record was rejected from what was asked for.")
        return
    _show_letters([(letter, "") for letter in page.letters])
    say()
    say(f"{len(page.letters):,} of {page.counts.letters:,}; 'stopsearch dead-letters show ID' shows one whole.")


def _show_letters(letters: Sequence[tuple[DeadLetter | ServedLetter, str]]) -> None:
    table(
        (
            ("id", "right"),
            ("force", "left"),
            ("month", "left"),
            ("record", "right"),
            ("state", "left"),
            ("why", "left"),
        ),
        [
            [
                str(letter.id),
                letter.force,
                str(letter.month),
                number(letter.record_number),
                state,
                safe("; ".join(sorted({f"{part.get('column', '')}: {part['rule']}" for part in letter.rejections}))),
            ]
            for letter, state in letters
        ],
    )


@app.command()
def show(letter_id: Annotated[int, typer.Argument(metavar="ID", help="Its number.")], as_json: AsJson = False) -> None:
    """
    Show one: the record, and the rules it broke.
    """
    settings = begin()
    need_something_held(settings, is_named=True)
    from stopsearch.flows.dead_letters import show_letter

    with opened(settings) as database:
        letter = show_letter(database, letter_id)
    if as_json:
        say_json({**plain(letter), "raw": json.loads(letter.raw)})
        return
    decided = f" since {letter.decided_at:%Y-%m-%d %H:%M} UTC" if letter.decided_at else ""
    reason = f" ({safe(letter.reason)})" if letter.reason else ""
    say(f"[bold]Dead letter {letter.id}[/bold]: {letter.state}{decided}{reason}")
    say(f"{letter.force} {letter.month}, revision {letter.revision}, record {number(letter.record_number)} of the file")
    say(f"Kept since {letter.created_at:%Y-%m-%d %H:%M} UTC, replayed {many(letter.attempts, 'time')}.")
    say()
    say("Why it was rejected:")
    for part in letter.rejections:
        say(
            f"  {safe(part.get('column', ''))}: {safe(part.get('message') or part['rule'])}"
            f" [dim]({safe(part['rule'])})[/dim]"
        )
    say()
    say("The record as published:")
    output().print_json(letter.raw)


@app.command()
def replay(
    ids: Annotated[list[int] | None, typer.Argument(metavar="ID", help="Their numbers.", show_default=False)] = None,
    force: Force = None,
    month: InMonth = None,
    rule: Rule = None,
    every: Annotated[bool, typer.Option("--all", help="All that are open.")] = False,
    as_json: AsJson = False,
) -> None:
    """
    Run them through today's rules again.

    Those that pass become stops; only open ones are tried. A force-month is replayed whole, as a revision of cause
    "replay". Doing it again changes nothing.
    """
    settings = begin()
    if not (ids or force or month or rule or every):
        raise RequestError(
            "It was not said which dead letters are meant.",
            remedy="Give their numbers, --force, --month, --rule or --all.",
        )
    force_id = read_known_force(settings, force) if force is not None else None
    in_month = Month.parse(month) if month is not None else None
    need_something_held(settings, is_named=bool(ids))
    from stopsearch.cli.rebuilt import show_rebuilt
    from stopsearch.flows.batches import Trigger
    from stopsearch.flows.dead_letters import check_letters, check_rule
    from stopsearch.flows.rebuild import replay_letters

    with opened(settings) as database, counted("replayed") as progress:
        check_letters(database, ids or ())
        check_rule(database, rule)
        report = replay_letters(
            database,
            settings,
            force=force_id,
            month=in_month,
            rule=rule,
            ids=ids or None,
            trigger=Trigger(name="replay"),
            progress=progress,
        )
    nothing = "No open dead letter is among what was asked for."
    raise typer.Exit(show_rebuilt(report, as_json=as_json, nothing=nothing, as_replay=True))


@app.command()
def dismiss(
    ids: Ids,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept with them.")],
    as_json: AsJson = False,
) -> None:
    """
    Decide that they stay rejected.

    They go on counting as rejected, and are not replayed.
    """
    settings = begin()
    if not reason.strip():
        raise RequestError("--reason says nothing.", remedy="Say in a few words why these records stay rejected.")
    need_something_held(settings, is_named=True)
    from stopsearch.flows.dead_letters import dismiss as dismiss_letters

    with opened(settings) as database:
        dismissed = dismiss_letters(database, ids, reason=reason.strip())
    if as_json:
        say_json({"dismissed": dismissed})
    else:
        already = len(set(ids)) - dismissed
        say(f"{many(dismissed, 'dead letter')} dismissed." + (f" {already:,} were already." if already else ""))
