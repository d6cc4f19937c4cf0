"""
Keep what somebody has dismissed rejected, when a force-month is built again. No IO.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import polars as pl

from stopsearch.clean.quality import measure_quality
from stopsearch.domain.states import LetterState
from stopsearch.store.edition import Edition, LetterDraft
from stopsearch.store.letters import DeadLetter


def keep_dismissed(
    edition: Edition, dismissed: list[DeadLetter], *, ordinals: pl.Series, extra_keys: dict[str, int]
) -> Edition:
    """
    Leave the records rejected that somebody has dismissed, whatever today's rules say of them.

    What the edition says of its stops is measured again without them; what was mended is counted of all records.

    Args:
        ordinals: The ordinal among exact repeats of every received record.
        extra_keys: Keys that we don't know, counted.
    """
    drafts = {draft.record_number: draft for draft in edition.letters}
    for letter in dismissed:
        number = letter.record_number
        drafts[number] = LetterDraft(
            record_number=number,
            raw=letter.raw,
            rejections=drafts[number].rejections if number in drafts else letter.rejections,
            state=LetterState.DISMISSED,
            reason=letter.reason,
            attempts=letter.attempts,
            decided_at=letter.decided_at,
        )
    stays = ~edition.accepted["record_number"].is_in([letter.record_number for letter in dismissed])
    accepted = edition.accepted.filter(stays)
    quality = measure_quality(edition.month, accepted, ordinals, extra_keys)
    rules = Counter(broken["rule"] for draft in drafts.values() for broken in draft.rejections)
    return replace(
        edition,
        accepted=accepted,
        ids=edition.ids[stays.to_numpy()],
        letters=[drafts[number] for number in sorted(drafts)],
        rejected_by_rule=dict(rules),
        quality=quality.figures,
        is_doubled=quality.is_doubled,
        is_date_only=quality.is_date_only,
    )
