"""
Values into the database and back: the binary COPY's types and NULLs, and bodies as they came.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

import numpy as np
import pytest

from builders.archives import sample_month
from builders.ingests import bring_one_in, edition
from builders.standin import make_api_record
from builders.store_state import count_rows
from stopsearch.domain.errors import BodyGone
from stopsearch.store.bodies import compress, keep_body, prune_bodies, read_body
from stopsearch.store.copy_rows import (
    BOOLEAN,
    DATE,
    DOUBLE,
    INTEGER,
    SMALLINT,
    TIMESTAMPTZ,
    Column,
    CopyRows,
    as_days,
    as_microseconds,
)
from stopsearch.store.copy_rows import UUID as UUID_TYPE
from stopsearch.store.database import Database

pytestmark = pytest.mark.integration


def test_every_type_and_null_comes_back_as_it_went(database: Database) -> None:
    types = {
        "i2": (SMALLINT, "smallint"),
        "i4": (INTEGER, "integer"),
        "f8": (DOUBLE, "float8"),
        "d": (DATE, "date"),
        "t": (TIMESTAMPTZ, "timestamptz"),
        "b": (BOOLEAN, "boolean"),
        "u": (UUID_TYPE, "uuid"),
    }
    rows = CopyRows([Column(name=name, type=kind, is_nullable=True) for name, (kind, _) in types.items()], 4)
    ids = [uuid4() for _ in range(4)]
    days = np.array(["1970-01-01", "2000-01-01", "2024-02-29", "1999-12-31"], dtype="datetime64[D]").astype(np.int32)
    instants = [datetime(2023, 7, 31, 23, 0, 0, 123456, UTC), datetime(1969, 12, 31, 23, 59, 59, 999999, UTC)]
    instants += [datetime(2000, 1, 1, tzinfo=UTC), datetime(2024, 3, 31, 1, tzinfo=UTC)]
    micros = np.array([(at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) for at in instants])
    absent = np.array([False, True, False, True])
    rows.set("i2", np.array([0, -32768, 32767, 1]), absent)
    rows.set("i4", np.array([-(2**31), 2**31 - 1, 7, 8]))
    rows.set("f8", np.array([52.629729, -1.131592, 0.1 + 0.2, 0.0]), ~absent)
    rows.set("d", as_days(days))
    rows.set("t", as_microseconds(micros))
    rows.set("b", np.array([True, False, True, False]), absent)
    rows.set("u", np.frombuffer(b"".join(uuid.bytes for uuid in ids), dtype="V16"))

    with database.connect() as connection:
        connection.execute(
            f"CREATE TEMP TABLE kinds ({', '.join(f'{name} {kind}' for name, (_, kind) in types.items())})"
        )
        rows.copy_into(connection, "kinds")
        back = connection.execute("SELECT * FROM kinds").fetchall()
    assert [row[0] for row in back] == [0, None, 32767, None]
    assert [row[1] for row in back] == [-(2**31), 2**31 - 1, 7, 8]
    assert [row[2] for row in back] == [None, -1.131592, None, 0.0]
    assert [row[3] for row in back] == [date(1970, 1, 1), date(2000, 1, 1), date(2024, 2, 29), date(1999, 12, 31)]
    assert [row[4] for row in back] == instants
    assert [row[5] for row in back] == [True, None, True, None]
    assert [row[6] for row in back] == ids
    assert all(isinstance(row[6], UUID) for row in back)


def test_no_row_at_all_is_copied_too(database: Database) -> None:
    with database.connect() as connection:
        connection.execute("CREATE TEMP TABLE one (a smallint)")
        CopyRows([Column(name="a", type=SMALLINT)], 0).copy_into(connection, "one")
        assert connection.execute("SELECT count(*) FROM one").fetchone() == (0,)


def test_a_body_comes_back_byte_for_byte_and_is_kept_once(database: Database) -> None:
    published = edition(sample_month("city-of-london", "2019-01"), force="city-of-london", month="2019-01")
    kept = compress(published)

    with database.connect(autocommit=True) as connection:
        keep_body(connection, kept)
        keep_body(connection, kept)
        body, again = read_body(connection, kept.digest)
    assert body == published.body
    assert again == kept
    assert len(kept.compressed) < len(body) / 4
    assert count_rows(database, "published_body") == 1


def test_a_body_that_a_revision_rests_on_is_never_pruned(database: Database) -> None:
    needed, loose = edition([make_api_record()]), edition([make_api_record(gender="Female")])
    bring_one_in(database, needed)
    with database.connect(autocommit=True) as connection:
        keep_body(connection, compress(loose))

        assert prune_bodies(connection, kept_before=datetime.now(UTC) - timedelta(days=1)) == 0
        assert prune_bodies(connection, kept_before=datetime.now(UTC) + timedelta(days=1)) == 1

        assert read_body(connection, needed.body_digest)[0] == needed.body
        with pytest.raises(BodyGone, match="no longer kept"):
            read_body(connection, loose.body_digest)
