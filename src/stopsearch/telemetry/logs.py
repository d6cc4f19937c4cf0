"""
How log events are written: for people on a terminal, as JSON elsewhere; always to standard error.
"""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog


def configure_logs(*, level: str, shape: Literal["auto", "json", "console"]) -> None:
    """
    Set the level and the shape of log events for this process.
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
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
