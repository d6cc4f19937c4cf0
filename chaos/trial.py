"""
One trial: ask for everything, disturb it as planned, wait for the end, and compare it with an undisturbed one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import psycopg

from chaos.inject import NotYet, Undo, ask_for_all, inject
from chaos.plans import Fault, Kind, Plan
from chaos.stack import Stack
from chaos.state import differences
from stopsearch.domain.errors import StopSearchError

_POLL_S = 0.05
# Generous: on a busy machine a broker alone takes ten seconds to come back.
STUCK_S = 150.0

# What may be answered by 429 of the publisher's own: nothing of ours. Redis' data are lost with its memory of the pace.
_NOT_OURS = (Kind.STORM,)

_SHOWN = 600  # characters of a line
_ROWS = 4  # force-months that are told of

_STATUS = "SELECT id, status FROM ingest_batch WHERE is_distributed ORDER BY id"
_OUTSTANDING = """
    SELECT batch_id, force.id, to_char(month, 'YYYY-MM'), queue, status, deliveries, tries, next_at - now() AS waits,
        now() - sent_at AS sent
    FROM batch_month JOIN force ON force.code = force_code WHERE ended_at IS NULL ORDER BY 1, ordinal
"""


@dataclass(kw_only=True)
class Result:
    """
    How a trial ended: `wrong` is empty where it ended as an undisturbed run does.
    """

    plan: Plan
    seconds: float = 0.0
    late: int = 0  # faults that came when the batches had ended already
    answers: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """
        Tell whether it ended in exactly the state of an undisturbed run.
        """
        return not self.wrong


def run_trial(stack: Stack, plan: Plan, *, say: Callable[[str], None] = lambda _: None) -> Result:
    """
    Do one trial. What goes wrong in it is in the result; the stack is fit for another one in any case.
    """
    result = Result(plan=plan)
    expected = stack.expected(plan.poisoned)
    stack.empty()
    if plan.poisoned is not None:
        stack.poison.write_text(" ".join(plan.poisoned))
    stack.wait_for_workers()
    began = time.monotonic()
    trial = _Trial(stack, plan, result, say)
    try:
        trial.run()
        result.seconds, result.answers = time.monotonic() - began, stack.answers()
        if not result.wrong:
            result.wrong += trial.compare(expected)
    except Exception as error:  # whatever it is, the trial has failed, and the others go on
        result.wrong.append(f"{type(error).__name__}: {error}")
        result.seconds = time.monotonic() - began
    finally:
        trial.undo_all()
    if result.wrong:
        stack.forget_processes()
    return result


class _Trial:
    def __init__(self, stack: Stack, plan: Plan, result: Result, say: Callable[[str], None]) -> None:
        self._stack = stack
        self._result = result
        self._say = say
        self._faults = list(plan.faults)
        self._met_at: dict[int, float] = {}
        self._undos: list[tuple[float, Undo]] = []
        self._plan = plan

    def run(self) -> None:
        """
        Do all that is planned, and wait until every batch has ended.
        """
        ask_for_all(self._stack)
        until = time.monotonic() + STUCK_S
        while True:
            statuses = self._statuses()
            is_over = statuses is not None and all(status not in ("queued", "running") for _, status in statuses)
            self._end_faults()
            if not self._begin_faults(is_over=is_over) and is_over and not self._undos and not self._faults:
                return
            self._watch_over()
            if time.monotonic() > until:
                told = [*self._outstanding(), *self._stack.broken_lines()]
                self._result.wrong += [f"stuck after {STUCK_S:.0f} s: {line[:_SHOWN]}" for line in told]
                return
            time.sleep(_POLL_S)

    def compare(self, expected: dict[str, list[tuple[object, ...]]]) -> list[str]:
        """
        Tell what is not as it should be, now that every batch has ended.
        """
        stack, plan = self._stack, self._plan
        wrong = [f"left in {queue}: {depth}" for queue, depth in stack.wait_for_queues().items()]
        dead = stack.dead_tasks()
        poisoned = " ".join(plan.poisoned) if plan.poisoned is not None else None
        if poisoned is None and dead:
            wrong.append(f"dead tasks: {dead}")
        if plan.poisoned is not None:
            of_it = [task for task in dead if all(f"'{word}'" in task for word in plan.poisoned)]
            if not of_it or len(of_it) != len(dead):
                wrong.append(f"dead tasks, instead of the poison one alone: {dead}")
        if stack.standin.stats.limited:
            wrong.append(f"{stack.standin.stats.limited} answers of 429 of our own making")
        wrong += [f"a fault of ours in the log: {line[:_SHOWN]}" for line in stack.broken_lines()]
        return wrong + differences(stack.database(), expected, poisoned=plan.poisoned)

    def undo_all(self) -> None:
        """
        End every fault that still lasts.
        """
        for _, undo in self._undos:
            undo()
        self._undos.clear()

    def _begin_faults(self, *, is_over: bool) -> bool:
        began = False
        answers, now = self._stack.answers(), time.monotonic()
        for fault in list(self._faults):
            if answers >= fault.after or is_over:
                self._met_at.setdefault(id(fault), now)
            met_at = self._met_at.get(id(fault))
            if met_at is None or now < met_at + fault.delay_s:
                continue
            try:
                undo = inject(self._stack, fault)
            except (
                StopSearchError,
                psycopg.Error,
                NotYet,
            ):  # what it needs is not there now
                self._met_at[id(fault)] = time.monotonic() + 0.5
                if is_over and fault.kind is Kind.CUT_COPY:  # nothing is left to be copied
                    self._faults.remove(fault)
                    self._result.late += 1
                continue
            self._say(f"    {time.strftime('%H:%M:%S')} {fault}{' (late)' if is_over else ''}")
            self._faults.remove(fault)
            self._result.late += is_over and fault.kind is not Kind.POISON
            began = True
            if undo is not None:
                self._undos.append((time.monotonic() + fault.lasts_s, undo))
        return began

    def _end_faults(self) -> None:
        for at, undo in list(self._undos):
            if time.monotonic() >= at:
                self._undos.remove((at, undo))
                undo()

    def _watch_over(self) -> None:
        """
        Note a process that ended though nothing was done to it.
        """
        if self._undos or self._faults:
            return
        for process in self._stack.processes():
            if not process.is_running:
                self._result.wrong.append(f"it ended by itself with {process.process.returncode}: {process.log[-800:]}")
                self._stack.run_workers()

    def _statuses(self) -> list[tuple[int, str]] | None:
        """
        Give how the batches stand, None while the database can't be asked.
        """
        try:
            with self._stack.database().connect() as connection:
                return connection.execute(_STATUS).fetchall()
        except (StopSearchError, psycopg.Error):
            return None

    def _outstanding(self) -> list[str]:
        with self._stack.database().connect() as connection:
            rows = connection.execute(_OUTSTANDING).fetchall()
        statuses = self._statuses()
        queues = {name: depth.total for name, depth in self._stack.task_queues().items()}
        return [f"batches {statuses}", f"queues {queues}", *(str(row) for row in rows[:_ROWS])]


def undisturbed() -> Plan:
    """
    Give the plan of a trial in which nothing happens: it shows that the two modes come to the same end.
    """
    return Plan(name="undisturbed", faults=())


def single(fault: Fault) -> Plan:
    """
    Give the plan of a trial with one fault.
    """
    return Plan(name=str(fault.kind), faults=(fault,))
