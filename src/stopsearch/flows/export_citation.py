"""
How an export is cited: by its source, its licence, its snapshot and what was asked for.
"""

from __future__ import annotations

from stopsearch.domain.licence import LICENCE
from stopsearch.flows.asked_export import AskedExport


def citation_of(asked: AskedExport) -> str:
    """
    Give a ready citation. It names no server and no instant of one: the same export from another one is the same.
    """
    return (
        f"Stop and search records published by police forces on data.police.uk, under the {LICENCE['name']}; exported "
        f"by stopsearch, snapshot {asked.snapshot.id}, {asked.query or 'all stops'}."
    )
