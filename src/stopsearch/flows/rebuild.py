"""
Build a force-month again from a kept body with today's rules: reprocess, replay of dead letters, and revert.

A force-month is rebuilt whole, since a revision has one set of rules. Dismissed letters stay rejected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import structlog
from psycopg import Connection

from stopsearch.clean.identity import identify
from stopsearch.clean.normal_form import normal_form
from stopsearch.domain.errors import MonthRefused, StopSearchError, UnknownRevision
from stopsearch.domain.months import Month
from stopsearch.domain.states import Cause, LetterState, RunStatus, Source, Standing
from stopsearch.flows.batches import Batch, Trigger, as_asked
from stopsearch.flows.plan import Wanted
from stopsearch.flows.prepare_edition import RefusalLimits, Stopwatch, build_edition, decode
from stopsearch.flows.runs import RunReport, report_run
from stopsearch.settings import Settings
from stopsearch.store.database import Database
from stopsearch.store.edition import Edition, LetterDraft
from stopsearch.store.forces import force_code
from stopsearch.store.kept_editions import KeptEdition, current_editions, editions_of, made_by_batch, read_edition
from stopsearch.store.ledger import RunOutcome, begin_run, finish_run
from stopsearch.store.letters import DeadLetter, count_attempt, find_letters, mark_replayed
from stopsearch.store.locks import locked_month
from stopsearch.store.operations import operation_codes
from stopsearch.store.releases import Held, look
from stopsearch.store.revise import Revised, revise
from stopsearch.store.stop_rows import StopRows, stop_rows

Progress = Callable[[int, int], None]  # how many force-months are done, and of how many


@dataclass(frozen=True, kw_only=True)
class RebuildReport:
    """
    What a rebuild of force-months did: one run each.
    """

    batch_id: int | None
    runs: list[RunReport]
    replayed: int = 0  # dead letters whose records are stops now
    still_rejected: int = 0  # dead letters that were tried and stay open


class _NothingChanged(Exception):
    """
    Takes a transaction back in which a rebuild turned out to change nothing.
    """


def reprocess(
    database: Database, settings: Settings, wanted: Wanted, *, trigger: Trigger, progress: Progress | None = None
) -> RebuildReport:
    """
    Rebuild the held force-months that were asked for; where anything changes, as a revision of cause `rules`.
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


def replay_letters(
    database: Database,
    settings: Settings,
    *,
    force: str | None = None,
    month: Month | None = None,
    rule: str | None = None,
    ids: list[int] | None = None,
    trigger: Trigger,
    progress: Progress | None = None,
) -> RebuildReport:
    """
    Run open dead letters through today's rules; the records that pass become stops, by a revision of cause `replay`.

    The letters that are asked for choose force-months, and each of those is replayed whole. A second replay finds
    nothing left to do and changes nothing.
    """
    with database.connect(autocommit=True) as connection:
        letters = find_letters(connection, force=force, month=month, rule=rule, ids=ids)
        chosen = {(letter.force, letter.month) for letter in letters}
        editions = [e for e in current_editions(connection) if (e.force, e.month) in chosen]
    return _rebuild_all(
        database,
        settings,
        [(edition, Cause.REPLAY) for edition in editions],
        asked_for={"source": "kept", "cause": "replay", "letters": len(letters)},
        trigger=trigger,
        progress=progress,
    )


def revert(
    database: Database, settings: Settings, force: str, month: Month, *, to: int | None = None, trigger: Trigger
) -> RebuildReport:
    """
    Make an earlier edition of a force-month current again, as a revision of cause `revert`.

    Args:
        to: The revision whose edition it is; None: the one served before the current content.

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

    A force-month that had nothing before the batch keeps what the batch brought: its run says so and fails.
    """
    chosen: list[tuple[KeptEdition, Cause]] = []
    lone: list[KeptEdition] = []
    with database.connect(autocommit=True) as connection:
        for made in made_by_batch(connection, batch_id):
            try:
                chosen.append((edition_before(editions_of(connection, made.force, made.month)), Cause.REVERT))
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
    kept = [_report(edition, _failed(_nothing_before(edition.force, edition.month)), {}) for edition in lone]
    return replace(report, runs=report.runs + kept)


def edition_before(editions: list[KeptEdition], *, to: int | None = None) -> KeptEdition:
    """
    Choose the edition that a revert makes current again.

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
    progress: Progress | None = None,
) -> RebuildReport:
    todo = list(editions)
    if not todo:
        return RebuildReport(batch_id=None, runs=[])
    runs: list[RunReport] = []
    replayed = still = 0
    limits = RefusalLimits(share=settings.refuse_share, at_least=settings.refuse_min_records)
    with Batch(database, trigger, asked_for) as batch, database.connect(autocommit=True) as connection:
        for done, (edition, cause) in enumerate(todo, start=1):
            rebuild = _Rebuild(connection, edition, cause, limits)
            runs.append(rebuild.run(batch.id))
            replayed += rebuild.replayed
            still += rebuild.still_rejected
            if progress is not None:
                progress(done, len(todo))
        batch.finish(runs)
    return RebuildReport(batch_id=batch.id, runs=runs, replayed=replayed, still_rejected=still)


class _Rebuild:
    """
    One force-month being rebuilt.
    """

    def __init__(self, connection: Connection, edition: KeptEdition, cause: Cause, limits: RefusalLimits) -> None:
        self._connection = connection
        self._kept = edition
        self._cause = cause
        self._limits = limits
        self._watch = Stopwatch()
        self.replayed = 0
        self.still_rejected = 0

    def run(self, batch_id: int) -> RunReport:
        """
        Rebuild it, and say in the ledger how that ended.
        """
        kept = self._kept
        code = force_code(self._connection, kept.force)
        run_id = begin_run(
            self._connection,
            batch_id=batch_id,
            force_code=code,
            month=kept.month,
            source=Source.KEPT,
            at=_now(),
        )
        with structlog.contextvars.bound_contextvars(force=kept.force, month=str(kept.month), run_id=run_id):
            try:
                with locked_month(self._connection, code, kept.month):
                    if self._cause is not Cause.REVERT:
                        self._kept = self._current()
                    outcome = self._rebuild(look(self._connection, kept.force, kept.month), run_id)
            except StopSearchError as error:
                outcome = _failed(error)
            if outcome.status is not RunStatus.REVISED:
                finish_run(self._connection, run_id, outcome, durations_s=self._watch.seconds, at=_now())
            return _report(kept, outcome, self._watch.seconds)

    def _current(self) -> KeptEdition:
        """
        Give the edition that is current now: another may have become so since this force-month was chosen.
        """
        editions = editions_of(self._connection, self._kept.force, self._kept.month)
        return next(edition for edition in editions if edition.is_current)

    def _rebuild(self, held: Held, run_id: int) -> RunOutcome:
        kept = self._kept
        letters = self._letters_of(kept.number)
        edition, rows = self._edition(letters)
        passed, failed = _part_open(letters, edition)
        self.still_rejected = len(failed)
        if self._cause is Cause.REPLAY and not passed:
            count_attempt(self._connection, [letter.id for letter in failed])
            return RunOutcome(status=RunStatus.UNCHANGED, revision=held.revision)
        edition = replace(edition, letters=[_with_attempts(draft, failed) for draft in edition.letters])
        try:
            with self._watch.stage("store"), self._connection.transaction():
                if self._cause is not Cause.REVERT:
                    mark_replayed(self._connection, [letter.id for letter in passed])
                revised = revise(
                    self._connection,
                    edition,
                    rows,
                    held,
                    cause=self._cause,
                    run_id=run_id,
                    is_restated=kept.is_restated if self._cause is Cause.REVERT else None,
                    by_value=True,
                )
                same_letters = _rules_by_record(letters) == _rules_by_record(edition.letters)
                if self._cause is Cause.RULES and not revised.added + revised.withdrawn and same_letters:
                    raise _NothingChanged
                outcome = _revised(edition, revised)
                finish_run(self._connection, run_id, outcome, durations_s=self._watch.seconds, at=_now())
        except _NothingChanged:
            return RunOutcome(status=RunStatus.UNCHANGED, revision=held.revision)
        self.replayed = len(passed) if self._cause is not Cause.REVERT else 0
        return outcome

    def _letters_of(self, revision: int) -> list[DeadLetter]:
        letters = find_letters(
            self._connection,
            force=self._kept.force,
            month=self._kept.month,
            states=tuple(LetterState),
        )
        return [letter for letter in letters if letter.revision == revision]

    def _edition(self, letters: list[DeadLetter]) -> tuple[Edition, StopRows]:
        published, body = read_edition(self._connection, self._kept)
        with self._watch.stage("decode"):
            source = decode(published.shape, published.body)
        with self._watch.stage("identify"):
            normal = normal_form(source.frame)
            identities = identify(published.force, published.month, normal)
        edition, rows = build_edition(
            published,
            source,
            normal,
            identities,
            body=body,
            limits=self._limits,
            name_operations=lambda names: operation_codes(self._connection, names),
            watch=self._watch,
        )
        dismissed = [letter for letter in letters if letter.state is LetterState.DISMISSED]
        if not dismissed:
            return edition, rows
        edition = keep_dismissed(edition, dismissed)
        operations = {name for name in edition.accepted["operation_name"].unique().to_list() if name}
        codes = operation_codes(self._connection, operations) if operations else {}
        return edition, stop_rows(edition.month, edition.accepted, edition.ids, codes)


def keep_dismissed(edition: Edition, dismissed: list[DeadLetter]) -> Edition:
    """
    Leave the records rejected that somebody has dismissed, whatever today's rules say of them.
    """
    numbers = {letter.record_number: letter for letter in dismissed}
    stays = ~edition.accepted["record_number"].is_in(list(numbers))
    drafts = {draft.record_number: draft for draft in edition.letters}
    for number, letter in numbers.items():
        drafts[number] = LetterDraft(
            record_number=number,
            raw=letter.raw,
            rejections=drafts[number].rejections if number in drafts else letter.rejections,
            state=LetterState.DISMISSED,
            reason=letter.reason,
            attempts=letter.attempts,
        )
    return replace(
        edition,
        accepted=edition.accepted.filter(stays),
        ids=edition.ids[stays.to_numpy()],
        letters=[drafts[number] for number in sorted(drafts)],
    )


def _part_open(letters: list[DeadLetter], edition: Edition) -> tuple[list[DeadLetter], list[DeadLetter]]:
    """
    Part the open letters into those whose records pass today, and those whose records do not.
    """
    rejected = {draft.record_number for draft in edition.letters}
    is_open = [letter for letter in letters if letter.state is LetterState.OPEN]
    passed = [letter for letter in is_open if letter.record_number not in rejected]
    failed = [letter for letter in is_open if letter.record_number in rejected]
    return passed, failed


def _with_attempts(draft: LetterDraft, failed: list[DeadLetter]) -> LetterDraft:
    attempts = {letter.record_number: letter.attempts + 1 for letter in failed}
    return replace(draft, attempts=attempts.get(draft.record_number, draft.attempts))


def _rules_by_record(letters: Iterable[DeadLetter | LetterDraft]) -> dict[int, list[str]]:
    return {letter.record_number: sorted(part["rule"] for part in letter.rejections) for letter in letters}


def _revised(edition: Edition, revised: Revised) -> RunOutcome:
    return RunOutcome(
        status=RunStatus.REVISED,
        revision=revised.number,
        origin=edition.origin,
        received=revised.received,
        stored=revised.stored,
        rejected=revised.rejected,
        added=revised.added,
        withdrawn=revised.withdrawn,
        mended=edition.mended,
        rejected_by_rule=edition.rejected_by_rule,
    )


def _failed(error: StopSearchError) -> RunOutcome:
    status = RunStatus.REFUSED if isinstance(error, MonthRefused) else RunStatus.FAILED
    return RunOutcome(status=status, error_kind=error.kind, error_text=str(error))


def _report(edition: KeptEdition, outcome: RunOutcome, durations_s: dict[str, float]) -> RunReport:
    return report_run(
        force=edition.force, month=edition.month, source=Source.KEPT, outcome=outcome, durations_s=durations_s
    )


def _now() -> datetime:
    return datetime.now(UTC)
