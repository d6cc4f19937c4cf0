"""
Write what a run found, in the transaction of its caller.
"""

from __future__ import annotations

from psycopg import Connection

from stopsearch.domain.published import PublishedMonth
from stopsearch.domain.states import Cause, MonthState, RunStatus, Source, Standing
from stopsearch.flows.prepare_edition import NewEdition, NoRecords, Prepared, SameContent
from stopsearch.store.bodies import compress, keep_body
from stopsearch.store.ledger import RunOutcome
from stopsearch.store.releases import Held, note_state, note_unchanged
from stopsearch.store.revise import keep_historic, revise
from stopsearch.store.streets import StreetBook


def write_prepared(
    connection: Connection,
    published: PublishedMonth,
    prepared: Prepared,
    held: Held,
    *,
    run_id: int,
    streets: StreetBook,
) -> RunOutcome:
    """
    Write what a run found: a new revision, an edition for history, or that there was nothing new.

    Returns:
        How the run ended, for its ledger row.
    """
    code, month, is_look = held.force_code, published.month, published.source is Source.API
    if isinstance(prepared, NoRecords):
        note_state(connection, code, month, MonthState.EMPTY, at=published.published_at, is_look=is_look)
        return RunOutcome(status=RunStatus.EMPTY, origin=published.origin)
    if isinstance(prepared, SameContent):
        if prepared.streets is not None:
            streets.keep(connection, month, prepared.streets)  # before any row of the month, in every path
        if prepared.revision is not None:
            if published.body_digest not in held.body_digests and published.source is not Source.API:
                keep_body(connection, compress(published))
            note_unchanged(
                connection,
                code,
                month,
                body_digest=published.body_digest,
                published_at=published.published_at,
                is_look=is_look,
            )
        return RunOutcome(
            status=RunStatus.UNCHANGED,
            origin=published.origin,
            revision=prepared.revision,
        )
    streets.keep(connection, month, prepared.edition.streets)
    return _write_edition(connection, prepared, held, run_id=run_id)


def _write_edition(connection: Connection, new: NewEdition, held: Held, *, run_id: int) -> RunOutcome:
    if new.is_historic:
        revised = keep_historic(connection, new.edition, held, run_id=run_id)
    else:
        revised = revise(connection, new.edition, new.rows, held, cause=Cause.UPSTREAM, run_id=run_id)
    return RunOutcome(
        status=RunStatus.REVISED if revised.standing is Standing.SERVED else RunStatus.HISTORIC,
        revision=revised.number,
        origin=new.edition.origin,
        received=revised.received,
        stored=revised.stored,
        rejected=revised.rejected,
        added=revised.added,
        withdrawn=revised.withdrawn,
        mended=new.edition.mended,
        rejected_by_rule=new.edition.rejected_by_rule,
    )
