"""
Runs Celery's Beat until it is told to end: the clock of the schedule, without a memory or a file.

It asks no database, and decides nothing: of two Beats that run at once, or of ticks that were lost, no harm comes.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType
from typing import Any, NoReturn

import structlog
from celery.beat import ScheduleEntry, Scheduler, Service

from stopsearch.domain.errors import BrokerUnavailable
from stopsearch.settings import Settings
from stopsearch.telemetry.events import Event
from stopsearch.telemetry.faults import describe_fault
from stopsearch.telemetry.logs import configure_foreign_logs
from stopsearch.worker.access import need_access
from stopsearch.worker.app import make_celery, only_send
from stopsearch.worker.beat_ticks import beat_ticks
from stopsearch.worker.dispatch import CeleryDispatch

log = structlog.get_logger()

# So many tasks may wait for a worker before ticks are left out: while no worker runs, they must not pile up. Letting
# them expire is no way, since RabbitMQ lays expired tasks among the dead ones.
_MANY_WAIT = 10

_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 10.0

# So long the connection may take to be closed at the end; a broker that hangs must not keep Beat.
_END_WITHIN_S = 5.0


def run_beat(settings: Settings) -> None:
    """
    Send the ticks of the schedule until SIGTERM or SIGINT.

    While the broker is away it is waited for: what is due then is sent, once, when it is back.

    Raises:
        ConfigError: No broker is set, or it refuses us.
    """
    need_access(settings)
    app = only_send(make_celery(settings))
    configure_foreign_logs(level=settings.log_level)
    app.conf.beat_schedule = beat_ticks(settings)
    service = Service(app, scheduler_cls=PatientScheduler, remote_control=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    try:
        log.info(Event.BEAT_STARTED, ticks=sorted(app.conf.beat_schedule))
        service.start()  # until the end that a signal asks for, which it takes as its own
    except SystemExit:
        pass
    log.info(Event.BEAT_STOPPED)


class PatientScheduler(Scheduler):  # type: ignore[misc]  # Celery has no types
    """
    Celery's scheduler that keeps no file; a tick that can't be sent now is sent once it can.
    """

    producer = None  # each tick has a connection of its own

    def __init__(self, app: Any, **options: Any) -> None:
        self._dispatch = CeleryDispatch(app)
        super().__init__(app, **options)

    def apply_entry(self, entry: ScheduleEntry, **_: Any) -> None:
        """
        Send the tick of an entry, however long that takes: meanwhile the other entries come due, each once.
        """
        wait_s = _FIRST_WAIT_S
        while True:
            try:
                if not self._dispatch.send_tick(entry.task, waiting=_MANY_WAIT):
                    log.info(Event.TICK_LEFT_OUT, task=entry.task)
                return
            except BrokerUnavailable as error:
                log.warning(Event.BROKER_AWAY, fault=describe_fault(_first_cause(error)), wait_s=wait_s)
            time.sleep(wait_s)
            wait_s = min(_LONGEST_WAIT_S, 2 * wait_s)


def _first_cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    timer = threading.Timer(_END_WITHIN_S, os._exit, (0,))
    timer.daemon = True
    timer.start()
    raise SystemExit(0)
