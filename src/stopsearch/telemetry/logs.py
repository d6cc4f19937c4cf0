"""
How log events are written: for people on a terminal, as JSON elsewhere; always to standard error.
"""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog

from stopsearch.telemetry.events import Event
from stopsearch.telemetry.faults import format_frames

# What says at level info what our own events say, or what nobody needs.
_TALKATIVE = (
    "alembic",
    "amqp",
    "celery.beat",
    "celery.worker.pidbox",
    "celery.worker.strategy",
    "httpcore",
    "httpx2",
    "kombu",
)
_QUOTING = ("celery.app.trace",)


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


def configure_foreign_logs(*, level: str) -> None:
    """
    Let what libraries log come out as our own events do, named `library_said`, with the logger's name.

    Of an exception only its frames are written; and nothing of Celery's account of a task's error, which quotes it.
    """
    root = logging.getLogger()
    root.handlers[:] = [_ToStructlog()]
    root.setLevel(level.upper())
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in _QUOTING:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


class _ToStructlog(logging.Handler):
    """
    Hands a library's log record to structlog.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """
        Write one record.
        """
        fields: dict[str, object] = {"logger": record.name, "message": " ".join(record.getMessage().split())}
        if record.exc_info and record.exc_info[1] is not None:
            fields["exception"] = format_frames(record.exc_info[1])
        structlog.get_logger().log(min(record.levelno, logging.CRITICAL), Event.LIBRARY_SAID, **fields)
