"""
The services, workers and Beat that trials run on: started once, made empty before each trial.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from psycopg import sql
from redis import Redis

from builders.ingests import ingest_api, settings_for
from builders.postgres import RunningPostgres, can_limit_disk, running_postgres
from builders.rabbitmq import QueueDepth, RunningRabbitMQ, running_rabbitmq
from builders.standin import RunningStandin, running_standin
from builders.valkey import RunningValkey, running_valkey
from builders.workers import RunningProcess
from chaos.publisher import EMPTY, ForceMonth, current_edition, earlier_edition
from chaos.state import Content, content, expected_without
from chaos.worker_process import POISON_VARIABLE
from stopsearch.flows.due_ticks import latest_ticks
from stopsearch.flows.plan import Wanted
from stopsearch.settings import Settings
from stopsearch.standin.limit import Limit
from stopsearch.store.database import Database, outside_database
from stopsearch.store.migrate import migrate
from stopsearch.telemetry.events import Event
from stopsearch.worker.dispatch import CeleryDispatch
from stopsearch.worker.queues import DEAD_QUEUE

WORKERS = 2
PROCESSES = 2
_LATENCY_S = 0.6
_DISK_MB = 256
_DATABASE, _PREPARED, _REFERENCE = "chaos", "prepared", "reference"
_POLL_S = 0.1
_ROOT = str(Path(__file__).parents[1])  # where this package is found
# What a worker logs of a fault of ours, whatever is done to it.
_BROKEN = (Event.TASK_BROKE, Event.RUN_BROKE)
_SHOWN_LINES = 3
_START_S = 120.0

# Short, so that what takes minutes in earnest takes seconds here.
_SETTINGS: dict[str, str] = {
    "STOPSEARCH_RETRY_ATTEMPTS": "3",
    "STOPSEARCH_RETRY_TIME_S": "4",
    "STOPSEARCH_REQUEST_TIMEOUT_S": "10",
    "STOPSEARCH_BREAKER_FAILURES": "4",
    "STOPSEARCH_BREAKER_PAUSE_S": "1.5",
    "STOPSEARCH_TEND_EVERY_S": "1",
    "STOPSEARCH_TASK_SOFT_LIMIT_S": "60",
    "STOPSEARCH_TASK_HARD_LIMIT_S": "80",
    "STOPSEARCH_WORKER_GRACE_S": "5",
    "STOPSEARCH_RECHECK_DAY": "never",
    "STOPSEARCH_LOG_LEVEL": "info",
    "STOPSEARCH_LOG_FORMAT": "json",
}


class Stack:
    """
    Everything that a trial disturbs. `running_stack` gives one.
    """

    def __init__(
        self,
        folder: Path,
        *,
        rabbitmq: RunningRabbitMQ,
        postgres: RunningPostgres,
        valkey: RunningValkey,
        standin: RunningStandin,
        has_small_disk: bool,
    ) -> None:
        self.folder = folder
        self.rabbitmq = rabbitmq
        self.postgres = postgres
        self.valkey = valkey
        self.standin = standin
        self.has_small_disk = has_small_disk
        self.vhost = rabbitmq.new_vhost()
        self.poison = folder / "poison"
        self.database_url = postgres.database_url(_DATABASE)
        self._workers: list[RunningProcess | None] = [None] * WORKERS
        self._beat: RunningProcess | None = None
        self._started = 0
        self._read: dict[Path, int] = {}
        self._without: dict[ForceMonth, Content] = {}
        # Half a day off: what the schedule makes up for at the start is taken, and no tick comes during the trials.
        hour = str((datetime.now(UTC).hour + 12) % 24)
        self._hours = {f"STOPSEARCH_{name}_HOUR": hour for name in ("POLL", "REPLAY", "HOUSEKEEPING")}
        self._prepare()
        self._whole = self._ingest_undisturbed(None)
        self.dispatch = CeleryDispatch.from_settings(self.settings)

    @property
    def settings(self) -> Settings:
        """
        Give what the one who asks for batches knows.
        """
        return settings_for(
            self.standin.url, database_url=self.database_url, broker_url=self.vhost, redis_url=self.valkey.url
        )

    @property
    def workers(self) -> list[RunningProcess]:
        """
        Give the workers.
        """
        return [worker for worker in self._workers if worker is not None]

    @property
    def beat(self) -> RunningProcess:
        """
        Give Beat.
        """
        assert self._beat is not None, "it is started by `empty`"
        return self._beat

    def database(self) -> Database:
        """
        Give the database of the trial.
        """
        return outside_database(self.database_url)

    def expected(self, poisoned: ForceMonth | None) -> Content:
        """
        Give what an undisturbed run ends in, or one that cannot bring a force-month in.
        """
        if poisoned is None:
            return self._whole
        if poisoned not in self._without:
            self._without[poisoned] = expected_without(self._whole, self._ingest_undisturbed(poisoned), poisoned)
        return self._without[poisoned]

    def empty(self) -> None:
        """
        Make everything as it was before the first trial, with workers and Beat that wait for work.

        Workers live on from trial to trial, as they do in earnest: each meets many faults in its life.
        """
        for process in self.processes():
            _signal(process, signal.SIGSTOP if process is self._beat else signal.SIGCONT)
        self.wait_for_queues()
        self.standin.faults.clear()
        self.poison.unlink(missing_ok=True)
        for queue in self.task_queues():
            self.purge(queue)
        self._copy_database(_DATABASE)
        with Redis.from_url(self.valkey.url) as client:
            client.flushall()
        self.run_workers()
        self.standin.stats.reset()
        self.broken_lines()  # those of a trial before are its own
        if self._beat is not None:
            _signal(self._beat, signal.SIGCONT)

    def run_workers(self) -> None:
        """
        Start what does not run: what a supervisor does with a worker, or Beat, that has ended.
        """
        new = []
        for number, worker in enumerate(self._workers):
            if worker is None or not worker.is_running:
                if worker is not None:
                    worker.kill()  # what it forked may have outlived it
                self._workers[number] = self._start(
                    f"worker-{number}",
                    "worker",
                    "--concurrency",
                    str(PROCESSES),
                    "--name",
                    f"{number}-{self._started}",
                    module="chaos.worker_process",
                )
                new.append(self._workers[number])
        if self._beat is None or not self._beat.is_running:
            self._beat = self._start("beat", "beat")
        self._new = new

    def wait_for_workers(self) -> None:
        """
        Wait until the workers that were started last take tasks.
        """
        for worker in self._new:
            worker.wait_for("worker_started", timeout_s=_START_S)

    def forget_processes(self) -> None:
        """
        End the workers and Beat, so that the next trial has new ones.
        """
        for process in self.processes():
            process.kill()
        self._workers, self._beat = [None] * WORKERS, None

    def processes(self) -> list[RunningProcess]:
        """
        Give the workers and Beat.
        """
        return [*self.workers, *([self._beat] if self._beat is not None else [])]

    def answers(self) -> int:
        """
        Count the force-months that the publisher has answered with its records.
        """
        return sum(
            arrival.path == "/api/stops-force" and arrival.status == 200 for arrival in self.standin.stats.arrivals
        )

    def task_queues(self) -> dict[str, QueueDepth]:
        """
        Count the tasks in each queue of ours; those that Celery makes for itself are left out.
        """
        depths = self.rabbitmq.queue_depths(self.vhost)
        return {name: depth for name, depth in depths.items() if name.startswith(DEAD_QUEUE.name.partition(".")[0])}

    def wait_for_queues(self, *, patience_s: float = 60.0) -> dict[str, str]:
        """
        Wait until no task waits or is in hand; give the queues that still hold some, the dead one left out.
        """
        until = time.monotonic() + patience_s
        while True:
            left = {
                name: f"{depth.ready} ready, {depth.unacknowledged} in hand"
                for name, depth in self.task_queues().items()
                if depth.total and name != DEAD_QUEUE.name
            }
            if not left or time.monotonic() > until:
                return left
            time.sleep(_POLL_S)

    def broken_lines(self) -> list[str]:
        """
        Give what the workers and Beat have logged of faults of ours since they were last asked.
        """
        lines = []
        for path in sorted(self.folder.glob("*.log")):
            with path.open(errors="replace") as file:
                file.seek(self._read.get(path, 0))
                lines += [line.strip() for line in file if any(f'"{event}"' in line for event in _BROKEN)]
                self._read[path] = file.tell()
        return lines[:_SHOWN_LINES]

    def dead_tasks(self) -> list[str]:
        """
        Give what lies in the dead queue, each as the task's arguments, and take it out.
        """
        from stopsearch.worker.app import make_celery

        found = []
        with make_celery(self.settings).connection_for_read() as connection:
            channel = connection.channel()
            DEAD_QUEUE(channel).declare()
            while (message := channel.basic_get(DEAD_QUEUE.name, no_ack=True)) is not None:
                found.append(f"{message.headers['task']}{message.headers['argsrepr']}")
        return found

    def purge(self, queue: str) -> None:
        """
        Take all that waits out of a queue.
        """
        from stopsearch.worker.app import make_celery

        with make_celery(self.settings).connection_for_write() as connection:
            connection.channel().queue_purge(queue)

    def close(self) -> None:
        """
        End every process that was started for the trials.
        """
        self.forget_processes()

    def _start(self, name: str, *command: str, module: str = "stopsearch") -> RunningProcess:
        self._started += 1
        environment = {
            **_SETTINGS,
            **self._hours,
            "STOPSEARCH_DATABASE_URL": self.database_url,
            "STOPSEARCH_BROKER_URL": self.vhost,
            "STOPSEARCH_REDIS_URL": self.valkey.url,
            "STOPSEARCH_UPSTREAM_URL": self.standin.url,
            POISON_VARIABLE: str(self.poison),
            "PYTHONPATH": os.pathsep.join([_ROOT, *filter(None, [os.environ.get("PYTHONPATH")])]),
        }
        log = self.folder / f"{self._started:04d}-{name}.log"
        return RunningProcess(list(command), environment, log, module=module)

    def _prepare(self) -> None:
        """
        Make the database that each trial begins with: the earlier edition is held, and the schedule's ticks are taken.
        """
        database = outside_database(self.postgres.create(_PREPARED))
        migrate(database.engine)
        with running_standin(earlier_edition()) as earlier:
            assert ingest_api(database, earlier.url).status == "finished"
        now = datetime.now(UTC)
        with database.connect(autocommit=True) as connection:
            settings = self.settings.model_copy(
                update={name.removeprefix("STOPSEARCH_").lower(): int(hour) for name, hour in self._hours.items()}
            )
            for tick in latest_ticks(settings, now):
                connection.execute(
                    "INSERT INTO schedule_slot (schedule, due_at, taken_at) VALUES (%s, %s, %s)",
                    [tick.schedule, tick.due_at, now],
                )
        database.close()
        self.standin.publication.list_also(*EMPTY)

    def _ingest_undisturbed(self, left_out: ForceMonth | None) -> Content:
        """
        Bring everything in as the embedded mode does, and give what is held then.
        """
        publication = self.standin.publication
        if left_out is not None:
            publication.hide(left_out[1], left_out[0])
        self._copy_database(_REFERENCE)
        database = outside_database(self.postgres.database_url(_REFERENCE))
        try:
            assert ingest_api(database, self.standin.url, Wanted(recheck=True)).status == "finished"
            return content(database)
        finally:
            database.close()
            if left_out is not None:
                publication.release(left_out[1], left_out[0])

    def _copy_database(self, name: str) -> None:
        with psycopg.connect(self.postgres.url, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(_PREPARED))
            )


@contextmanager
def running_stack(folder: Path) -> Iterator[Stack]:
    """
    Start the services, and end them and all that was started since when the block ends.

    Args:
        folder: For the logs of workers and Beat.
    """
    has_small_disk = can_limit_disk()
    with ExitStack() as stack:
        rabbitmq = stack.enter_context(running_rabbitmq())
        postgres = stack.enter_context(running_postgres(disk_mb=_DISK_MB if has_small_disk else None))
        valkey = stack.enter_context(running_valkey(folder))
        standin = stack.enter_context(running_standin(current_edition(), limit=Limit(), latency_s=_LATENCY_S))
        running = Stack(
            folder,
            rabbitmq=rabbitmq,
            postgres=postgres,
            valkey=valkey,
            standin=standin,
            has_small_disk=has_small_disk,
        )
        stack.callback(running.close)
        yield running


def _signal(process: RunningProcess, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.process.pid, number)
