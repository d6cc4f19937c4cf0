"""
What the clock starts: each tick once, also a missed one; and what is put off is not lost.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from builders.ingests import bring_one_in, edition, settings_for
from builders.standin import make_api_record
from stopsearch.clean.clean_stops import RULES_VERSION
from stopsearch.domain.errors import BrokerUnavailable
from stopsearch.domain.months import Month
from stopsearch.domain.states import BatchStatus, RunStatus, Source
from stopsearch.flows.plan_batch import plan_batch
from stopsearch.flows.run_month import replay_month, run_month
from stopsearch.flows.schedule import StartedTick, start_due
from stopsearch.flows.tend_batches import tend_batches
from stopsearch.settings import Settings
from stopsearch.store.batch_months import PlannedMonth
from stopsearch.store.batch_queue import MOST_QUEUED, queue_entry
from stopsearch.store.batch_reports import list_batches
from stopsearch.store.database import Database
from stopsearch.store.forces import force_code
from stopsearch.store.ledger import RunOutcome, begin_run, end_batch, finish_run

pytestmark = pytest.mark.integration

SETTINGS = settings_for(
    poll_hour=2, recheck_day="sunday", recheck_hour=4, replay_hour=5, housekeeping_hour=6, forces="durham,kent"
)
# A Wednesday, well after every hour; the Sunday before is 2026-03-01.
NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


class RecordingDispatch:
    """
    Keeps what workers are told; the broker can be away.
    """

    def __init__(self) -> None:
        self.is_away = False
        self.planned: list[int] = []
        self.sent: list[tuple[int, PlannedMonth]] = []
        self.houses = 0

    def plan(self, batch_id: int) -> None:
        self._reach()
        self.planned.append(batch_id)

    def months(self, batch_id: int, months: Sequence[PlannedMonth]) -> None:
        self._reach()
        self.sent += [(batch_id, month) for month in months]

    def keep_house(self) -> None:
        self._reach()
        self.houses += 1

    def empty_queues(self) -> frozenset[str]:
        self._reach()
        return frozenset()

    def _reach(self) -> None:
        if self.is_away:
            raise BrokerUnavailable("RabbitMQ does not answer.")


@pytest.fixture
def dispatch() -> RecordingDispatch:
    return RecordingDispatch()


@pytest.fixture
def in_use(database: Database) -> Database:
    """
    A database that has been in use for a year.
    """
    with database.connect(autocommit=True) as connection:
        batch_id = queue_entry(
            connection, requested_by="somebody", asked_for={"kind": "ingest"}, at=NOW - timedelta(days=365)
        )
        end_batch(connection, batch_id, BatchStatus.FINISHED, at=NOW - timedelta(days=364))
    return database


def slots(database: Database) -> dict[tuple[str, str], int | None]:
    with database.connect() as connection:
        rows = connection.execute("SELECT schedule, due_at, batch_id FROM schedule_slot").fetchall()
    return {(schedule, f"{due_at:%m-%d %H}"): batch_id for schedule, due_at, batch_id in rows}


def batches(database: Database) -> list[tuple[str, dict[str, Any]]]:
    """
    Give the trigger of every batch, and what was asked for, in the order asked for.
    """
    with database.connect(autocommit=True) as connection:
        return [(batch.trigger, batch.asked_for) for batch in reversed(list_batches(connection, limit=1000))]


def triggers(database: Database) -> list[str]:
    return [trigger for trigger, _ in batches(database)]


def by_schedule(started: list[StartedTick]) -> dict[str, int | None]:
    return {str(taken.tick.schedule): taken.batch_id for taken in started}


def end_all(database: Database, status: BatchStatus = BatchStatus.FINISHED) -> None:
    with database.connect(autocommit=True) as connection:
        for batch in list_batches(connection, limit=1000):
            if batch.status in (BatchStatus.QUEUED, BatchStatus.RUNNING):
                end_batch(connection, batch.id, status, at=NOW)


def test_a_new_database_is_filled_at_once_and_has_nothing_to_recheck(
    database: Database, dispatch: RecordingDispatch
) -> None:
    started = by_schedule(start_due(database, SETTINGS, dispatch, now=NOW))

    [(trigger, asked_for)] = batches(database)
    assert trigger == "daily"
    assert (asked_for["kind"], asked_for["forces"], asked_for["recheck"]) == ("ingest", ["durham", "kent"], False)
    assert dispatch.planned == [started["daily"]]
    assert started == {"daily": dispatch.planned[0], "recheck": None, "replay": None, "housekeeping": None}
    assert slots(database) == {
        ("daily", "03-04 02"): dispatch.planned[0],
        ("recheck", "03-01 04"): None,
        ("replay", "03-04 05"): None,
        ("housekeeping", "03-04 06"): None,
    }


def test_the_batch_says_who_asked_and_that_workers_run_it(database: Database, dispatch: RecordingDispatch) -> None:
    start_due(database, SETTINGS, dispatch, now=NOW)

    with database.connect(autocommit=True) as connection:
        [batch] = list_batches(connection, limit=10)
    assert batch.requested_by.startswith("beat@")
    assert batch.is_distributed
    assert batch.status is BatchStatus.QUEUED
    assert batch.asked_at == NOW


def test_a_look_after_the_first_starts_nothing(in_use: Database, dispatch: RecordingDispatch) -> None:
    start_due(in_use, SETTINGS, dispatch, now=NOW)
    end_all(in_use)

    for minutes in range(0, 60, 5):
        assert start_due(in_use, SETTINGS, dispatch, now=NOW + timedelta(minutes=minutes)) == []
    assert triggers(in_use) == ["http", "daily", "weekly-recheck"]
    assert (len(dispatch.planned), dispatch.houses) == (2, 1)


def test_the_recheck_asks_for_every_listed_month_again(in_use: Database, dispatch: RecordingDispatch) -> None:
    start_due(in_use, SETTINGS, dispatch, now=NOW)

    asked = dict(batches(in_use))
    assert asked["weekly-recheck"]["recheck"] is True
    assert asked["weekly-recheck"]["forces"] == ["durham", "kent"]


def test_a_recheck_that_is_never_is_not_started(in_use: Database, dispatch: RecordingDispatch) -> None:
    never = SETTINGS.model_copy(update={"recheck_day": "never"})

    start_due(in_use, never, dispatch, now=NOW)

    assert triggers(in_use) == ["http", "daily"]


def test_each_days_tick_starts_a_batch_when_its_hour_comes(in_use: Database, dispatch: RecordingDispatch) -> None:
    first = datetime(2026, 3, 1, 0, 0, tzinfo=UTC)
    begun: list[tuple[str, str]] = []
    for hours in range(9 * 24):  # nine days, a look every hour
        now = first + timedelta(hours=hours)
        started = start_due(in_use, SETTINGS, dispatch, now=now)
        begun += [(str(taken.tick.schedule), f"{now:%m-%d %H:%M}") for taken in started]
        end_all(in_use)

    daily = [when for schedule, when in begun if schedule == "daily"]
    # The one that was due before the first look, and then each at its hour.
    assert daily == ["03-01 00:00", *(f"03-{day:02d} 02:00" for day in range(1, 10))]
    recheck = [when for schedule, when in begun if schedule == "recheck"]
    assert recheck == ["03-01 00:00", "03-01 04:00", "03-08 04:00"]
    assert dispatch.houses == 10


def test_days_that_were_missed_are_made_up_for_once(in_use: Database, dispatch: RecordingDispatch) -> None:
    start_due(in_use, SETTINGS, dispatch, now=NOW)
    end_all(in_use)

    later = NOW + timedelta(days=30)  # the machine was off for a month
    for minutes in (0, 5, 10):
        start_due(in_use, SETTINGS, dispatch, now=later + timedelta(minutes=minutes))
        end_all(in_use)

    assert triggers(in_use) == ["http", *["daily", "weekly-recheck"] * 2]
    assert [key for key in slots(in_use) if key[0] == "daily"] == [("daily", "03-04 02"), ("daily", "04-03 02")]


def test_a_tick_that_many_look_for_at_once_starts_one_batch(database: Database, dispatch: RecordingDispatch) -> None:
    together = threading.Barrier(8)

    def look(_: int) -> list[StartedTick]:
        together.wait()
        return start_due(database, SETTINGS, dispatch, now=NOW)

    with ThreadPoolExecutor(8) as pool:
        started = [taken for looks in pool.map(look, range(8)) for taken in looks]

    assert sorted(str(taken.tick.schedule) for taken in started) == ["daily", "housekeeping", "recheck", "replay"]
    assert triggers(database) == ["daily"]
    assert (len(dispatch.planned), dispatch.houses) == (1, 1)


def test_what_a_tick_starts_outlives_a_broker_that_is_away(in_use: Database, dispatch: RecordingDispatch) -> None:
    dispatch.is_away = True
    started = by_schedule(start_due(in_use, SETTINGS, dispatch, now=NOW))
    assert set(started) == {"daily", "recheck", "replay"}  # housekeeping is a task alone: it waits
    assert dispatch.planned == []

    dispatch.is_away = False
    tend_batches(in_use, SETTINGS, dispatch)
    again = by_schedule(start_due(in_use, SETTINGS, dispatch, now=NOW))

    assert dispatch.planned == [started["daily"], started["recheck"]]
    assert again == {"housekeeping": None}
    assert dispatch.houses == 1
    assert triggers(in_use) == ["http", "daily", "weekly-recheck"]


def test_a_full_queue_puts_a_tick_off_and_loses_none(database: Database, dispatch: RecordingDispatch) -> None:
    with database.connect(autocommit=True) as connection:
        for _ in range(MOST_QUEUED):
            queue_entry(connection, requested_by="many", asked_for={"kind": "ingest"}, at=NOW)

    started = by_schedule(start_due(database, SETTINGS, dispatch, now=NOW))
    assert "daily" not in started
    assert ("daily", "03-04 02") not in slots(database)
    assert dispatch.houses == 1  # what needs no room goes on

    end_all(database, BatchStatus.CANCELLED)
    assert set(by_schedule(start_due(database, SETTINGS, dispatch, now=NOW + timedelta(minutes=5)))) == {"daily"}


@pytest.mark.parametrize("status", [BatchStatus.QUEUED, BatchStatus.RUNNING])
def test_a_batch_that_has_not_ended_puts_the_next_off_until_it_has(
    database: Database, dispatch: RecordingDispatch, status: BatchStatus
) -> None:
    start_due(database, SETTINGS, dispatch, now=NOW)
    with database.connect(autocommit=True) as connection:
        connection.execute("UPDATE ingest_batch SET status = %s", [status])

    next_day = NOW + timedelta(days=1)
    assert "daily" not in by_schedule(start_due(database, SETTINGS, dispatch, now=next_day))
    assert triggers(database) == ["daily"]

    end_all(database)
    assert "daily" in by_schedule(start_due(database, SETTINGS, dispatch, now=next_day + timedelta(hours=1)))
    assert triggers(database) == ["daily", "daily"]


def test_a_batch_that_never_ends_does_not_stop_the_schedule(database: Database, dispatch: RecordingDispatch) -> None:
    start_due(database, SETTINGS, dispatch, now=NOW)

    for days in range(1, 6):
        start_due(database, SETTINGS, dispatch, now=NOW + timedelta(days=days))

    assert triggers(database).count("daily") == 2


def test_a_batch_of_another_trigger_puts_nothing_off(in_use: Database, dispatch: RecordingDispatch) -> None:
    with in_use.connect(autocommit=True) as connection:
        queue_entry(connection, requested_by="somebody", asked_for={"kind": "ingest"}, at=NOW, is_distributed=True)

    assert set(by_schedule(start_due(in_use, SETTINGS, dispatch, now=NOW))) == {
        "daily",
        "recheck",
        "replay",
        "housekeeping",
    }


def test_an_hour_that_is_moved_back_starts_nothing_anew(in_use: Database, dispatch: RecordingDispatch) -> None:
    start_due(in_use, SETTINGS, dispatch, now=NOW)
    end_all(in_use)
    moved = SETTINGS.model_copy(update={"poll_hour": 1, "recheck_day": "saturday"})

    assert start_due(in_use, moved, dispatch, now=NOW + timedelta(minutes=5)) == []


def test_a_clock_that_was_once_ahead_does_not_stop_the_schedule(
    database: Database, dispatch: RecordingDispatch
) -> None:
    start_due(database, SETTINGS, dispatch, now=NOW + timedelta(days=3650))
    end_all(database)

    assert "daily" in by_schedule(start_due(database, SETTINGS, dispatch, now=NOW))


def test_the_databases_clock_is_asked_where_no_instant_is_given(
    database: Database, dispatch: RecordingDispatch
) -> None:
    start_due(database, SETTINGS, dispatch)

    with database.connect(autocommit=True) as connection:
        row = connection.execute(
            """
            SELECT taken_at BETWEEN now() - interval '1 minute' AND now(),
                due_at BETWEEN now() - interval '1 day' AND now()
            FROM schedule_slot WHERE schedule = 'daily'
            """
        ).fetchone()
    assert row == (True, True)


MIXED = [make_api_record(), make_api_record(gender="?")]


def with_letters(database: Database, *months: tuple[str, str, int]) -> dict[str, int]:
    """
    Hold force-months with a dead letter each, made under the rules of a version; give each letter's number.
    """
    for force, month, version in months:
        records = [{**record, "datetime": f"{month}-01T10:00:00+00:00"} for record in MIXED]
        assert bring_one_in(database, edition(records, force=force, month=month)).rejected == 1
        with database.connect(autocommit=True) as connection:
            connection.execute(
                """
                UPDATE revision SET rules_version = %s
                WHERE force_code = (SELECT code FROM force WHERE id = %s) AND month = %s
                """,
                [version, force, f"{month}-01"],
            )
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT force.id, letter.id FROM dead_letter AS letter JOIN force ON force.code = letter.force_code"
        ).fetchall()
    return dict(rows)


def replay_batch(database: Database) -> dict[str, Any] | None:
    return dict(batches(database)).get("daily-replay")


OLDER, TODAYS = RULES_VERSION - 1, RULES_VERSION


def test_after_a_rule_change_the_letters_that_older_rules_made_are_replayed(
    database: Database, dispatch: RecordingDispatch
) -> None:
    letters = with_letters(
        database,
        ("durham", "2023-07", OLDER),
        ("kent", "2023-07", TODAYS),
        ("essex", "2023-08", OLDER),
        ("surrey", "2023-08", OLDER),
    )
    with database.connect(autocommit=True) as connection:
        connection.execute("UPDATE dead_letter SET state = 'dismissed' WHERE id = %s", [letters["surrey"]])

    started = by_schedule(start_due(database, SETTINGS, dispatch, now=NOW))

    asked_for = replay_batch(database)
    assert asked_for is not None
    assert asked_for["ids"] == sorted([letters["durham"], letters["essex"]])
    assert started["replay"] in dispatch.planned


def test_a_month_of_many_letters_is_asked_for_by_its_first(database: Database, dispatch: RecordingDispatch) -> None:
    """
    A force-month is replayed whole, so the ledger need not list a hundred thousand letters of a bad version.
    """
    records = [make_api_record(), *[make_api_record(gender=gender) for gender in ("?", "!", "-")]]
    assert bring_one_in(database, edition(records)).rejected == 3
    with database.connect(autocommit=True) as connection:
        connection.execute("UPDATE revision SET rules_version = %s", [OLDER])
        letters = sorted(row[0] for row in connection.execute("SELECT id FROM dead_letter"))

    started = by_schedule(start_due(database, SETTINGS, dispatch, now=NOW))

    asked_for = replay_batch(database)
    assert asked_for is not None
    assert asked_for["ids"] == letters[:1]
    assert started["replay"] is not None
    assert plan_batch(database, SETTINGS, dispatch, started["replay"]) == 1


def test_no_replay_is_started_where_todays_rules_made_every_letter(
    database: Database, dispatch: RecordingDispatch
) -> None:
    with_letters(database, ("durham", "2023-07", TODAYS), ("kent", "2023-07", TODAYS))

    assert by_schedule(start_due(database, SETTINGS, dispatch, now=NOW))["replay"] is None
    assert replay_batch(database) is None


def run_replay(database: Database, settings: Settings, dispatch: RecordingDispatch, batch_id: int | None) -> None:
    """
    Do what workers do for a replay: plan it, then replay each of its force-months.
    """
    assert batch_id is not None
    plan_batch(database, settings, dispatch, batch_id)
    with database.connect(autocommit=True) as connection:
        for month in [month for number, month in dispatch.sent if number == batch_id]:
            end = run_month(
                connection,
                settings,
                lambda claimed: replay_month(connection, settings, claimed),
                batch_id=batch_id,
                force=month.force,
                month=month.month,
            )
            assert end.status is RunStatus.UNCHANGED  # the letter breaks today's rules as well


def test_letters_that_today_fail_as_well_are_not_replayed_every_day(
    database: Database, dispatch: RecordingDispatch
) -> None:
    with_letters(database, ("durham", "2023-07", OLDER), ("kent", "2023-08", OLDER))
    now = datetime.now(UTC)
    started = by_schedule(start_due(database, SETTINGS, dispatch, now=now))
    run_replay(database, SETTINGS, dispatch, started["replay"])
    assert sorted((month.force, month.queue) for _, month in dispatch.sent) == [
        ("durham", "replay"),
        ("kent", "replay"),
    ]
    end_all(database)

    assert by_schedule(start_due(database, SETTINGS, dispatch, now=now + timedelta(days=1)))["replay"] is None


def test_a_newer_change_of_rules_replays_them_again(
    database: Database, dispatch: RecordingDispatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    letters = with_letters(database, ("durham", "2023-07", OLDER))
    now = datetime.now(UTC)
    started = by_schedule(start_due(database, SETTINGS, dispatch, now=now))
    run_replay(database, SETTINGS, dispatch, started["replay"])
    end_all(database)

    monkeypatch.setattr("stopsearch.flows.schedule.RULES_VERSION", RULES_VERSION + 1)
    assert by_schedule(start_due(database, SETTINGS, dispatch, now=now + timedelta(days=1)))["replay"] is not None

    replays = [asked_for["ids"] for trigger, asked_for in batches(database) if trigger == "daily-replay"]
    assert replays == [[letters["durham"]]] * 2


@pytest.mark.parametrize("status", [RunStatus.FAILED, RunStatus.BUSY, RunStatus.CANCELLED])
def test_a_replay_that_failed_is_started_again_the_next_day(
    database: Database, dispatch: RecordingDispatch, status: RunStatus
) -> None:
    with_letters(database, ("durham", "2023-07", OLDER))
    now = datetime.now(UTC)
    batch_id = by_schedule(start_due(database, SETTINGS, dispatch, now=now))["replay"]
    assert batch_id is not None
    with database.connect(autocommit=True) as connection:
        code = force_code(connection, "durham")
        month = Month.parse("2023-07")
        run_id = begin_run(
            connection, batch_id=batch_id, force_code=code, month=month, source=Source.KEPT, at=datetime.now(UTC)
        )
        finish_run(connection, run_id, RunOutcome(status=status), durations_s={}, at=datetime.now(UTC))
    end_all(database, BatchStatus.FINISHED_WITH_FAILURES)

    assert by_schedule(start_due(database, SETTINGS, dispatch, now=now + timedelta(days=1)))["replay"] is not None
