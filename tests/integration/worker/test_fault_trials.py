"""
Each fault done to real workers, once: the end is exactly that of an undisturbed run, in rows, ledger, rollups and dead
letters; nothing is stuck in a queue. `invoke chaos` does them at random, many times over.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from services import Service, want

if TYPE_CHECKING:
    from chaos.plans import Fault
    from chaos.stack import Stack

pytestmark = [pytest.mark.integration, pytest.mark.long]


def end_as_undisturbed(stack: Stack, *faults: Fault) -> None:
    """
    Do a trial with these faults, and see that it ends as if there had been none.
    """
    from chaos.plans import Plan
    from chaos.trial import run_trial

    result = run_trial(stack, Plan(name="test", faults=faults))

    assert result.wrong == []
    assert result.late == 0, "the batch had ended before the fault was done"


def test_nothing_happens(stack: Stack) -> None:
    end_as_undisturbed(stack)


def test_a_worker_is_killed_on_the_way(stack: Stack) -> None:
    from chaos.plans import Fault, Kind

    end_as_undisturbed(stack, Fault(kind=Kind.KILL_WORKER, after=2, delay_s=0.2))


def test_all_workers_are_killed_on_the_way(stack: Stack) -> None:
    from chaos.plans import Fault, Kind

    end_as_undisturbed(stack, Fault(kind=Kind.KILL_WORKERS, after=2, delay_s=0.2))


def test_the_process_that_runs_a_task_is_killed(stack: Stack) -> None:
    from chaos.plans import Fault, Kind

    end_as_undisturbed(stack, Fault(kind=Kind.KILL_PROCESS, after=1, delay_s=0.2))


def test_a_worker_is_told_to_end_on_the_way(stack: Stack) -> None:
    from chaos.plans import Fault, Kind

    end_as_undisturbed(stack, Fault(kind=Kind.STOP_WORKER, after=2, delay_s=0.2))


def test_a_worker_is_frozen_and_its_tasks_are_given_to_others(stack: Stack) -> None:
    from chaos.plans import Fault, Kind

    end_as_undisturbed(stack, Fault(kind=Kind.FORGET_WORKER, after=2, lasts_s=5.0))


def test_rabbitmq_is_restarted(stack: Stack) -> None:
    from chaos.plans import Fault, Kind

    end_as_undisturbed(stack, Fault(kind=Kind.RESTART_RABBITMQ, after=2, lasts_s=1.0))


def test_rabbitmq_loses_all_its_data(stack: Stack) -> None:
    from chaos.plans import Fault, Kind

    end_as_undisturbed(stack, Fault(kind=Kind.RESET_RABBITMQ, after=2))


def test_redis_is_restarted_and_has_lost_its_data(stack: Stack) -> None:
    from chaos.plans import Fault, Kind

    end_as_undisturbed(stack, Fault(kind=Kind.LOSE_REDIS, after=2, lasts_s=1.5))


def test_redis_does_not_answer(stack: Stack) -> None:
    from chaos.plans import Fault, Kind

    end_as_undisturbed(stack, Fault(kind=Kind.FREEZE_REDIS, after=2, lasts_s=3.0))


def test_postgresql_is_killed_and_starts_again(stack: Stack) -> None:
    from chaos.plans import Fault, Kind

    end_as_undisturbed(stack, Fault(kind=Kind.KILL_POSTGRES, after=2, lasts_s=1.0))


def test_a_copy_is_cut(stack: Stack) -> None:
    from chaos.plans import Fault, Kind

    def cuts() -> int:
        return len(re.findall(r"CONTEXT:  COPY (staged_)?stop, line", stack.postgres.log))

    before = cuts()

    end_as_undisturbed(stack, Fault(kind=Kind.CUT_COPY, after=0))

    assert cuts() > before, "no COPY of stops was cut"


def test_the_databases_disk_is_full(stack: Stack) -> None:
    from chaos.plans import Fault, Kind

    want(Service.SMALL_DISK)
    before = stack.postgres.log.count("No space left on device")

    end_as_undisturbed(stack, Fault(kind=Kind.FILL_DISK, after=1, lasts_s=3.0))

    assert stack.postgres.log.count("No space left on device") > before


def test_there_is_no_room_for_rows_for_longer_than_a_task_may_be_delivered(stack: Stack) -> None:
    from chaos.plans import Fault, Kind

    end_as_undisturbed(stack, Fault(kind=Kind.NO_ROOM, after=1, lasts_s=10.0))


@pytest.mark.parametrize("variety", [0, 1, 2], ids=["no word of when", "after a second", "after a date"])
def test_the_publisher_answers_429(stack: Stack, variety: int) -> None:
    from chaos.plans import Fault, Kind

    end_as_undisturbed(stack, Fault(kind=Kind.STORM, after=2, target=variety, lasts_s=3.0))

    assert stack.standin.stats.by_status[429] > 0


def test_the_publisher_is_down_for_longer_than_a_request_is_tried(stack: Stack) -> None:
    from chaos.plans import Fault, Kind

    end_as_undisturbed(stack, Fault(kind=Kind.UPSTREAM_DOWN, after=2, lasts_s=4.0))


def test_a_force_month_that_ends_its_worker_each_time(stack: Stack) -> None:
    from chaos.plans import Fault, Kind

    # That the others finish, that it lies in the dead queue, and how its batch ends, is what such a trial compares.
    end_as_undisturbed(stack, Fault(kind=Kind.POISON, after=0))


def test_every_task_is_delivered_twice_at_once(stack: Stack) -> None:
    from chaos.plans import Fault, Kind

    end_as_undisturbed(stack, Fault(kind=Kind.DELIVER_TWICE, after=0, target=1))


def test_two_batches_of_the_same_months(stack: Stack) -> None:
    from chaos.plans import Fault, Kind

    end_as_undisturbed(stack, Fault(kind=Kind.SECOND_BATCH, after=0))


def test_beat_is_killed(stack: Stack) -> None:
    from chaos.plans import Fault, Kind

    end_as_undisturbed(
        stack, Fault(kind=Kind.KILL_BEAT, after=0, lasts_s=1.0), Fault(kind=Kind.KILL_WORKER, after=3, delay_s=0.2)
    )
