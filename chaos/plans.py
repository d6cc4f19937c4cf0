"""
What is done to the system in a trial: drawn from a seed and the trial's number alone, so that it can be done again.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

from chaos.publisher import ForceMonth, current_edition


class Kind(StrEnum):
    """
    A fault.
    """

    NONE = "nothing"
    KILL_WORKER = "kill a worker"  # with all its processes, as a machine that loses power
    KILL_WORKERS = "kill all workers"
    KILL_PROCESS = "kill a worker's process"  # one that runs a task, as the kernel does when memory runs out
    KILL_PARENT = "kill a worker's parent"  # and let the processes that run tasks go on without it
    STOP_WORKER = "stop a worker"  # SIGTERM, as in a rolling restart
    FREEZE_WORKER = "freeze a worker"
    FORGET_WORKER = "freeze a worker, and let the broker forget it"
    CLOSE_CONNECTIONS = "cut all connections to RabbitMQ"
    RESTART_RABBITMQ = "restart RabbitMQ"
    KILL_RABBITMQ = "kill RabbitMQ"
    RESET_RABBITMQ = "lose RabbitMQ's data"
    LOSE_REDIS = "restart Redis without its data"
    FREEZE_REDIS = "freeze Redis"
    RESTART_POSTGRES = "restart PostgreSQL"
    KILL_POSTGRES = "kill PostgreSQL"
    CUT_COPY = "cut a COPY"
    CUT_BACKENDS = "cut all connections to PostgreSQL"
    FILL_DISK = "fill PostgreSQL's disk"
    NO_ROOM = "no room for rows, but for the ledger"
    STORM = "429 storm"
    UPSTREAM_DOWN = "upstream down"
    SPOIL_ANSWERS = "spoil answers"
    POISON = "poison force-month"
    DELIVER_TWICE = "deliver everything twice"
    SECOND_BATCH = "second batch for the same months"
    KILL_BEAT = "kill Beat"


# Faults of one service do not overlap: what is stopped cannot be killed.
_SERVICES: dict[Kind, str] = {
    Kind.CLOSE_CONNECTIONS: "rabbitmq",
    Kind.RESTART_RABBITMQ: "rabbitmq",
    Kind.KILL_RABBITMQ: "rabbitmq",
    Kind.RESET_RABBITMQ: "rabbitmq",
    Kind.FORGET_WORKER: "rabbitmq",
    Kind.LOSE_REDIS: "redis",
    Kind.FREEZE_REDIS: "redis",
    Kind.RESTART_POSTGRES: "postgres",
    Kind.KILL_POSTGRES: "postgres",
    Kind.CUT_COPY: "postgres",
    Kind.CUT_BACKENDS: "postgres",
    Kind.FILL_DISK: "postgres",
    Kind.NO_ROOM: "postgres",
    Kind.POISON: "poison",
}
FAULTS = tuple(kind for kind in Kind if kind is not Kind.NONE)

# A poison force-month ends its worker as often as the broker delivers it. Faults that make the broker deliver again
# would use that up for the others as well, and then it would be right to give them up.
_NOT_WITH_POISON = frozenset({"rabbitmq"})


@dataclass(frozen=True, kw_only=True)
class Fault:
    """
    One fault: `after` so many answers of the publisher and `delay_s` more, for `lasts_s` where it lasts.
    """

    kind: Kind
    after: int = 3
    delay_s: float = 0.0
    lasts_s: float = 3.0
    target: int = 0  # a worker, or a variety, counted round

    def __str__(self) -> str:
        """
        Give it in words.
        """
        text = f"{self.kind} [{self.target}] after {self.after} answers + {self.delay_s:.2f} s"
        return f"{text} for {self.lasts_s:.1f} s" if self.lasts_s else text


@dataclass(frozen=True, kw_only=True)
class Plan:
    """
    All that is done in one trial.
    """

    name: str
    faults: tuple[Fault, ...] = ()

    @property
    def poisoned(self) -> ForceMonth | None:
        """
        Give the force-month that ends every worker.
        """
        months = sorted(current_edition())
        for fault in self.faults:
            if fault.kind is Kind.POISON:
                return months[fault.target % len(months)]
        return None

    def has(self, *kinds: Kind) -> bool:
        """
        Tell whether one of these faults is in it.
        """
        return any(fault.kind in kinds for fault in self.faults)

    def __str__(self) -> str:
        """
        Give it in words.
        """
        told = "; ".join(str(fault) for fault in self.faults) or "undisturbed"
        return f"{told} ({'/'.join(self.poisoned)})" if self.poisoned else told


def draw_plan(seed: int, trial: int, *, left_out: frozenset[Kind] = frozenset()) -> Plan:
    """
    Draw the plan of a trial: one to three faults, the first of which goes round all kinds.

    Args:
        left_out: What can't be done on this machine.
    """
    kinds = [kind for kind in FAULTS if kind not in left_out]
    round_, place = divmod(trial, len(kinds))
    first = random.Random(f"{seed} round {round_}").sample(kinds, len(kinds))[place]
    chance = random.Random(f"{seed} trial {trial}")
    chosen = [first]
    for _ in range(chance.choice((0, 0, 1, 1, 2))):
        fitting = [kind for kind in kinds if _fits(kind, chosen)]
        chosen.append(chance.choice(fitting))
    faults = sorted((_draw_fault(chance, kind) for kind in chosen), key=lambda fault: fault.after)
    return Plan(name=f"seed {seed}, trial {trial}", faults=tuple(faults))


def _fits(kind: Kind, chosen: list[Kind]) -> bool:
    if kind in chosen:
        return False
    services = {_SERVICES[other] for other in chosen if other in _SERVICES}
    own = _SERVICES.get(kind)
    if own in services:
        return False
    return not ({own, *services} >= {"poison", *_NOT_WITH_POISON})


def _draw_fault(chance: random.Random, kind: Kind) -> Fault:
    return Fault(
        kind=kind,
        after=chance.randrange(0, 10),
        delay_s=round(chance.choice((0.0, chance.uniform(0, 0.3), chance.uniform(0, 1.0))), 3),
        lasts_s=round(chance.uniform(0.5, 6.0), 2),
        target=chance.randrange(0, 1000),
    )
