"""
How log events are written: for people on a terminal, as JSON elsewhere; always to standard error.
"""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog

from stopsearch.telemetry.faults import format_frames


def configure_logs(*, level: str, shape: Literal["auto", "json", "console"]) -> None:
    """
    Set the level and the shape of log events for this process.

    Of an exception only its frames and what may be said of it are written: its own text may quote a record.
    """
    for_people = shape == "console" or (shape == "auto" and sys.stderr.isatty())
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer() if for_people else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.ExceptionRenderer(lambda raised: format_frames(raised[1])),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
