"""
The contract: the only statement of what a stop is, for records of both shapes.

Each rule is an expression that is true for a row that keeps it. The Pandera schema is two checks over the frame: the
columns' types, and all rules. Declared column by column and rule by rule, a month of 300 rows took 20 ms in place
of 3.5.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandera.polars as pa
import polars as pl

from stopsearch.domain.stops import BOOLEAN_FIELDS
from stopsearch.domain.vocabulary import VOCABULARY, labels_of

# A box around the United Kingdom, in degrees. All of 929,119 located rows measured lie inside.
_SOUTH, _NORTH = 49.0, 61.0
_WEST, _EAST = -9.0, 2.1
_OPERATION_NAME_MAX = 200
EVERY_RULE = "every_rule_is_kept"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """
    One rule of the contract: its name, the column it is about, what a stop must be, and the expression that says so.
    """

    name: str
    column: str
    message: str
    keeps: pl.Expr


def _label_rules() -> list[Rule]:
    return [
        Rule(
            name=f"{field}_is_known",
            column=field,
            message=f"{field} must be one of its {len(labels_of(field))} known labels, or not given",
            keeps=pl.col(field).is_null() | pl.col(field).is_in(list(labels_of(field))),
        )
        for field in VOCABULARY
    ]


def _boolean_rules() -> list[Rule]:
    return [
        Rule(
            name=f"{field}_is_boolean",
            column=field,
            message=f"{field} must be true, false or not given",
            keeps=pl.col(field).is_not_null() | pl.col(f"published_{field}").is_null(),
        )
        for field in BOOLEAN_FIELDS
    ]


def _coordinate_rules() -> list[Rule]:
    located = pl.col("latitude").is_not_null()
    return [
        *(
            Rule(
                name=f"{field}_is_number",
                column=field,
                message=f"{field} must be a number of degrees, or not given",
                # 0,0 is read as not given, on purpose: its text is a number all the same.
                keeps=pl.col(field).is_not_null()
                | pl.col(f"published_{field}").is_null()
                | pl.col(f"published_{field}").cast(pl.Float64, strict=False).is_not_null(),
            )
            for field in ("latitude", "longitude")
        ),
        Rule(
            name="location_is_whole",
            column="latitude",
            message="latitude and longitude must both be given, or neither",
            keeps=located == pl.col("longitude").is_not_null(),
        ),
        Rule(
            name="latitude_in_uk",
            column="latitude",
            message=f"latitude must lie between {_SOUTH} and {_NORTH}",
            keeps=pl.col("latitude").is_null() | pl.col("latitude").is_between(_SOUTH, _NORTH),
        ),
        Rule(
            name="longitude_in_uk",
            column="longitude",
            message=f"longitude must lie between {_WEST} and {_EAST}",
            keeps=pl.col("longitude").is_null() | pl.col("longitude").is_between(_WEST, _EAST),
        ),
    ]


_READABLE = Rule(
    name="record_is_readable",
    column="record",
    message="a record must be an object with the publisher's keys, or a line with as many columns as the header",
    keeps=pl.col("unreadable").is_null(),
)

RULES: tuple[Rule, ...] = (
    Rule(
        name="type_is_given",
        column="type",
        message="type must be given",
        keeps=pl.col("type").is_not_null(),
    ),
    Rule(
        name="datetime_is_given",
        column="datetime",
        message="datetime must be given",
        keeps=pl.col("published_datetime").is_not_null(),
    ),
    Rule(
        name="datetime_is_instant",
        column="datetime",
        message="datetime must be an instant with its zone, as 2024-03-01T12:30:00+00:00",
        keeps=pl.col("datetime").is_not_null() | pl.col("published_datetime").is_null(),
    ),
    *_label_rules(),
    *_boolean_rules(),
    *_coordinate_rules(),
    Rule(
        name="operation_name_is_text",
        column="operation_name",
        message=f"operation_name must be text of at most {_OPERATION_NAME_MAX} characters without NUL",
        keeps=pl.col("operation_name").is_null()
        | (
            (pl.col("operation_name").str.len_chars() <= _OPERATION_NAME_MAX)
            & ~pl.col("operation_name").str.contains("\0", literal=True)
        ),
    ),
)


def _kept_rules(data: pa.PolarsData) -> pl.LazyFrame:
    if not _types_are_ours(data):  # told by the other check: rules can't be asked of such a frame
        return data.lazyframe.select(pl.lit(True))
    return data.lazyframe.select(rule.keeps.alias(rule.name) for rule in ALL_RULES)


ALL_RULES: tuple[Rule, ...] = (_READABLE, *RULES)

_TEXT_COLUMNS = (
    "unreadable",
    "operation_name",
    *VOCABULARY,
    *(f"published_{name}" for name in ("datetime", "latitude", "longitude", *BOOLEAN_FIELDS)),
)

# The type of each column of a tidy frame: what `clean_stops` makes, and nothing else.
COLUMN_TYPES: dict[str, pl.DataType] = {
    "record_number": pl.UInt32(),
    "datetime": pl.Datetime("us", "UTC"),
    "local_date": pl.Date(),
    "latitude": pl.Float64(),
    "longitude": pl.Float64(),
    "is_far_from_force": pl.Boolean(),
    **{name: pl.Boolean() for name in BOOLEAN_FIELDS},
    **{name: pl.String() for name in _TEXT_COLUMNS},
}


def _types_are_ours(data: pa.PolarsData) -> bool:
    return dict(data.lazyframe.collect_schema()) == COLUMN_TYPES


STOPS = pa.DataFrameSchema(
    checks=[
        pa.Check(_types_are_ours, name="columns_have_their_types"),
        # One failure case is enough to tell that rows must be parted; describing all of them took 5 times as long.
        pa.Check(_kept_rules, name=EVERY_RULE, n_failure_cases=1),
    ],
    name="stops",
)
