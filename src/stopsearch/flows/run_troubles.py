"""
What a run says of an error that it met.
"""

from __future__ import annotations

import structlog

from stopsearch.domain.errors import ConfigError, StopSearchError
from stopsearch.store.troubles import known_trouble
from stopsearch.telemetry.events import Event
from stopsearch.telemetry.faults import describe_fault, format_frames

log = structlog.get_logger()


def understood(error: Exception) -> StopSearchError:
    """
    Put an error into words that may be kept: what the driver or a library says may quote whole records.
    """
    if isinstance(error, StopSearchError):
        return error
    known = known_trouble(error)
    if isinstance(known, ConfigError):
        return known
    log.error(Event.RUN_BROKE, fault=describe_fault(error), exception=format_frames(error))
    return known or StopSearchError(
        f"Something that should not happen: {describe_fault(error)}.",
        remedy="The last revision stays. Please report it, with the force and the month.",
    )
