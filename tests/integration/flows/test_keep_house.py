"""
Housekeeping: what may go goes, and what anything rests on stays.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from builders.ingests import bring_one_in, edition, settings_for
from builders.standin import make_api_record
from builders.store_state import breaches_of
from stopsearch.flows.keep_house import HouseKept, keep_house
from stopsearch.store.database import Database
from stopsearch.store.schedule_slots import take_tick

pytestmark = pytest.mark.integration

NOW = datetime.now(UTC) + timedelta(days=500)


@pytest.fixture
def lived_in(database: Database) -> Database:
    """
    A force-month that is held, a body that nothing rests on, and the ticks of two years.
    """
    bring_one_in(database, edition([make_api_record()]))
    # A whole month that is refused leaves its body, and no revision.
    bring_one_in(database, edition([make_api_record(gender="?")] * 30, force="kent"))
    with database.connect(autocommit=True) as connection:
        for days in (1, 399, 401, 730):
            take_tick(connection, "daily", NOW - timedelta(days=days), at=NOW)
    return database


def bodies(database: Database) -> int:
    with database.connect() as connection:
        row = connection.execute("SELECT count(*) FROM published_body").fetchone()
    return int(row[0]) if row else 0


def test_old_ticks_and_bodies_that_nothing_rests_on_go(lived_in: Database) -> None:
    assert bodies(lived_in) == 2
    settings = settings_for(body_retention_days=365)

    assert keep_house(lived_in, settings, now=NOW) == HouseKept(bodies=1, ticks=2)

    assert bodies(lived_in) == 1
    with lived_in.connect() as connection:
        kept = connection.execute("SELECT due_at FROM schedule_slot ORDER BY due_at DESC").fetchall()
    assert [(NOW - row[0]).days for row in kept] == [1, 399]
    assert breaches_of(lived_in) == {}


def test_housekeeping_twice_finds_nothing(lived_in: Database) -> None:
    settings = settings_for(body_retention_days=365)
    keep_house(lived_in, settings, now=NOW)

    assert keep_house(lived_in, settings, now=NOW) == HouseKept(bodies=0, ticks=0)


def test_bodies_stay_for_ever_unless_the_settings_say_for_how_long(lived_in: Database) -> None:
    assert keep_house(lived_in, settings_for(), now=NOW).bodies == 0
    assert bodies(lived_in) == 2


def test_a_body_stays_for_as_long_as_the_settings_say(lived_in: Database) -> None:
    assert keep_house(lived_in, settings_for(body_retention_days=1000), now=NOW).bodies == 0
