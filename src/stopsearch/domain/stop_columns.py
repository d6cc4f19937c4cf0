"""
The columns of a stop as files hold it: the data dictionary, from which manifests and documents are written.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ColumnType(StrEnum):
    """
    What a column's values are, and how they are written in text formats.
    """

    UUID = "uuid"
    TEXT = "text"
    MONTH = "month"  # YYYY-MM; in Parquet a text too
    INSTANT = "instant"  # UTC, 2024-03-01T12:30:00+00:00, with six decimals of a second where there are any
    DATE = "date"  # YYYY-MM-DD
    DEGREES = "degrees"  # WGS 84; in CSV with six decimals
    BOOLEAN = "boolean"
    INTEGER = "integer"


@dataclass(frozen=True, kw_only=True)
class StopColumn:
    """
    One column: its name, its type and what it means.
    """

    name: str
    type: ColumnType
    meaning: str


def _column(name: str, type: ColumnType, meaning: str) -> StopColumn:
    return StopColumn(name=name, type=type, meaning=meaning)


# The publisher's names and words, ids, broad groups, and flags. Nothing in it depends on the machine or on the order
# in which editions arrived, so that one snapshot gives the same bytes anywhere.
STOP_COLUMNS: tuple[StopColumn, ...] = (
    _column("id", ColumnType.UUID, "The stop's id, made from what was published: the same on any machine."),
    _column("force", ColumnType.TEXT, "The police force, by the publisher's id."),
    _column("month", ColumnType.MONTH, "The month of the publisher's file; a few stops in it have another date."),
    _column("type", ColumnType.TEXT, "Whether a person, a vehicle or both were searched."),
    _column("datetime", ColumnType.INSTANT, "When the stop was made, in UTC, as precise as published."),
    _column("local_date", ColumnType.DATE, "The date in London of that instant."),
    _column("operation", ColumnType.BOOLEAN, "Whether it was part of a policing operation."),
    _column("operation_name", ColumnType.TEXT, "The operation's name."),
    _column("latitude", ColumnType.DEGREES, "Degrees north of the map point that the publisher snapped it to."),
    _column("longitude", ColumnType.DEGREES, "Degrees east of the map point that the publisher snapped it to."),
    _column("gender", ColumnType.TEXT, "Gender of the person, as published."),
    _column("age_range", ColumnType.TEXT, "Age range of the person, as published."),
    _column("self_defined_ethnicity", ColumnType.TEXT, "Ethnicity that the person gave, in the words of today."),
    _column(
        "self_defined_ethnic_group",
        ColumnType.TEXT,
        "Its broad group: White, Mixed, Asian, Black or Other; nothing where none was given or stated.",
    ),
    _column("officer_defined_ethnicity", ColumnType.TEXT, "Ethnicity as the officer saw it."),
    _column("officer_defined_ethnic_group", ColumnType.TEXT, "The same, as a broad group."),
    _column("legislation", ColumnType.TEXT, "The power that the search was made under."),
    _column("object_of_search", ColumnType.TEXT, "What was looked for."),
    _column("outcome", ColumnType.TEXT, "What came of it, in the words of today."),
    _column(
        "outcome_group",
        ColumnType.TEXT,
        "Its broad group: No further action, Arrest, Out-of-court disposal, or Summons or charge.",
    ),
    _column(
        "outcome_linked_to_object_of_search",
        ColumnType.BOOLEAN,
        "Whether the outcome had to do with what was looked for; what forces mean by it differs.",
    ),
    _column(
        "removal_of_more_than_outer_clothing",
        ColumnType.BOOLEAN,
        "Whether more than outer clothing was removed.",
    ),
    _column(
        "is_far_from_force",
        ColumnType.BOOLEAN,
        "Whether the point lies over 150 km from the middle of the force's stops, so that it is most likely wrong.",
    ),
    _column(
        "is_month_doubled",
        ColumnType.BOOLEAN,
        "Whether every record of its force-month occurs an even number of times, as in a file published twice over.",
    ),
    _column(
        "is_month_date_only",
        ColumnType.BOOLEAN,
        "Whether its force-month gives dates without times: the time is then local midnight, and no time of day.",
    ),
)

# Only on request, for they are no part of a snapshot: another machine may hold others.
REVISION_COLUMN = _column("revision", ColumnType.INTEGER, "The number, in this database, of the revision it is of.")
STREET_COLUMNS_OF_STOP: tuple[StopColumn, ...] = (
    _column("street_id", ColumnType.INTEGER, "The publisher's id of the map point, where the API has told it."),
    _column("street_name", ColumnType.TEXT, "The publisher's name of the street, where the API has told it."),
)

COLUMNS_BY_NAME: dict[str, StopColumn] = {
    column.name: column for column in (*STOP_COLUMNS, REVISION_COLUMN, *STREET_COLUMNS_OF_STOP)
}
