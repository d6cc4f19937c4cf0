"""
The rival that most people would write: pandas `json_normalize`, a Pandera schema, and a CSV COPY, month by month.

It makes the same checks and mends the same labels, and loads a plain table of text and typed columns with as many
indexes. It knows no identity, no revisions, no kept bodies, no rollup and no ledger.
"""

from __future__ import annotations

import io
import json
from typing import Any

import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors
from psycopg import Connection

from bench.bring_months_in import read_bodies
from bench.case import measured
from bench.databases import database_at
from bench.real_months import FORCE
from stopsearch.clean.rules.ethnicities import OLD_ETHNICITIES
from stopsearch.clean.rules.outcomes import NOTHING_FOUND, OLD_OUTCOMES
from stopsearch.domain.months import Month
from stopsearch.domain.stops import BOOLEAN_FIELDS
from stopsearch.domain.vocabulary import LABEL_FIELDS, labels_of

_TABLE = """
    CREATE TABLE plain_stop (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        force text NOT NULL,
        month date NOT NULL,
        datetime timestamptz NOT NULL,
        type text NOT NULL,
        operation boolean,
        operation_name text,
        latitude double precision,
        longitude double precision,
        gender text,
        age_range text,
        self_defined_ethnicity text,
        officer_defined_ethnicity text,
        legislation text,
        object_of_search text,
        outcome text,
        outcome_linked_to_object_of_search boolean,
        removal_of_more_than_outer_clothing boolean,
        CHECK ((latitude IS NULL) = (longitude IS NULL))
    );
    CREATE INDEX ON plain_stop (force, datetime, id);
    CREATE INDEX ON plain_stop (datetime, id);
    CREATE INDEX ON plain_stop (latitude, longitude);
"""

COLUMNS = [
    "force",
    "month",
    "datetime",
    "type",
    "operation",
    "operation_name",
    "latitude",
    "longitude",
    "gender",
    "age_range",
    "self_defined_ethnicity",
    "officer_defined_ethnicity",
    "legislation",
    "object_of_search",
    "outcome",
    "outcome_linked_to_object_of_search",
    "removal_of_more_than_outer_clothing",
]

SCHEMA = pa.DataFrameSchema(
    {
        "datetime": pa.Column("datetime64[us, UTC]", nullable=False),
        "latitude": pa.Column(float, pa.Check.in_range(49.0, 61.0), nullable=True),
        "longitude": pa.Column(float, pa.Check.in_range(-9.0, 2.1), nullable=True),
        "is_readable": pa.Column(bool, pa.Check.eq(True)),  # a coordinate that is given is a number
        "operation_name": pa.Column(str, pa.Check.str_length(max_value=200), nullable=True),
        **{
            name: pa.Column(str, pa.Check.isin(list(labels_of(name))), nullable=name != "type") for name in LABEL_FIELDS
        },
        **{name: pa.Column("boolean", nullable=True) for name in BOOLEAN_FIELDS},
    },
    checks=pa.Check(lambda frame: frame["latitude"].isna() == frame["longitude"].isna(), name="location_is_whole"),
    strict="filter",
)


def bring_in(*, conninfo: str, paths: list[str]) -> dict[str, Any]:
    """
    Case: bring answers in, from bytes in memory to committed rows.
    """
    bodies = read_bodies(paths)
    with database_at(conninfo).connect(autocommit=True) as connection:
        connection.execute(_TABLE)
        first = next(iter(bodies))
        few = json.dumps(json.loads(bodies[first])[:300]).encode()
        _bring_month_in(connection, first, few)  # so that nothing is measured that happens once a process
        connection.execute("TRUNCATE plain_stop")
        with measured(connection) as took:
            rejected = sum(_bring_month_in(connection, month, body) for month, body in bodies.items())
        row = connection.execute("SELECT count(*) FROM plain_stop").fetchone()
    assert row is not None
    return {**took, "rows": row[0] + rejected, "rejected": rejected}


def _bring_month_in(connection: Connection, month: Month, body: bytes) -> int:
    frame = clean(pd.json_normalize(json.loads(body)))
    try:
        stops, rejected = SCHEMA.validate(frame, lazy=True), 0
    except SchemaErrors as errors:
        broken = errors.failure_cases["index"].dropna().unique()
        stops, rejected = SCHEMA.validate(frame.drop(index=broken), lazy=True), len(broken)
    stops["force"], stops["month"] = FORCE, month.first_day
    text = io.StringIO()
    stops.to_csv(text, columns=COLUMNS, index=False, header=False)
    statement = f"COPY plain_stop ({', '.join(COLUMNS)}) FROM STDIN (FORMAT csv)"
    with connection.transaction(), connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(text.getvalue())
    return rejected


def clean(frame: pd.DataFrame) -> pd.DataFrame:
    """
    Clean a flattened answer: names, types, old labels, blanks.
    """
    frame = frame.rename(columns={"location.latitude": "latitude", "location.longitude": "longitude"})
    for name in (*LABEL_FIELDS, "operation_name"):
        frame[name] = frame[name].replace({"": None, False: NOTHING_FOUND}).astype("str")
    frame["outcome"] = frame["outcome"].replace(OLD_OUTCOMES)
    frame["self_defined_ethnicity"] = frame["self_defined_ethnicity"].replace(OLD_ETHNICITIES)
    given = frame[["latitude", "longitude"]].notna().to_numpy()
    frame["datetime"] = pd.to_datetime(frame["datetime"], utc=True, format="ISO8601", errors="coerce").dt.as_unit("us")
    for name in ("latitude", "longitude"):
        frame[name] = pd.to_numeric(frame[name], errors="coerce")
    frame["is_readable"] = (frame[["latitude", "longitude"]].notna().to_numpy() == given).all(axis=1)
    for name in BOOLEAN_FIELDS:
        frame[name] = frame[name].astype("boolean")
    return frame
