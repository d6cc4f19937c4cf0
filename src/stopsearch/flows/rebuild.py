"""
Build a force-month again from a kept body with today's rules: reprocess, replay of dead letters, and revert.

A force-month is rebuilt whole, since a revision has one set of rules. Dismissed letters stay rejected.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from stopsearch.domain.errors import UnknownRevision
from stopsearch.domain.months import Month
from stopsearch.domain.states import Cause, RunStatus, Standing
from stopsearch.flows.batches import Batch, Trigger, as_asked, begun
from stopsearch.flows.plan import Wanted
from stopsearch.flows.prepare_edition import RefusalLimits
from stopsearch.flows.rebuild_month import Rebuild, failed, report_rebuild
from stopsearch.flows.runs import RunReport
from stopsearch.settings import Settings
from stopsearch.store.database import Database
from stopsearch.store.kept_editions import KeptEdition, current_editions, editions_of, made_by_batch
from stopsearch.store.letters import find_letters

Progress = Callable[[int, int], None]  # how many force-months are done, and of how many

# A force-month that another process writes is queued again, behind the others, after a wait that grows.
_BUSY_TRIES = 3
_BUSY_WAIT_S = 2.0


@dataclass(frozen=True, kw_only=True)
class RebuildReport:
    """
    What a rebuild of force-months did: one run each.
    """

    batch_id: int | None
    runs: list[RunReport]
    replayed: int = 0  # dead letters whose records are stops now
    still_rejected: int = 0  # dead letters that were tried and stay open
    cancelled_by: str | None = None  # who asked for its end in the ledger, where it has ended for that


def reprocess(
    database: Database, settings: Settings, wanted: Wanted, *, trigger: Trigger, progress: Progress | None = None
) -> RebuildReport:
    """
    Rebuild the held force-months that were asked for; where anything changes, as a revision of cause `rules`.

    Anything: a row, a dead letter, a flag or figure, or that other rules than today's made the current revision.
    """
    with database.connect(autocommit=True) as connection:
        editions = [e for e in current_editions(connection) if wanted.covers(e.force, e.month)]
    return _rebuild_all(
        database,
        settings,
        [(edition, Cause.RULES) for edition in editions],
        asked_for={**as_asked(wanted), "source": "kept", "cause": "rules"},
        trigger=trigger,
        progress=progress,
    )


@dataclass(frozen=True, kw_only=True)
class ChosenLetters:
    """
    What a replay is about: the current editions that have open letters of those asked for, and how many letters.
    """

    editions: list[KeptEdition]
    letters: int


def letters_to_replay(
    database: Database, *, force: str | None, month: Month | None, rule: str | None, ids: list[int] | None
) -> ChosenLetters:
    """
    Choose the force-months that a replay is about.
    """
    with database.connect(autocommit=True) as connection:
        letters = find_letters(connection, force=force, month=month, rule=rule, ids=ids)
        chosen = {(letter.force, letter.month) for letter in letters}
        editions = [e for e in current_editions(connection) if (e.force, e.month) in chosen]
    return ChosenLetters(editions=editions, letters=len(letters))


def replay_letters(
    database: Database,
    settings: Settings,
    *,
    force: str | None = None,
    month: Month | None = None,
    rule: str | None = None,
    ids: list[int] | None = None,
    trigger: Trigger,
    batch: Batch | None = None,
    progress: Progress | None = None,
    is_stopping: Callable[[], bool] = lambda: False,
) -> RebuildReport:
    """
    Run open dead letters through today's rules; the records that pass become stops, by a revision of cause `replay`.

    The letters that are asked for choose force-months, and each of those is replayed whole. A second replay finds
    nothing left to do and changes nothing.

    Args:
        batch: One that was queued and is run now: the runs are its, and what has settled in it is not done again.
        is_stopping: Asked before each force-month whether to leave the rest.
    """
    chosen = letters_to_replay(database, force=force, month=month, rule=rule, ids=ids)
    editions = chosen.editions
    if batch is not None:
        editions = [edition for edition in editions if not batch.is_settled(edition.force, edition.month)]
    return _rebuild_all(
        database,
        settings,
        [(edition, Cause.REPLAY) for edition in editions],
        asked_for={"source": "kept", "cause": "replay", "letters": chosen.letters},
        trigger=trigger,
        batch=batch,
        progress=progress,
        is_stopping=is_stopping,
    )


def revert(
    database: Database, settings: Settings, force: str, month: Month, *, to: int | None = None, trigger: Trigger
) -> RebuildReport:
    """
    Make an earlier edition of a force-month current again, as a revision of cause `revert`.

    Args:
        to: The revision whose edition it is; None: the one served before the current content. Where the current
            content is that of the edition already, nothing is changed.

    Raises:
        UnknownRevision: There is no such revision, or none before.
        BodyGone: The body that it rests on has been pruned.
    """
    with database.connect(autocommit=True) as connection:
        edition = edition_before(editions_of(connection, force, month), to=to)
    asked_for = {"source": "kept", "cause": "revert", "force": force, "month": str(month), "to": edition.number}
    return _rebuild_all(database, settings, [(edition, Cause.REVERT)], asked_for=asked_for, trigger=trigger)


def revert_batch(
    database: Database, settings: Settings, batch_id: int, *, trigger: Trigger, progress: Progress | None = None
) -> RebuildReport:
    """
    Take back every revision that one batch made and that is current still: a wrongly loaded archive, say.

    Each goes back to what was served before and came by another batch. A force-month that had nothing before the batch
    keeps what the batch brought: its run says so and fails.
    """
    chosen: list[tuple[KeptEdition, Cause]] = []
    lone: list[KeptEdition] = []
    with database.connect(autocommit=True) as connection:
        for made in made_by_batch(connection, batch_id):
            try:
                editions = editions_of(connection, made.force, made.month)
                chosen.append((edition_before(editions, not_of_batch=batch_id), Cause.REVERT))
            except UnknownRevision:
                lone.append(made)
    report = _rebuild_all(
        database,
        settings,
        chosen,
        asked_for={"source": "kept", "cause": "revert", "batch": batch_id},
        trigger=trigger,
        progress=progress,
    )
    kept = [report_rebuild(edition, failed(_nothing_before(edition.force, edition.month)), {}) for edition in lone]
    return replace(report, runs=report.runs + kept)


def edition_before(
    editions: list[KeptEdition], *, to: int | None = None, not_of_batch: int | None = None
) -> KeptEdition:
    """
    Choose the edition that a revert makes current again.

    Args:
        to: The number of its revision; None: the last one that was served before the current content.
        not_of_batch: A batch that is taken back whole: none of its revisions is chosen.

    Raises:
        UnknownRevision: There is none.
    """
    current = next((edition for edition in editions if edition.is_current), None)
    first = editions[0]
    if to is not None:
        for edition in editions:
            if edition.number == to:
                return edition
        raise UnknownRevision(
            f"{first.force} {first.month} has no revision {to}.",
            remedy=f"'stopsearch revisions list --force {first.force}' lists them.",
        )
    for edition in reversed(editions):
        if (
            current is not None
            and edition.number < current.number
            and edition.standing is Standing.SERVED
            and edition.content_digest != current.content_digest
            and (not_of_batch is None or edition.batch_id != not_of_batch)
        ):
            return edition
    raise _nothing_before(first.force, first.month)


def _nothing_before(force: str, month: Month) -> UnknownRevision:
    return UnknownRevision(
        f"{force} {month} was never served with other content.", remedy="There is nothing to go back to."
    )


def _rebuild_all(
    database: Database,
    settings: Settings,
    editions: Iterable[tuple[KeptEdition, Cause]],
    *,
    asked_for: dict[str, object],
    trigger: Trigger,
    batch: Batch | None = None,
    progress: Progress | None = None,
    is_stopping: Callable[[], bool] = lambda: False,
) -> RebuildReport:
    waiting = list(editions)
    if not waiting:
        return RebuildReport(batch_id=None, runs=[])
    total = len(waiting)
    runs: list[RunReport] = []
    replayed = still = 0
    limits = RefusalLimits(share=settings.refuse_share, at_least=settings.refuse_min_records)
    with (
        begun(database, trigger, asked_for, batch, force_months=total) as batch,
        database.connect(autocommit=True) as connection,
    ):
        for attempt in range(1, _BUSY_TRIES + 1):
            busy: list[tuple[KeptEdition, Cause]] = []
            for edition, cause in waiting:
                if is_stopping() or batch.is_cancelled():
                    break
                rebuild = Rebuild(connection, edition, cause, limits)
                report = rebuild.run(batch.id)
                if report.outcome.status is RunStatus.BUSY and attempt < _BUSY_TRIES:
                    busy.append((edition, cause))
                    continue
                runs.append(report)
                replayed += rebuild.replayed
                still += rebuild.still_rejected
                if progress is not None:
                    progress(len(runs), total)
            if not busy or is_stopping() or batch.is_cancelled():
                break
            waiting = busy
            time.sleep(_BUSY_WAIT_S * attempt)
        if not (is_stopping() or batch.is_cancelled()):
            batch.finish(runs)
    return RebuildReport(
        batch_id=batch.id, runs=runs, replayed=replayed, still_rejected=still, cancelled_by=batch.cancelled_by
    )
