"""
One force-month built again from its kept body with today's rules, as one run of a batch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

import psycopg
import structlog
from psycopg import Connection

from stopsearch.clean.identity import identify
from stopsearch.clean.normal_form import normal_form
from stopsearch.domain.errors import MonthRefused, RunAlreadyActive, StopSearchError, StoreUnavailable
from stopsearch.domain.states import Cause, LetterState, RunStatus, Source
from stopsearch.flows.keep_dismissed import keep_dismissed
from stopsearch.flows.prepare_edition import RefusalLimits, Stopwatch, build_edition, decode
from stopsearch.flows.run_troubles import understood
from stopsearch.flows.runs import RunReport, report_run
from stopsearch.store.edition import Edition, LetterDraft
from stopsearch.store.forces import force_code
from stopsearch.store.kept_editions import KeptEdition, editions_of, read_edition
from stopsearch.store.ledger import RunOutcome, begin_run, finish_run
from stopsearch.store.letters import DeadLetter, count_attempt, find_letters, lock_letters, mark_replayed
from stopsearch.store.locks import locked_month
from stopsearch.store.operations import operation_codes
from stopsearch.store.releases import Held, look
from stopsearch.store.revise import Revised, revise
from stopsearch.store.stop_rows import StopRows, stop_rows
from stopsearch.store.troubles import is_passing, is_store_gone, store_gone
from stopsearch.telemetry.faults import describe_fault

log = structlog.get_logger()


class _NothingChanged(Exception):
    """
    Takes a transaction back in which a rebuild turned out to change nothing.
    """


class Rebuild:
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
        Rebuild it, and say in the ledger how that ended. A failing force-month harms only itself.

        Raises:
            StoreUnavailable: The database went away.
        """
        try:
            return self._run(batch_id)
        except psycopg.Error as error:
            if is_store_gone(error):
                raise store_gone(error) from error
            raise

    def _run(self, batch_id: int) -> RunReport:
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
            except StoreUnavailable:
                raise
            except Exception as error:  # one force-month must never harm the others, whatever is wrong with it
                if is_store_gone(error):
                    raise store_gone(error) from error
                outcome = failed(_understood(error, kept))
            if outcome.status is not RunStatus.REVISED:
                finish_run(self._connection, run_id, outcome, durations_s=self._watch.seconds, at=_now())
            return report_rebuild(kept, outcome, self._watch.seconds)

    def _current(self) -> KeptEdition:
        """
        Give the edition that is current now: another may have become so since this force-month was chosen.
        """
        editions = editions_of(self._connection, self._kept.force, self._kept.month)
        return next(edition for edition in editions if edition.is_current)

    def _rebuild(self, held: Held, run_id: int) -> RunOutcome:
        kept = self._kept
        if self._cause is Cause.REVERT and kept.content_digest == held.content_digest:
            return RunOutcome(status=RunStatus.UNCHANGED, revision=held.revision)
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
                self._claim(letters)
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
                same_rows = revised.added == revised.withdrawn == 0
                if self._cause is Cause.RULES and same_rows and _says_the_same(kept, letters, edition):
                    raise _NothingChanged
                outcome = _revised(edition, revised)
                finish_run(self._connection, run_id, outcome, durations_s=self._watch.seconds, at=_now())
        except _NothingChanged:
            return RunOutcome(status=RunStatus.UNCHANGED, revision=held.revision)
        self.replayed = len(passed) if self._cause is not Cause.REVERT else 0
        return outcome

    def _claim(self, letters: list[DeadLetter]) -> None:
        """
        Keep everybody from deciding on letters while the revision that rests on them is being made.

        Raises:
            RunAlreadyActive: Somebody has decided since they were read.
        """
        if lock_letters(self._connection, [letter.id for letter in letters]) != {
            letter.id: letter.state for letter in letters
        }:
            raise RunAlreadyActive(
                f"A dead letter of {self._kept.force} {self._kept.month} was decided on meanwhile.",
                remedy="Nothing was written; the next run looks again.",
            )

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
        edition = keep_dismissed(edition, dismissed, ordinals=identities.ordinals, extra_keys=source.extra_keys)
        operations = {name for name in edition.accepted["operation_name"].unique().to_list() if name}
        codes = operation_codes(self._connection, operations) if operations else {}
        rows = stop_rows(edition.month, edition.accepted, edition.ids, codes, is_date_only=edition.is_date_only)
        return edition, rows


def _says_the_same(kept: KeptEdition, letters: list[DeadLetter], edition: Edition) -> bool:
    """
    Tell whether the current revision says of its force-month what an edition of equal rows says, by the same rules.
    """
    current = (kept.rules_version, kept.mended, kept.quality, kept.rejected_by_rule, kept.is_doubled, kept.is_date_only)
    rebuilt = (
        edition.rules_version,
        edition.mended,
        edition.quality,
        edition.rejected_by_rule,
        edition.is_doubled,
        edition.is_date_only,
    )
    return current == rebuilt and _rules_by_record(letters) == _rules_by_record(edition.letters)


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


def failed(error: StopSearchError) -> RunOutcome:
    """
    Give the outcome of a run that made no revision because of an error.
    """
    status = RunStatus.FAILED
    if isinstance(error, MonthRefused):
        status = RunStatus.REFUSED
    if isinstance(error, RunAlreadyActive):
        status = RunStatus.BUSY
    return RunOutcome(status=status, error_kind=error.kind, error_text=str(error))


def _understood(error: Exception, kept: KeptEdition) -> StopSearchError:
    """
    Put an error into words that may be kept: what the driver or a library says may quote whole records.
    """
    if is_passing(error):
        return RunAlreadyActive(
            f"Another transaction stood in the way of {kept.force} {kept.month}: {describe_fault(error)}.",
            remedy="Nothing was written; the next run looks again.",
        )
    return understood(error)


def report_rebuild(edition: KeptEdition, outcome: RunOutcome, durations_s: dict[str, float]) -> RunReport:
    """
    Say how the run of a rebuild ended, in its one log line and in its report.
    """
    return report_run(
        force=edition.force, month=edition.month, source=Source.KEPT, outcome=outcome, durations_s=durations_s
    )


def _now() -> datetime:
    return datetime.now(UTC)
